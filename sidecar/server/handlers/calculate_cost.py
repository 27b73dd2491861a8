"""The action `calculate_cost`."""

from contextlib import suppress
from typing import Any

from protocol.requests import CalculateCost
from sidecar.core.errors import SidecarError
from sidecar.providers.model_names import expand_preset
from sidecar.providers.resolve import resolve_provider
from sidecar.providers.values import TargetSpec
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.upstream import catalogue_refresh
from sidecar.upstream.settings_discovery import discover_price_settings
from sidecar.usage import pricing


async def calculate_cost(app: App, request: OpenRequest, params: CalculateCost) -> dict[str, Any]:
    """Return what a usage costs.

    Raises: SidecarError `invalid_request`, `unknown_provider`.
    """
    up, provider = app.upstream, request.envelope.provider
    await catalogue_refresh.load_stored(up)
    provider, model = expand_preset(up.config, provider, params.model)
    resolved = resolve_provider(up.setup, TargetSpec(provider=provider, model=model, settings=params.settings))
    # A price needs no credential, so a useless one is not a failure.
    with suppress(SidecarError):
        resolved = await discover_price_settings(up, resolved)
    return pricing.calculate(resolved, params)
