"""The actions that list what there is to ask: `list_providers` and `list_models`."""

from typing import Any

from protocol.replies import ModelList
from protocol.requests import ListModels, Nothing
from sidecar.auth import status
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.providers import resolve
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.upstream import catalogue_refresh, model_lists, settings_discovery
from sidecar.upstream.context import Upstream


async def list_models(app: App, request: OpenRequest, params: ListModels) -> ModelList:
    """Return a provider's models: its own list, fresh or remembered, completed by the catalogue."""
    up, provider = app.upstream, request.require_provider()
    await up.look_into_store()
    await catalogue_refresh.look(up)
    target = resolve.provider_target(await settings_discovery.informed(up, provider, params), provider, params)
    request.state.progress.provider = target.route.provider
    warnings = await catalogue_refresh.renewed(up) if params.refresh_catalogue else []
    listed = await model_lists.models(up, target, request.state, refresh=params.refresh)
    return catalogue_refresh.told(up, listed, warnings)


async def list_providers(app: App, request: OpenRequest, params: Nothing) -> dict[str, Any]:  # noqa: ARG001 - the signature of a handler
    """Return the providers, and where the credential of each would come from, never what it is."""
    await app.upstream.look_into_store()
    rows = resolve.known_providers(app.upstream.setup)
    return {"providers": [_describe_provider(app.upstream, name, row) for name, row in sorted(rows.items())]}


def _describe_provider(up: Upstream, name: str, row: ProviderRow) -> dict[str, Any]:
    """Return the `ProviderInfo` of `protocol/schema.py` for the provider *name*."""
    setup, authorization = up.setup, status.describe_authorization(up.setup, up.store, name)
    credential, _ = status.find_credential(setup, name, row)
    described = {
        "id": name,
        "name": row.name,
        "wire": row.wire,
        "ready": authorization.ready,
        "auth": row.auth,
        "method": authorization.method,
        "credential_source": credential.source if credential else None,
        "logins": authorization.logins,
        "env": status.list_variables(setup, name, row),
        "identity_env": row.identity_env,
        "built_in": name not in setup.config.providers or bool(row.env),
    }
    if authorization.problem:
        described["problem"] = authorization.problem
    states = [gate.state for (provider, *_), gate in up.gates.items() if provider == name]
    if holding := [state for state in states if state.state != "closed"]:
        described["gates"] = holding
    return described
