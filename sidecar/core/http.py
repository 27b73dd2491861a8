"""The values that pass between code that sends requests and the HTTP client. [sans-IO]

Code gets a `Transport` and does not know which client it is.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, runtime_checkable

import msgspec

from protocol.errors import ErrorBody, Phase

ClientName = Literal["direct", "httpx2"]
"""`direct`: our own connections where no proxy is needed. `httpx2`: that library for everything."""

CONNECT_SECONDS = 5.0
FIRST_BYTE_SECONDS = 120.0
IDLE_SECONDS = 300.0


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request, complete except for its credential."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes = b""
    keeps_spare: bool = False
    """It may well be left before its end, for another that should not have to wait for a connection."""


class HttpTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Timeouts of one attempt's phases, in seconds."""

    connect_seconds: float = CONNECT_SECONDS
    first_byte_seconds: float = FIRST_BYTE_SECONDS
    idle_seconds: float = IDLE_SECONDS


class Trace(Protocol):
    """Reports how far a request has come."""

    phase: Phase | None


class PhaseTrace(msgspec.Struct):
    """A trace for HTTP requests that belong to no request of the host."""

    phase: Phase | None = None


class RetryBudget(Protocol):
    """Pays for a request that is sent again."""

    def take(self, error: ErrorBody) -> int | None:
        """Take the price of a retry after *error* and return it; None: too little is left."""

    def give_back(self, cost: int) -> None:
        """Return *cost* after a success."""


class Response(msgspec.Struct, frozen=True):
    """A reply whose head has arrived. `headers` has lower-case names; `body` yields the bytes as they arrive."""

    status: int
    headers: dict[str, str]
    body: AsyncIterator[bytes]


@runtime_checkable
class PushedBody(Protocol):
    """A body that can hand its pieces on in the turn of the event loop that reads them, and wakes no task for them."""

    async def push(self, take: Callable[[bytes], bool]) -> bool:
        """Call *take* with each piece until it returns false, and return true then; false at the end of the body.

        Raises: SidecarError where the body breaks off, and whatever *take* raises.
        """


class Transport(Protocol):
    """An HTTP client."""

    def send(
        self,
        request: HttpRequest,
        auth: Mapping[str, str],
        timeouts: HttpTimeouts,
        trace: Trace | None = None,
        *,
        budget: RetryBudget | None = None,
        link_local: bool = False,
    ) -> AbstractAsyncContextManager[Response]:
        """Send *request* with the headers of *auth* and give its reply. Leaving closes an unfinished connection.

        *budget* pays for sending it again when a kept connection turns out to be closed; None: no budget is needed.
        *link_local* allows the address of the machine's own metadata server.

        Raises: SidecarError `network_error`, `timeout`, `provider_error`, `invalid_request` (a header that cannot be
        sent, a path with steps, a name that leads to a link-local address).
        """

    async def aclose(self) -> None:
        """Close every connection."""


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Return whether a body is compressed. We never accept that: a small body may expand to gigabytes."""
    return headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
