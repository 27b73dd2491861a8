"""The actions that concern the process itself: `ping`, `cancel` and `shutdown`."""

from typing import Any

from protocol.requests import Cancel, Nothing
from sidecar.server.app import App


def ping(app: App, params: Nothing) -> dict[str, Any]:  # noqa: ARG001 - the signature of a handler
    """Return how many requests are open."""
    return {"pong": True, "in_flight": len(app.requests)}


def cancel(app: App, params: Cancel) -> dict[str, Any]:
    """Cancel a request, or one of its branches, and return whether there was one."""
    if params.branch is not None:
        return {"found": app.requests.cancel_branch(params.id, params.branch)}
    return {"found": app.requests.cancel(params.id)}


def shutdown(app: App, params: Nothing) -> dict[str, Any]:  # noqa: ARG001 - the signature of a handler
    """Cancel every open request and leave."""
    app.leave()
    return {"shutting_down": True}
