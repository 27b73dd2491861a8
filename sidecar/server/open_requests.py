"""The table of open requests: id → lane and state.

An id is taken from its request line to its terminal line. Must not know actions.
"""

from collections.abc import Iterator

import anyio
import msgspec

from protocol.requests import Envelope
from sidecar.core.errors import SidecarError
from sidecar.core.request_state import CancelReason, RequestState
from sidecar.server.write_queue import Lane

Key = int | str | msgspec.UnsetType


class OpenRequest:
    """One open request."""

    __slots__ = ("envelope", "heard_seq", "lane", "silent_since", "state", "streams", "told_at")

    def __init__(self, envelope: Envelope, lane: Lane, *, streams: bool = False) -> None:
        self.envelope = envelope
        self.lane = lane
        self.state = RequestState(envelope.action, envelope.provider)
        self.streams = streams
        """Whether the host may be told what the request waits for."""
        self.heard_seq = 0
        """The lane's `next_seq` when `sidecar.server.heartbeat` last looked."""
        self.silent_since = self.told_at = self.state.started
        """When the stream fell silent and when the host was last told so, on the monotonic clock."""


class OpenRequests:
    """The table of open requests. A request without an id is open under the id UNSET: one at a time."""

    def __init__(self) -> None:
        self._entries: dict[Key, OpenRequest] = {}
        self._idle = anyio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[OpenRequest]:
        return iter(self._entries.values())

    def register(self, entry: OpenRequest) -> None:
        """Open *entry* under its id.

        Raises: SidecarError `invalid_request` while another request has that id.
        """
        key = entry.envelope.id
        if key in self._entries:
            raise duplicate(key)
        if not self._entries:
            self._idle = anyio.Event()
        self._entries[key] = entry

    def release(self, entry: OpenRequest) -> None:
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
        entry.state.cancel("cancelled")
        return True

    def cancel_all(self, reason: CancelReason) -> None:
        """Cancel every open request."""
        for entry in self._entries.values():
            entry.state.cancel(reason)

    async def idle(self) -> None:
        """Wait until no request is open."""
        await self._idle.wait()


def duplicate(key: Key) -> SidecarError:
    """Return the failure for an id that is in use."""
    text = "A request without an id is still open." if key is msgspec.UNSET else "A request with this id is still open."
    return SidecarError("invalid_request", text, param="id", reason="duplicate_id")
