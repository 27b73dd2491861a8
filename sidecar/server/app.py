"""The state of the process: the session, the open requests, the write queue, and what asking a provider needs.

Every handler gets it. It holds no state of a single request.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import msgspec

from protocol.errors import ErrorBody
from protocol.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart
from protocol.replies import (
    Done,
    Event,
    Failed,
    Reply,
    ReplyId,
    Streamed,
    Warn,
)
from protocol.requests import Initialize
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.core.event_loop import TaskStarter
from sidecar.core.http import Transport
from sidecar.core.log import find_origin, log
from sidecar.core.message_content import list_parts, make_portable
from sidecar.core.request_state import complete_error
from sidecar.server.memory_reserve import MemoryReserve
from sidecar.server.open_requests import OpenRequest, OpenRequests
from sidecar.server.write_queue import UNWRITABLE, Lane, WriteQueue

if TYPE_CHECKING:
    from sidecar.completion.slots import Slots
    from sidecar.providers.setup import Found
    from sidecar.tasks.table import TaskTable
    from sidecar.upstream.context import Upstream

UNWRITABLE_TEXT = "The answer holds a value that cannot be written as JSON, such as one that is nested too deeply."


class App:
    """The state of the process. There is one."""

    def __init__(
        self, config: Config, write_queue: WriteQueue, tasks: TaskStarter, http: Transport | None = None
    ) -> None:
        """Ask with *http*; None: with a client that is made when first needed."""
        self.write_queue = write_queue
        self.tasks = tasks
        self._config = config
        self._http = http
        self.task_table: TaskTable | None = None
        """None: no request has named a task yet."""
        self.completion_slots: Slots | None = None
        """None: nothing was completed yet."""
        self.described_providers: tuple[Found, list[dict[str, Any]]] | None = None
        """What `list_providers` answered last, and what that was made of; a host may ask a thousand times at once."""
        self.requests = OpenRequests()
        self.memory_reserve = MemoryReserve()
        self.session = Initialize()
        """What the host said in `initialize`."""
        self.heartbeat_is_due = False
        """Whether the timer of `sidecar.server.heartbeat` runs."""
        self.config_mistakes: tuple[str, ...] = ()
        """Why the configuration cannot be used. With any, every request but `shutdown` is refused."""
        self.leaving = False
        """Whether new requests are refused."""
        self.leave: Callable[[], None] = lambda: None
        """Starts the shutdown; set by `sidecar.server.serve`."""

    @cached_property
    def upstream(self) -> "Upstream":
        """What asking a provider needs, made for the first request that may ask one."""
        from sidecar.upstream.context import Upstream
        from sidecar.upstream.http_client import HttpClient

        http = HttpClient(self._config.http_client) if self._http is None else self._http
        made = Upstream(self._config, self.tasks, http, self.warn)
        made.client = self.session.client
        return made

    def prepare_tls(self, provider: str | None, base_url: str | None) -> None:
        """Begin to make the TLS context if that is for the first chat, with *provider* at *base_url*, to wait for."""
        if self._http is None and not self.may_have_asked:
            from sidecar.upstream.early_tls import make_client

            self._http = make_client(self._config, provider, base_url)

    @property
    def may_have_asked(self) -> bool:
        """Whether `upstream` was needed so far."""
        return "upstream" in self.__dict__

    def begin_session(self, session: Initialize) -> None:
        """Keep what the host says of itself."""
        self.session = session
        if self.may_have_asked:
            self.upstream.client = session.client

    @property
    def wants_status(self) -> bool:
        """Whether the host asked for `status` chunks."""
        return "status" in self.session.events

    def reply(self, request_id: ReplyId, data: object) -> None:
        """Answer a request that is never open."""
        self.write_queue.open_lane(request_id).close(Reply(request_id, True, data))  # noqa: FBT003 - a wire field

    def refuse(self, request_id: ReplyId, error: SidecarError) -> None:
        """Refuse a request that is never open."""
        self.write_queue.open_lane(request_id).close(Failed(request_id, False, error.body))  # noqa: FBT003 - a wire field

    def finish(self, request: OpenRequest, data: object) -> None:
        """Write the terminal line of a *request* that succeeded, and free its id.

        Does nothing after the terminal line, nor for a request that the host has cancelled, which ends with the error
        `cancelled`.
        """
        lane = request.lane
        if lane.dropped:
            return
        if request.warnings:
            data = self._add_warnings(data, request.warnings)
        try:
            lane.close(_make_line(lane, self._fit(data, request.offset)))
        except SidecarError as error:
            self.fail(request, error)
            return
        except UNWRITABLE as error:
            log("error", "reply.unwritable", **find_origin(error))
            self.fail(request, SidecarError("provider_error", UNWRITABLE_TEXT, reason="bad_event"))
            return
        self.requests.release(request)

    def _fit(self, data: object, offset: int) -> object:
        """Return *data*, its list from the entry *offset* on, for a line that the host can read.

        Raises: SidecarError `invalid_request` if nothing can be left out.
        """
        if self.session.max_line_bytes is None and not offset:
            return data
        from sidecar.server import line_limit

        if offset:
            data = line_limit.skip_entries(data, offset)
        if self.session.max_line_bytes is None:
            return data
        return line_limit.fit_answer(data, self.session.max_line_bytes, offset)

    def _add_warnings(self, data: object, warnings: list[Warn]) -> object:
        """Return *data* with *warnings*, which become events if it has no place for them."""
        from sidecar.server import unknown_fields

        warned = unknown_fields.add_warnings(data, warnings)
        if warned is not None:
            return warned
        for warning in warnings:
            self.warn(warning)
        return data

    def fail(self, request: OpenRequest, error: SidecarError) -> None:
        """Write the terminal line of a *request* that failed, and free its id."""
        lane = request.lane
        body = _complete(error.body, request)
        if self.session.max_line_bytes is not None and (body.partial_message is not None or body.branches):
            from sidecar.server import line_limit

            body = line_limit.fit_error(body, self.session.max_line_bytes)
        try:
            lane.close(Failed(lane.id, False, body))  # noqa: FBT003 - a wire field
        except UNWRITABLE as failure:
            log("error", "error.unwritable", **find_origin(failure))
            lane.close(Failed(lane.id, False, strip_error(body)))  # noqa: FBT003 - a wire field
        self.requests.release(request)

    def warn(self, warning: Warn) -> None:
        """Write an unsolicited warning if the host asked for such."""
        if "warnings" in self.session.events:
            self.write_queue.open_lane(None).close(Event(event="warning", data=warning))


def _make_line(lane: Lane, data: object) -> msgspec.Struct:
    if isinstance(data, msgspec.Struct) and data.__struct_config__.tag == "done":
        # The lines of all streams differ only in the type of their data.
        return Streamed(lane.id, True, True, lane.next_seq, cast("Done", data))  # noqa: FBT003 - wire fields
    return Reply(lane.id, True, data)  # noqa: FBT003 - a wire field


def _complete(body: ErrorBody, request: OpenRequest) -> ErrorBody:
    """Return *body* with what is known of the request, and of what the host has received."""
    progress = request.state.progress
    last_seq = request.lane.delivered_seq if progress.delivered else None
    return msgspec.structs.replace(
        complete_error(body, request.state),
        partial=last_seq is not None,
        partial_seq=last_seq,
        next_offset=progress.find_next_offset(last_seq),
        partial_message=None if last_seq is None else find_partial(progress.partial),
        resume=None if last_seq is None else progress.resume,
    )


def strip_error(body: ErrorBody) -> ErrorBody:
    """Return *body* with only its words and numbers, which can always be written."""
    return ErrorBody(
        code=body.code,
        message=body.message,
        retryable=body.retryable,
        provider=body.provider,
        model=body.model,
        phase=body.phase,
        reason=body.reason,
        partial=body.partial,
        partial_seq=body.partial_seq,
        next_offset=body.next_offset,
        elapsed_ms=body.elapsed_ms,
    )


MAX_PARTIAL_CHARS = 1024 * 1024
"""An error repeats a partial message only up to this length: the host has all of it in chunks."""


def find_partial(partial: Message | None) -> Message | None:
    """Return *partial* for the host, or None if its text is too long for an error line."""
    if partial is None:
        return None
    chars = sum(map(_count_chars, list_parts(partial)))
    if chars > MAX_PARTIAL_CHARS:
        return None
    try:
        return make_portable(partial)
    except UNWRITABLE as error:
        log("error", "partial.unwritable", **find_origin(error))
        return None


def _count_chars(part: Part) -> int:
    match part:
        case TextPart(text=text) | ReasoningPart(content=text) | ToolCallPart(arguments_text=str(text)):
            return len(text)
        case _:
            return 0
