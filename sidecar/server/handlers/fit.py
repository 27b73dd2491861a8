"""The action `fit`: whether a conversation fits into the window of a model, and what to leave out if not."""

from typing import Any

from protocol.requests import Chat, Fit
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.upstream import catalogue_refresh
from sidecar.window.limits import find_window, plan_window


async def fit(app: App, request: OpenRequest, params: Fit) -> dict[str, Any]:
    """Return the `FitPlan` of `protocol/results.py`.

    Raises: SidecarError `invalid_request`, `unknown_provider`.
    """
    up = app.upstream
    await catalogue_refresh.load_stored(up)
    chat = Chat(model=params.model, messages=params.messages, options=params.options, settings=params.settings)
    window = find_window(up, request.envelope.provider, chat, params.reserve_output)
    total, plan = await plan_window(up, window, params.keep, params.strategy)
    limit = window.limit
    return {
        "fits": None if limit is None else total.tokens <= limit,
        "tokens": total.tokens,
        "limit": limit,
        "error_band_pct": total.error_band_pct,
        "drop": plan.drop,
        "clear_tool_results": plan.clear,
        "tokens_after": plan.tokens_after,
        "fits_after": None if limit is None else plan.tokens_after <= limit,
        "cache_lost_from": plan.cache_lost_from,
        "warnings": [],
    }
