"""What lives as long as the process: configuration, lanes, open requests, the HTTP client.

Passed to everything that needs it; nothing of a single request is kept here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from protocol.errors import ErrorBody
from protocol.replies import (
    Done,
    Event,
    Failed,
    LoggedIn,
    ModelList,
    Reply,
    ReplyId,
    Streamed,
    StreamedLogin,
    Warn,
)
from protocol.requests import Initialize
from sidecar.config import Config
from sidecar.errors import SidecarError
from sidecar.flights import Flights
from sidecar.inflight import Entry, Inflight
from sidecar.ledger import Ledger
from sidecar.limits import Gate
from sidecar.outbox import Outbox
from sidecar.store import Store
from sidecar.transport import Transport

if TYPE_CHECKING:
    from anyio.abc import TaskGroup


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
        self.leaving = False
        """Set once no new work is taken."""
        self.leave: Callable[[], None] = lambda: None
        """Begins the shutdown; `serve` puts it here."""
        self.model_lists: dict[tuple[str, str, int], tuple[float, ModelList]] = {}
        """(provider, base address, hash of the credential) → when, on the monotonic clock, and what."""

        self.gates: dict[tuple[str, str, int], Gate] = {}
        """(provider, base address, hash of the credential) → who may ask it now."""
        self.sessions: dict[Any, Any] = {}
        """What schemes of `sidecar.auth` remember."""

    async def look_into_store(self) -> None:
        """Have what is stored now in the configuration, where a request's credential is looked for."""
        if self.store.due:
            await self.flights.share("store", lambda _: self.store.look())
        if self.config.stored is not self.store.secrets:
            self.config = msgspec.structs.replace(self.config, stored=self.store.secrets)

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
        partial_message=None if last_seq is None else progress.partial,
        resume=None if last_seq is None else progress.resume,
        usage=progress.usage,
        cost=progress.cost,
        elapsed_ms=entry.elapsed_ms,
    )
