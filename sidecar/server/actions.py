"""The table of actions, and those that are answered at once.

What has to wait is a function in `sidecar.server.tasks` and runs as a task with a cancel scope.
Adding an action is a struct in `protocol/requests.py`, a function and a row here.
"""

import importlib
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from protocol.replies import PROTOCOL_VERSION
from protocol.requests import (
    Authenticate,
    CalculateCost,
    Cancel,
    Chat,
    CountTokens,
    Initialize,
    ListModels,
    Nothing,
    ResumeChat,
    UsageReport,
)
from sidecar import __version__
from sidecar.core.errors import invalid
from sidecar.core.request_state import TOTAL_MS
from sidecar.server import heartbeat
from sidecar.server.app import App
from sidecar.server.framing import MAX_LINE_BYTES
from sidecar.server.open_requests import OpenRequest


def initialize(app: App, params: Initialize) -> dict[str, Any]:
    """Note who the host is and what it wants, and say what the sidecar can do."""
    from sidecar.providers import resolve
    from sidecar.wires import registry  # A host that only pings pays for neither.

    if params.protocol_version != PROTOCOL_VERSION:
        raise invalid(f"`params.protocol_version` must be {PROTOCOL_VERSION}.", "params.protocol_version")
    app.begin_session(params)
    heartbeat.watch(app)
    return {
        "protocol_version": PROTOCOL_VERSION,
        "name": "sidecar",
        "version": __version__,
        "actions": sorted(ACTIONS),
        "providers": sorted(resolve.known_providers(app.upstream.setup)),
        "wires": list(registry.list_names()),
        "events": ["status", "warnings"],
        "limits": {"max_line_bytes": MAX_LINE_BYTES},
    }


def ping(app: App, params: Nothing) -> dict[str, Any]:  # noqa: ARG001 - the shape of an action
    """Say that the process is there, and how many requests are open."""
    return {"pong": True, "in_flight": len(app.requests)}


def cancel(app: App, params: Cancel) -> dict[str, Any]:
    """Cancel a request and say whether there was one."""
    return {"found": app.requests.cancel(params.id)}


def shutdown(app: App, params: Nothing) -> dict[str, Any]:  # noqa: ARG001 - the shape of an action
    """Cancel everything, end every stream and leave."""
    app.leave()
    return {"shutting_down": True}


class AtOnce(NamedTuple):
    """An action that is answered in the reader's own turn."""

    params: type[msgspec.Struct]
    run: Callable[[App, Any], Any]


class Task(NamedTuple):
    """An action that waits: a function of `sidecar.server.tasks`, which is imported when the first of them runs."""

    params: type[msgspec.Struct]
    name: str
    total_ms: int = TOTAL_MS
    """What it may take where the request does not say so. A chat is granted more by its model."""
    streams: bool = False
    """Whether its chunks are those of a chat, among which `status` tells what it waits for."""

    async def run(self, app: App, entry: OpenRequest, params: msgspec.Struct) -> None:
        """Do it; it ends its entry itself, with `host.finish`."""
        function: Callable[[App, OpenRequest, Any], Awaitable[None]] = getattr(
            importlib.import_module("sidecar.server.tasks"), self.name
        )
        await function(app, entry, params)


ACTIONS: dict[str, AtOnce | Task] = {
    "initialize": AtOnce(Initialize, initialize),
    "ping": AtOnce(Nothing, ping),
    "list_providers": Task(Nothing, "list_providers"),
    "list_models": Task(ListModels, "list_models"),
    "stream_chat": Task(Chat, "stream_chat", streams=True),
    "generate": Task(Chat, "generate"),
    "resume": Task(ResumeChat, "resume", streams=True),
    "count_tokens": Task(CountTokens, "count_tokens"),
    "calculate_cost": Task(CalculateCost, "calculate_cost"),
    # The user may take as long as a code is good, which is an hour at most.
    "authenticate": Task(Authenticate, "authenticate", total_ms=3_900_000),
    "usage_report": Task(UsageReport, "usage_report"),
    "cancel": AtOnce(Cancel, cancel),
    "shutdown": AtOnce(Nothing, shutdown),
}
