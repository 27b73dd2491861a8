"""The actions about requests that are open, and the process itself: `tool_result`, `ping`, `cancel`, `shutdown`."""

from typing import Any

from protocol.messages import TextPart
from protocol.requests import Cancel, Nothing
from protocol.tool_loop import SendToolResult, ToolResult
from sidecar.core.errors import invalid_request
from sidecar.core.message_content import read_inline_data
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


def tool_result(app: App, params: SendToolResult) -> dict[str, Any]:
    """Hand the results to their request, and return which are missing.

    Raises: SidecarError `invalid_request`. In that case none of the results is taken.
    """
    request = app.requests.find(params.id)
    if request is None:
        raise invalid_request("No request with this `id` is open.", "params.id", reason="no_such_request")
    wait = request.state.tool_wait
    if wait is None or wait.ended.is_set():
        raise invalid_request("The request does not wait for results now.", "params.id", reason="not_waiting")
    if not params.results and not params.stop:
        raise invalid_request("Set `params.results`, or `params.stop` to true.", "params.results")
    seen = {*wait.results}
    for at, result in enumerate(params.results):
        path = f"params.results[{at}].id"
        if result.id not in wait.calls:
            raise invalid_request(f"`{path}` is not a call of this round.", path, reason="unknown_call")
        if result.id in seen:
            raise invalid_request(f"`{path}` has a result already.", path, reason="duplicate_result")
        seen.add(result.id)
        _check_parts(result, f"params.results[{at}].content")
    wait.take(params.results, stop=params.stop)
    return {"missing": wait.missing}


def _check_parts(result: ToolResult, path: str) -> None:
    """Refuse an image or a file that cannot be sent to a provider, while the host can still replace it.

    Raises: SidecarError `invalid_request`.
    """
    for at, part in enumerate(result.content if isinstance(result.content, list) else ()):
        if not isinstance(part, TextPart):
            read_inline_data(part, f"{path}[{at}]")
