"""The table of open requests: id to lane and state.

A request is open from its line until its terminal line. Must not know actions.
"""

from collections.abc import Callable, Iterator

import msgspec

from protocol.replies import Warn
from protocol.requests import Envelope
from sidecar.core import event_loop
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.request_state import CancelReason, RequestState
from sidecar.server.write_queue import Lane

Key = int | str | msgspec.UnsetType


class OpenRequest:
    """One open request."""

    __slots__ = (
        "checked_seq",
        "envelope",
        "lane",
        "last_words",
        "offset",
        "silent_since",
        "state",
        "status_at",
        "streams",
        "warnings",
    )

    def __init__(self, envelope: Envelope, lane: Lane, *, streams: bool = False) -> None:
        self.envelope = envelope
        self.lane = lane
        self.state = RequestState(envelope.action, envelope.provider)
        self.streams = streams
        """Whether the lane takes chunks of a chat, such as `status`."""
        self.warnings: list[Warn] = []
        """Warnings about the request itself, which come before those of the answer."""
        self.last_words: list[Callable[[], None]] = []
        """When the host cancels the request, each is called and may send last chunks before the terminal line."""
        self.offset = 0
        """The entry of its list with which the answer begins."""
        self.checked_seq = 0
        """The lane's `next_seq` at the last check of `sidecar.server.heartbeat`."""
        self.silent_since = self.status_at = self.state.started
        """When the last chunk was sent, and when the last heartbeat, on the monotonic clock."""

    def require_provider(self) -> str:
        """Return the request's `provider`.

        Raises: SidecarError `invalid_request` if there is none.
        """
        if self.envelope.provider is None:
            raise invalid_request("`provider` is required.", "provider")
        return self.envelope.provider


class OpenRequests:
    """The open requests by id. A request without an id has the key UNSET, so there is one such at a time."""

    def __init__(self) -> None:
        self._requests: dict[Key, OpenRequest] = {}
        self._idle = event_loop.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, key: Key) -> bool:
        return key in self._requests

    def __iter__(self) -> Iterator[OpenRequest]:
        return iter(self._requests.values())

    def register(self, request: OpenRequest) -> None:
        """Add *request*.

        Raises: SidecarError `invalid_request` while another request has its id.
        """
        key = request.envelope.id
        if key in self._requests:
            raise make_duplicate_error(key)
        if not self._requests:
            self._idle = event_loop.Event()
        self._requests[key] = request

    def release(self, request: OpenRequest) -> None:
        """Remove *request*, which frees its id. Does nothing for a request that is not open."""
        if self._requests.get(request.envelope.id) is request:
            del self._requests[request.envelope.id]
            if not self._requests:
                self._idle.set()

    def cancel(self, key: Key) -> bool:
        """Cancel the request with this *key*, and return whether there is one."""
        request = self._requests.get(key)
        if request is None:
            return False
        request.lane.drop()
        for send in request.last_words:
            send()
        request.state.cancel("cancelled")
        return True

    def find(self, key: Key) -> OpenRequest | None:
        """Return the request with this *key*, unless the host has cancelled it."""
        request = self._requests.get(key)
        return None if request is None or request.lane.dropped else request

    def end_input(self) -> None:
        """Tell every open request that the host can send nothing more."""
        for request in self._requests.values():
            request.state.end_input()

    def cancel_branch(self, key: Key, branch: int) -> bool:
        """Cancel one branch of the request with this *key*, and return whether it was still running."""
        request = self._requests.get(key)
        part = request.state.branches.get(branch) if request else None
        if part is None:
            return False
        part.cancel("cancelled")
        return True

    def cancel_all(self, reason: CancelReason) -> None:
        """Cancel every open request."""
        for request in self._requests.values():
            request.state.cancel(reason)

    async def wait_until_idle(self) -> None:
        """Wait until no request is open."""
        await self._idle.wait()


def make_duplicate_error(key: Key) -> SidecarError:
    """Return the error for an id that is in use."""
    is_nameless = key is msgspec.UNSET
    text = "A request without an `id` is still open." if is_nameless else "A request with this `id` is still open."
    return SidecarError("invalid_request", text, param="id", reason="duplicate_id")
