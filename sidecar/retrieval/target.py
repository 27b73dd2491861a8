"""Who makes vectors: the target of a request, and the row that says how that provider makes them.

Must not know wires.
"""

from typing import NamedTuple

import msgspec

from protocol.embeddings import Embed
from sidecar.catalogue.embedding_columns import EmbeddingRow, find_embedding_row
from sidecar.core.errors import invalid_request
from sidecar.providers.model_names import expand_preset
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.rows import list_providers
from sidecar.providers.templates import fill
from sidecar.providers.values import Target, TargetSpec
from sidecar.upstream.context import Upstream
from sidecar.upstream.settings_discovery import discover_settings

WIRE = "embeddings"
"""What a log names as the wire of such a target."""


class EmbedTarget(NamedTuple):
    """Who is asked, and how."""

    target: Target
    row: EmbeddingRow


async def find_target(up: Upstream, provider: str | None, params: Embed) -> EmbedTarget:
    """Return who makes the vectors.

    Raises: SidecarError `unknown_provider`, `auth_required`, or `invalid_request`, for a provider that makes none too.
    """
    provider, model = expand_preset(up.config, provider, params.model)
    spec = TargetSpec(
        provider=provider,
        model=model,
        api_key=params.api_key,
        base_url=params.base_url,
        settings=params.settings,
    )
    resolved = resolve_provider(up.setup, spec)
    provider_row = resolved.provider.row
    row = find_embedding_row(provider_row.embeddings, resolved.model, resolved.settings)
    if row is None:
        names = f"this model of {provider_row.name}" if provider_row.embeddings else provider_row.name
        makers = ", ".join(name for name, each in list_providers(up.setup).items() if each.row.embeddings)
        hint = f"Providers with embeddings: {makers}."
        raise invalid_request(f"There are no embeddings of {names}.", "params.model", reason="no_embeddings", hint=hint)
    target = make_target(await discover_settings(up, resolved))
    return EmbedTarget(_point_to(target, row), row)


def _point_to(target: Target, row: EmbeddingRow) -> Target:
    """Return *target* with the path of its embeddings."""
    route = target.route
    path = fill(row.path, route.provider, target.row, route.settings | {"model": route.model}) if row.path else None
    return msgspec.structs.replace(target, route=msgspec.structs.replace(route, wire=WIRE, path=path))
