"""The actions that list what there is to ask: `list_providers` and `list_models`."""

from typing import Any

from protocol.replies import ModelList
from protocol.requests import ListModels, Nothing
from sidecar.auth import status
from sidecar.providers import rows
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.values import Provider, make_list_spec
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.upstream import catalogue_refresh, model_lists
from sidecar.upstream.context import Upstream
from sidecar.upstream.settings_discovery import discover_settings


async def list_models(app: App, request: OpenRequest, params: ListModels) -> ModelList:
    """Return a provider's models: its own list, fresh or remembered, completed by the catalogue."""
    up, provider = app.upstream, request.require_provider()
    await up.load_credentials()
    await catalogue_refresh.load_stored(up)
    resolved = resolve_provider(up.setup, make_list_spec(provider, params))
    target = make_target(await discover_settings(up, resolved))
    request.state.progress.provider = target.route.provider
    warnings = await catalogue_refresh.refresh(up) if params.refresh_catalogue else []
    listed = await model_lists.list_models(up, target, request.state, refresh=params.refresh)
    return catalogue_refresh.add_to_list(up, listed, warnings)


async def list_providers(app: App, request: OpenRequest, params: Nothing) -> dict[str, Any]:  # noqa: ARG001 - the signature of a handler
    """Return the providers, and where the credential of each would come from, never what it is."""
    await app.upstream.load_credentials()
    providers = sorted(rows.list_providers(app.upstream.setup).items())
    return {"providers": [_describe_provider(app.upstream, provider) for _, provider in providers]}


def _describe_provider(up: Upstream, provider: Provider) -> dict[str, Any]:
    """Return the `ProviderInfo` of `protocol/results.py` for *provider*."""
    name, row, authorization = provider.id, provider.row, status.describe_authorization(provider, up.store)
    credential, _ = status.find_usable_credential(provider)
    described = {
        "id": name,
        "name": row.name,
        "wire": row.wire,
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
    if holding := [state for state in up.gates.list_states(name) if state.state != "closed"]:
        described["gates"] = holding
    return described
