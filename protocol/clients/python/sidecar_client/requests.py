"""Requests on their way, and the calls of tools that they make."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from sidecar_client.types import ToolCall, ToolResult

Json = dict[str, Any]
Tool = Callable[[Json, "ToolCall"], Any]


class SidecarError(Exception):
    """Why a request has failed: an error of the sidecar's, or `sidecar_exited`, `spawn_failed`, `protocol_version`."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        super().__init__(body.get("message", ""))
        self.code: str = body.get("code", "internal_error")
        self.body = dict(body)


class RequestOptions(TypedDict, total=False):
    """What a request may have besides its parameters."""

    provider: str
    deadline_ms: float
    """The most time until the reply. After that the request fails with `timeout` and is cancelled."""
    on: Mapping[str, Callable[[Any], None]]
    """A handler for each type of chunk."""
    on_chunk: Callable[[Any], None]
    """Gets every chunk but the last one, also those of types that are not known."""
    tools: Mapping[str, Tool]
    """With `tool_loop`: the tools by their names. What they return, or raise, is the result of a call."""


class Call:
    """A request on its way. `await` it for the data of its terminal line; it raises `SidecarError`."""

    def __init__(self, number: int, reply: asyncio.Future[Any], cancel: Callable[[], None]) -> None:
        self.id = number
        """Its id in the lines, as `tool_result` needs it."""
        self.reply = reply
        self.cancel = cancel
        """Ends the request, which fails with `cancelled` unless it has just ended. No chunk comes after this."""

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the reply; if the task that waits is cancelled, so is the request."""
        return self.reply.__await__()


@dataclass(eq=False)
class Entry:
    """What the table of open requests knows of one."""

    line: bytes
    reply: asyncio.Future[Any]
    on_chunk: Callable[[Json], None]
    sent: bool = False
    chunks: int = 0
    cancelled: Literal["sent", "found"] | None = None
    """`sent`: the sidecar does not know yet. `found`: it does, and no success comes any more."""
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


async def run_tool(tools: Mapping[str, Tool], call_id: str, call: ToolCall | None) -> ToolResult:
    """Return the result of *call*: what the tool returns or raises, or why it was not run."""
    if call is None or call["name"] not in tools:
        return {"id": call_id, "content": "There is no such tool.", "is_error": True}
    arguments = call["arguments"]
    if arguments is None:
        return {"id": call_id, "content": "The arguments are not a JSON object.", "is_error": True}
    try:
        result = tools[call["name"]](arguments, call)
        if inspect.isawaitable(result):
            result = await result
    except Exception as error:  # noqa: BLE001 - the model is told of any failure of a tool
        return {"id": call_id, "content": str(error) or type(error).__name__, "is_error": True}
    return {"id": call_id, "content": result if isinstance(result, str) else json.dumps(result)}
