"""What lives as long as the process: configuration, lanes, open requests, the way to providers.

Passed to every handler; nothing of a single request is kept here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from protocol.errors import ErrorBody
from protocol.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart
from protocol.replies import (
    Done,
    Event,
    Failed,
    LoggedIn,
    Reply,
    ReplyId,
    Streamed,
    StreamedLogin,
    Warn,
)
from protocol.requests import Initialize
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.server.open_requests import OpenRequest, OpenRequests
from sidecar.server.write_queue import WriteQueue
from sidecar.upstream.context import Upstream
from sidecar.upstream.http_client import HttpClient

if TYPE_CHECKING:
    from anyio.abc import TaskGroup


class App:
    """The one long-lived object; `session` is what the host has said of itself."""

    def __init__(self, config: Config, write_queue: WriteQueue, tasks: "TaskGroup") -> None:
        self.write_queue = write_queue
        self.tasks = tasks
        self.upstream = Upstream(config, tasks, HttpClient(), self.warn)
        self.requests = OpenRequests()
        self.session = Initialize()
        self.heartbeat_is_due = False
        """Whether the timer of `sidecar.server.heartbeat` is set."""
        self.leaving = False
        """Set once no new work is taken."""
        self.leave: Callable[[], None] = lambda: None
        """Begins the shutdown; `sidecar.server.serve` sets it."""

    def begin_session(self, session: Initialize) -> None:
        """Take what the host says of itself."""
        self.session = session
        self.upstream.client = session.client

    def reply(self, request_id: ReplyId, data: object) -> None:
        """Write the one line of a request that needed no task."""
        self.write_queue.open_lane(request_id).close(Reply(request_id, True, data))  # noqa: FBT003 - a wire field

    def refuse(self, request_id: ReplyId, error: SidecarError) -> None:
        """Write the one line of a request that was never opened."""
        self.write_queue.open_lane(request_id).close(Failed(request_id, False, error.body))  # noqa: FBT003 - a wire field

    def finish(self, entry: OpenRequest, data: object) -> None:
        """Write the terminal line of *entry*, which went well, and free its id.

        Only the first of `finish` and `fail` counts. A request that the host has cancelled meanwhile stays open:
        what the host was told is that it ends as cancelled.
        """
        lane = entry.lane
        if lane.dropped:
            return
        if not lane.closed:
            if isinstance(data, Done):
                lane.close(Streamed(lane.id, True, True, lane.next_seq, data))  # noqa: FBT003 - wire fields
            elif isinstance(data, LoggedIn):
                lane.close(StreamedLogin(lane.id, True, True, lane.next_seq, data))  # noqa: FBT003 - wire fields
            else:
                lane.close(Reply(lane.id, True, data))  # noqa: FBT003 - a wire field
        self.requests.release(entry)

    def fail(self, entry: OpenRequest, error: SidecarError) -> None:
        """Write the terminal line of *entry*, which failed, and free its id."""
        lane = entry.lane
        if not lane.closed:
            lane.close(Failed(lane.id, False, _complete(error.body, entry)))  # noqa: FBT003 - a wire field
        self.requests.release(entry)

    def warn(self, warning: Warn) -> None:
        """Write an unsolicited warning, for a host that asked for such."""
        if "warnings" in self.session.events:
            self.write_queue.open_lane(None).close(Event(event="warning", data=warning))


def _complete(body: ErrorBody, entry: OpenRequest) -> ErrorBody:
    progress = entry.state.progress
    last_seq = entry.lane.delivered_seq if progress.delivered else None
    return msgspec.structs.replace(
        body,
        provider=body.provider or progress.provider,
        model=body.model or progress.model,
        attempts=progress.tries or None,
        partial=last_seq is not None,
        partial_seq=last_seq,
        partial_message=None if last_seq is None else _bearable(progress.partial),
        resume=None if last_seq is None else progress.resume,
        usage=progress.usage,
        cost=progress.cost,
        elapsed_ms=entry.state.elapsed_ms,
    )


MAX_PARTIAL_CHARS = 1024 * 1024
"""The longest text of a message that an error repeats: the host has had it all in chunks."""


def _bearable(partial: Message | None) -> Message | None:
    """Return *partial* unless it is so long that its line would be a burden."""
    if partial is None:
        return None
    parts = [TextPart(partial.content)] if isinstance(partial.content, str) else partial.content
    chars = sum(map(_chars, parts))
    return partial if chars <= MAX_PARTIAL_CHARS else None


def _chars(part: Part) -> int:
    match part:
        case TextPart(text=text) | ReasoningPart(content=text) | ToolCallPart(arguments_text=str(text)):
            return len(text)
        case _:
            return 0
