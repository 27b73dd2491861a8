"""The actions that list what there is to ask: `list_providers` and `list_models`."""

from typing import Any

import anyio
import anyio.lowlevel
from anyio.to_thread import run_sync as to_thread

from protocol.model_streams import ListedProvider, ModelsFailed, ModelsListed, ModelsPart
from protocol.replies import ModelList
from protocol.requests import ListModels, ListProviders
from protocol.settings import Settings
from sidecar.auth import status
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.providers import kinds, rows
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.values import Provider, Target, make_list_spec
from sidecar.server.app import App
from sidecar.server.line_limit import cut_parts
from sidecar.server.open_requests import OpenRequest
from sidecar.upstream import catalogue_refresh, model_lists
from sidecar.upstream.context import Upstream
from sidecar.upstream.settings_discovery import discover_settings


async def list_models(app: App, request: OpenRequest, params: ListModels) -> ModelList | ModelsListed:
    """Return a provider's models: its own list, fresh or remembered, completed by the catalogue.

    Without a provider, send the lists of all that are ready, and return how each of them ended.
    """
    up, provider = app.upstream, request.envelope.provider
    await up.load_credentials()
    await catalogue_refresh.load_stored(up)
    target = await _make_target(up, provider, params) if provider is not None else None
    if target is None:
        _check_for_all(params)
    warnings = await catalogue_refresh.refresh(up) if params.refresh_catalogue else []
    if target is None:
        return catalogue_refresh.add_to_list(up, await _send_all_lists(app, request, params), warnings)
    request.state.progress.provider = target.route.provider
    listed = await model_lists.list_models(up, target, request.state, refresh=params.refresh)
    return catalogue_refresh.add_to_list(up, listed, warnings)


async def _make_target(up: Upstream, provider: str, params: ListModels) -> Target:
    return make_target(await discover_settings(up, resolve_provider(up.setup, make_list_spec(provider, params))))


# --- all providers ---------------------------------------------------------------------------

_OF_ONE_PROVIDER = ("api_key", "base_url", "settings", "offset")
"""Parameters that apply to one provider only."""


def _check_for_all(params: ListModels) -> None:
    """Refuse parameters that apply to one provider only.

    Raises: SidecarError `invalid_request`.
    """
    for name in _OF_ONE_PROVIDER:
        if getattr(params, name) not in (None, 0, Settings()):
            raise invalid_request(f"`params.{name}` is for one provider: set `provider` too.", f"params.{name}")


async def _send_all_lists(app: App, request: OpenRequest, params: ListModels) -> ModelsListed:
    """Send the list of each provider that is ready as soon as it is there."""
    up, ended = app.upstream, dict[str, ListedProvider]()

    async def send(provider: str) -> None:
        ended[provider] = await _send_list(app, request, provider, params)

    async with anyio.create_task_group() as tasks:
        for name, provider in rows.list_providers(up.setup).items():
            if status.describe_authorization(provider, up.store).ready:
                tasks.start_soon(send, name)
    lists = [ended[name] for name in sorted(ended)]
    return ModelsListed(lists=lists, count=sum(each.count for each in lists))


async def _send_list(app: App, request: OpenRequest, provider: str, params: ListModels) -> ListedProvider:
    state = request.state.make_part("list", provider)
    try:
        target = await _make_target(app.upstream, provider, params)
        listed = await model_lists.list_models(app.upstream, target, state, refresh=params.refresh)
        # A list may have thousands of models.
        parts = await to_thread(list, cut_parts(listed.models, app.session.max_line_bytes))
    except SidecarError as error:
        body = error.with_fields(provider=provider).body
        request.lane.send([ModelsFailed(provider=provider, error=body)])
        return ListedProvider(provider=provider, count=0, code=body.code)
    for number, models in enumerate(parts, 1):
        await anyio.lowlevel.checkpoint()
        await request.lane.wait_for_room()
        part = ModelsPart(
            provider=provider,
            models=[*models],
            more=number < len(parts),
            source=listed.source,
            fetched_at=listed.fetched_at,
            warnings=listed.warnings,
        )
        request.lane.send([part])
    return ListedProvider(provider=provider, count=len(listed.models))


async def list_providers(app: App, request: OpenRequest, params: ListProviders) -> dict[str, Any]:  # noqa: ARG001 - the signature of a handler
    """Return the providers, and where the credential of each would come from, never what it is."""
    up = app.upstream
    await up.load_credentials()
    if app.described_providers is None or app.described_providers[0] is not up.found:
        providers = sorted(rows.list_providers(up.setup).items())
        app.described_providers = up.found, [_describe_provider(up, provider) for _, provider in providers]
    _, described = app.described_providers
    return {"providers": [each | _describe_gates(up, each["id"]) for each in described]}


def _describe_gates(up: Upstream, name: str) -> dict[str, Any]:
    """Return the gates of the provider *name* that hold requests up, as they are at this moment."""
    holding = [state for state in up.gates.list_states(name) if state.state != "closed"]
    return {"gates": holding} if holding else {}


def _describe_provider(up: Upstream, provider: Provider) -> dict[str, Any]:
    """Return the `ProviderInfo` of `protocol/results.py` for *provider*, but its gates."""
    name, row, authorization = provider.id, provider.row, status.describe_authorization(provider, up.store)
    credential, _ = status.find_usable_credential(provider)
    described = {
        "id": name,
        "name": row.name,
        "wire": row.wire,
        "kinds": kinds.list_kinds(row),
        "ready": authorization.ready,
        "auth": row.auth.scheme,
        "method": authorization.method,
        "credential_source": credential.source if credential else None,
        "logins": authorization.logins,
        "env": status.list_variables(provider),
        "identity_env": row.auth.identity_env,
        "built_in": name not in up.config.providers or bool(row.auth.key_env),
    }
    if authorization.problem:
        described["problem"] = authorization.problem
    return described
