"""The action `calculate_cost`."""

from contextlib import suppress
from typing import Any

from protocol.requests import CalculateCost, Chat
from sidecar.core.errors import SidecarError
from sidecar.providers import resolve
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.upstream import catalogue_refresh, settings_discovery
from sidecar.usage import pricing


async def calculate_cost(app: App, request: OpenRequest, params: CalculateCost) -> dict[str, Any]:
    """Return what a usage costs.

    Raises: SidecarError `invalid_request`, `unknown_provider`.
    """
    up, provider = app.upstream, request.envelope.provider
    await catalogue_refresh.look(up)
    setup, chat = up.setup, Chat(model=params.model, messages=[], settings=params.settings)
    # A price needs no credential, so one that cannot be used is no failure; `calculate` reports whatever else is wrong.
    with suppress(SidecarError):
        setup = await settings_discovery.placed(up, *resolve.with_preset(setup.config, provider, chat))
    return pricing.calculate(setup, provider, params)
