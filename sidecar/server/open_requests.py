"""The requests that are open: id → cancel scope, lane and what is known of them so far.

Knows that an id is live from its line to its terminal line. Must not know actions.
"""

import time
from collections.abc import Iterator
from typing import Any, Literal

import anyio
import msgspec

from protocol.errors import Phase, Resume
from protocol.messages import Message, Usage
from protocol.replies import Attempt
from protocol.requests import Envelope
from sidecar.core.errors import SidecarError
from sidecar.server.write_queue import Lane

TOTAL_MS = 600_000
"""What a request may take in all where nothing says otherwise: neither it, nor its action, nor its model."""

CancelReason = Literal["cancelled", "shutting_down", "timeout"]

Key = int | str | msgspec.UnsetType


class Progress:
    """How far a chat has come: what its terminal line says if it does not end well."""

    __slots__ = (
        "again_at",
        "attempts",
        "authorized",
        "cost",
        "delivered",
        "first_chunk_ms",
        "held_up",
        "model",
        "partial",
        "phase",
        "provider",
        "resume",
        "tries",
        "usage",
    )

    def __init__(self) -> None:
        self.provider: str | None = None
        self.model: str | None = None
        self.phase: Phase | None = None
        """What the request waits for."""
        self.attempts: list[Attempt] = []
        """The tries that have failed so far."""
        self.authorized: dict[str, str] = {}
        """What the last of them was authorized by, of which nothing may be said: no `repr` shows it."""
        self.tries = 0
        """The tries begun."""
        self.again_at = 0.0
        """When the next try comes after one that failed, on the monotonic clock."""
        self.delivered = False
        """Whether any content has gone to the lane."""
        self.first_chunk_ms: int | None = None
        self.held_up = False
        """Whether the provider has ever had to wait for a host that reads slowly."""
        self.usage: Usage | None = None
        self.cost: dict[str, Any] | None = None
        """What that usage has cost."""
        self.partial: Message | None = None
        """What had come of an answer that broke off."""
        self.resume: Resume | None = None


class Entry:
    """One open request."""

    __slots__ = (
        "envelope",
        "heard_seq",
        "lane",
        "limit_ms",
        "limited",
        "progress",
        "reason",
        "scope",
        "silent_since",
        "started",
        "streams",
        "told_at",
    )

    def __init__(self, envelope: Envelope, lane: Lane, *, streams: bool = False) -> None:
        self.envelope = envelope
        self.lane = lane
        self.streams = streams
        """Whether the host may be told what it waits for."""
        self.scope = anyio.CancelScope()
        self.reason: CancelReason = "timeout"
        self.progress = Progress()
        self.started = time.monotonic()
        self.limit_ms: int | None = None
        """What the request may take in all."""
        self.limited = False
        """Whether that is by its own wish."""
        self.heard_seq = 0
        """The lane's `next_seq` when `sidecar.server.heartbeat` last looked, and the times since when there was nothing
        new and when the host was last told so, on the monotonic clock."""
        self.silent_since = self.told_at = self.started

    def cancel(self, reason: CancelReason) -> None:
        """Cancel the request's task; its terminal line will say *reason*."""
        if not self.scope.cancel_called:
            self.reason = reason
            self.scope.cancel()

    def limit(self, ms: int) -> None:
        """End the request *ms* after its line was read, as it wishes itself: the shortest wish counts."""
        self._end_after(min(ms, self.limit_ms) if self.limited and self.limit_ms else ms)
        self.limited = True

    def grant(self, ms: int) -> None:
        """End a request without a wish of its own *ms* after its line was read: the longest grant counts."""
        if not self.limited:
            self._end_after(max(ms, self.limit_ms or 0))

    def _end_after(self, ms: int) -> None:
        self.limit_ms = ms
        left = ms / 1000 - (time.monotonic() - self.started)
        self.scope.deadline = anyio.current_time() + left

    @property
    def remaining_ms(self) -> float:
        """Milliseconds until the request's deadline; infinite without one."""
        return (self.scope.deadline - anyio.current_time()) * 1000

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the request's line was read."""
        return int((time.monotonic() - self.started) * 1000)


class Inflight:
    """The table of open requests. A request without an id is open under the id UNSET: one at a time."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._idle = anyio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def register(self, entry: Entry) -> None:
        """Open *entry* under its id.

        Raises: SidecarError `invalid_request` while another request has that id.
        """
        key = entry.envelope.id
        if key in self._entries:
            raise duplicate(key)
        if not self._entries:
            self._idle = anyio.Event()
        self._entries[key] = entry

    def release(self, entry: Entry) -> None:
        """Free the id of *entry*. Releasing twice does nothing."""
        if self._entries.get(entry.envelope.id) is entry:
            del self._entries[entry.envelope.id]
            if not self._entries:
                self._idle.set()

    def cancel(self, key: Key) -> bool:
        """Cancel the request *key* and return whether there is one."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        entry.lane.drop()
        entry.cancel("cancelled")
        return True

    def cancel_all(self, reason: CancelReason) -> None:
        """Cancel every open request."""
        for entry in self._entries.values():
            entry.cancel(reason)

    async def idle(self) -> None:
        """Wait until no request is open."""
        await self._idle.wait()


def duplicate(key: Key) -> SidecarError:
    """Return the failure for an id that is in use."""
    text = "A request without an id is still open." if key is msgspec.UNSET else "A request with this id is still open."
    return SidecarError("invalid_request", text, param="id", reason="duplicate_id")
