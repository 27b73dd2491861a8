"""Who ranks documents: the target of a request, the row that says how, and the route of the question.

Must not know wires, or what is asked.
"""

from functools import partial
from typing import NamedTuple

import msgspec

from protocol.rerank import Rerank
from sidecar.catalogue.rerank_columns import RerankRow, find_rerank_row
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.request_state import RequestState
from sidecar.providers.model_names import expand_preset
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.rows import list_providers
from sidecar.providers.templates import fill
from sidecar.providers.values import Target, TargetSpec
from sidecar.upstream.context import Upstream
from sidecar.upstream.settings_discovery import discover_settings
from sidecar.wires.shared.types import Route


class RerankTarget(NamedTuple):
    """Who is asked, and how."""

    target: Target
    row: RerankRow


async def find_target(up: Upstream, state: RequestState, params: Rerank) -> RerankTarget:
    """Return who ranks the documents.

    Raises: SidecarError `unknown_provider`, `auth_required`, or `invalid_request`, for a provider without reranks too.
    """
    await up.load_credentials()
    provider, model = expand_preset(up.config, state.provider, params.model)
    spec = TargetSpec(
        provider=provider, model=model, api_key=params.api_key, base_url=params.base_url, settings=params.settings
    )
    resolved = resolve_provider(up.setup, spec)
    state.progress.provider, state.progress.model = resolved.provider.id, resolved.model
    row = find_rerank_row(resolved.provider.row.rerank, resolved.model)
    if row is None:
        raise _make_kind_error(up, resolved.provider.row.name)
    return RerankTarget(make_target(await discover_settings(up, resolved)), row)


def _make_kind_error(up: Upstream, name: str) -> SidecarError:
    rankers = ", ".join(provider for provider, each in list_providers(up.setup).items() if each.row.rerank)
    hint = f"Providers with reranks: {rankers}."
    return invalid_request(f"{name} has no reranks of this model.", "params.model", reason="no_reranks", hint=hint)


def make_route(target: Target, row: RerankRow) -> Route:
    """Return the route to the provider's rerank, at its own host unless somebody has set another address."""
    route = target.route
    put = partial(fill, provider=route.provider, row=target.row, settings=route.settings | {"model": route.model})
    base_url = put(row.base_url) if row.base_url and not target.has_custom_address else route.base_url
    return msgspec.structs.replace(route, base_url=base_url, path=put(row.path))
