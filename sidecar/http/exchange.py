"""One request on its way, and the reply that came: what both clients take and give."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple

from protocol.errors import Phase
from sidecar.core.http import HttpRequest, HttpTimeouts, Trace


class Exchange:
    """One try at a request, and how far it has come."""

    __slots__ = ("_trace", "fresh", "guarded", "headers", "request", "timeouts")

    def __init__(
        self,
        request: HttpRequest,
        headers: Mapping[str, str],
        timeouts: HttpTimeouts,
        trace: Trace | None,
        *,
        guarded: bool,
    ) -> None:
        self.request = request
        self.headers = headers
        """All of them, the credential's too: no `repr` shows it."""
        self.timeouts = timeouts
        self.guarded = guarded
        """Whether it must not end up at a link-local address."""
        self.fresh = False
        """Whether its connection was made for it."""
        self._trace = trace

    def enter(self, phase: Phase) -> None:
        """Note that *phase* has begun."""
        if self._trace is not None:
            self._trace.phase = phase


class Reply(NamedTuple):
    """A reply whose head has come. Its body raises SidecarError where it breaks off."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]
    """Leaves it, wherever it is: what has not come is not waited for."""
