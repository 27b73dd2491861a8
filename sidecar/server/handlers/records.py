"""The actions about what was answered before: `usage_report`, `calculate_cost` and `forget`."""

from contextlib import suppress
from typing import Any

from protocol.replies import UsageTable
from protocol.requests import CalculateCost, Forget, UsageReport
from sidecar.core.errors import SidecarError
from sidecar.providers.model_names import expand_preset
from sidecar.providers.resolve import resolve_provider
from sidecar.providers.values import TargetSpec
from sidecar.reuse.store import find_store
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.upstream import catalogue_refresh
from sidecar.upstream.settings_discovery import discover_price_settings
from sidecar.usage import pricing
from sidecar.usage.report import report


async def usage_report(app: App, request: OpenRequest, params: UsageReport) -> UsageTable:  # noqa: ARG001 - the signature of a handler
    """Return what past requests used and cost, from the ledger.

    Raises: SidecarError `invalid_request`, or `internal_error` when the ledger cannot be read.
    """
    return await report(app.upstream.ledger, params)


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


async def forget(app: App, request: OpenRequest, params: Forget) -> dict[str, Any]:  # noqa: ARG001 - the signature of a handler
    """Forget the stored answers of a scope.

    Raises: SidecarError `internal_error` if their file cannot be used.
    """
    return {"forgotten": await find_store(app.upstream).forget(params.scope)}
