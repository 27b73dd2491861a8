"""What lives as long as the process: configuration, lanes, open requests, the HTTP client.

Passed to everything that needs it; nothing of a single request is kept here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio.to_thread
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
from sidecar.auth.logins.store import Store
from sidecar.config.loader import Config, with_files
from sidecar.core.errors import SidecarError
from sidecar.core.single_flight import Flights
from sidecar.server.open_requests import Entry, Inflight
from sidecar.server.write_queue import Outbox
from sidecar.upstream.gates import Gate
from sidecar.upstream.http_client import Transport
from sidecar.usage.ledger import Ledger

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from sidecar.upstream.model_lists import Remembered


class Host:
    """The one long-lived object; `session` is what the host editor said of itself."""

    def __init__(self, config: Config, outbox: Outbox, tasks: "TaskGroup") -> None:
        self.config = config
        self.outbox = outbox
        self.tasks = tasks
        self.http = Transport()
        self.inflight = Inflight()
        self.flights = Flights(tasks)
        self.store = Store(config.store_dir)
        self.ledger = Ledger(config.ledger_path, tasks, self._ledger_unusable)
        self.session = Initialize()
        self.heartbeat_is_due = False
        """Whether the timer of `sidecar.server.heartbeat` is set."""
        self.leaving = False
        """Set once no new work is taken."""
        self.leave: Callable[[], None] = lambda: None
        """Begins the shutdown; `serve` puts it here."""
        self.model_lists: dict[tuple[str, str, int], Remembered] = {}
        """(provider, base address, hash of the credential) → the list."""
        self.catalogue_warnings: list[Warn] | None = None
        """What is wrong with the catalogue that was kept of the last refresh; None: not looked yet."""

        self.gates: dict[tuple[str, str, int], Gate] = {}
        """(provider, base address, hash of the credential) → who may ask it now."""
        self.sessions: dict[Any, Any] = {}
        """What schemes of `sidecar.auth` remember."""

    async def look_into_store(self) -> None:
        """Have what is stored now in the configuration, where a request's credential is looked for."""
        if self.store.due:
            await self.flights.share("store", lambda _: self._look())
        if self.config.stored is not self.store.secrets:
            self.config = msgspec.structs.replace(self.config, stored=self.store.secrets)

    async def _look(self) -> None:
        from sidecar.auth.logins import imported
        from sidecar.catalogue import provider_rows  # A host that only pings pays for neither.

        await self.store.look()
        files = {name: row.identity_files for name, row in provider_rows.providers().items() if row.identity_files}
        found = await anyio.to_thread.run_sync(with_files, self.config.env, files)
        left = await anyio.to_thread.run_sync(imported.accounts, self.config)
        if (found, left) != (self.config.identities, self.config.existing):
            self.config = msgspec.structs.replace(self.config, identities=found, existing=left)

    def reply(self, request_id: ReplyId, data: object) -> None:
        """Write the one line of a request that needed no task."""
        self.outbox.lane(request_id).close(Reply(request_id, True, data))  # noqa: FBT003 - a wire field

    def refuse(self, request_id: ReplyId, error: SidecarError) -> None:
        """Write the one line of a request that was never opened."""
        self.outbox.lane(request_id).close(Failed(request_id, False, error.body))  # noqa: FBT003 - a wire field

    def finish(self, entry: Entry, data: object) -> None:
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
        self.inflight.release(entry)

    def fail(self, entry: Entry, error: SidecarError) -> None:
        """Write the terminal line of *entry*, which failed, and free its id."""
        lane = entry.lane
        if not lane.closed:
            lane.close(Failed(lane.id, False, _complete(error.body, entry)))  # noqa: FBT003 - a wire field
        self.inflight.release(entry)

    def _ledger_unusable(self, problem: str) -> None:
        text = f"The ledger cannot be used ({problem}): what is asked now is not written down, or late."
        self.warn(Warn(code="ledger_unusable", message=text))

    def warn(self, warning: Warn) -> None:
        """Write an unsolicited warning, for a host that asked for such."""
        if "warnings" in self.session.events:
            self.outbox.lane(None).close(Event(event="warning", data=warning))


def _complete(body: ErrorBody, entry: Entry) -> ErrorBody:
    progress = entry.progress
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
        elapsed_ms=entry.elapsed_ms,
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
