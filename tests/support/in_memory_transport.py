"""The HTTP client without a socket: its servers are in the test, and what they say is read as from a connection.

`tests.upstream.test_in_memory_transport` shows that it and the real client give the same for the same script.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, Self
from weakref import WeakSet

import anyio

from sidecar.core.http import HttpRequest
from sidecar.http import failures
from sidecar.http.exchange import Exchange, Reply
from sidecar.http.message import (
    CutReplyError,
    MalformedReplyError,
    ReplyHead,
    UnsendableError,
    encode_head,
    read_target,
)
from sidecar.http.reply_parser import ReplyParser
from sidecar.upstream.http_client import HttpClient

BUFFER_BYTES = 64 * 1024
"""What lies between a server and a reader that is slow."""


class Pipe:
    """What a server has sent and nobody has read."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size_bytes = 0
        self._changed = anyio.Event()
        self._failure: OSError | None = None
        self._is_closed = False

    def write(self, data: bytes) -> None:
        """Send *data*."""
        self._pieces.append(data)
        self._size_bytes += len(data)
        self._tell()

    async def drain(self) -> None:
        """Wait while too much is on its way.

        Raises: ConnectionResetError after `reset`.
        """
        await asyncio.sleep(0)
        while self._size_bytes > BUFFER_BYTES and not self._failure:
            await self._changed.wait()
        if self._failure:
            raise self._failure

    def close(self) -> None:
        """End it, once what was sent is read."""
        self._is_closed = True
        self._tell()

    def reset(self) -> None:
        """End it at once."""
        self._failure = ConnectionResetError()
        self._tell()

    async def read(self) -> bytes:
        """Return the next piece, nothing at the end.

        Raises: ConnectionResetError after `reset`.
        """
        while True:
            if self._failure:
                raise self._failure
            if self._pieces:
                data = self._pieces.popleft()
                self._size_bytes -= len(data)
                self._tell()
                return data
            if self._is_closed:
                return b""
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class Server(Protocol):
    """Whoever answers."""

    def serves(self, url: str) -> bool:
        """Return whether *url* is one of its addresses."""

    async def serve(self, request: HttpRequest, pipe: Pipe, gone: "asyncio.Future[bytes]") -> None:
        """Answer *request* into *pipe*; *gone* is done when nobody reads that any more."""


EVERYWHERE: "WeakSet[Server]" = WeakSet()
"""Servers that every client can ask."""


class InMemoryTransport(HttpClient):
    """The client. It asks the first of *servers* whose address it is, and then those that all can ask."""

    def __init__(self, *servers: Server) -> None:
        super().__init__()
        self._servers = servers

    def _sender(self, exchange: Exchange) -> Callable[[Exchange], Awaitable[Reply]]:  # noqa: ARG002 - one for all
        return self._ask

    async def _ask(self, exchange: Exchange) -> Reply:
        """Return the reply to *exchange* once its head is there."""
        exchange.fresh = True
        request = _as_sent(exchange)
        server = next((each for each in (*self._servers, *EVERYWHERE) if each.serves(request.url)), None)
        if server is None:
            raise failures.make_broken_error(ConnectionRefusedError())
        exchange.enter("headers")
        pipe, gone = Pipe(), asyncio.get_running_loop().create_future()
        serving = asyncio.ensure_future(server.serve(request, pipe, gone))
        # Without a server nothing more will come, whatever ended it.
        serving.add_done_callback(lambda _: pipe.close())

        async def leave() -> None:
            gone.set_result(b"")
            pipe.reset()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([serving])
            # A script that fails is a mistake of the test.
            if not serving.cancelled():
                serving.result()

        body = _Body(pipe, exchange.timeouts.idle_seconds)
        try:
            head = await body.read_head()
        except BaseException:
            await leave()
            raise
        return Reply(head.status, head.headers, body, leave)


def _as_sent(exchange: Exchange) -> HttpRequest:
    """Return the request of *exchange* as a server gets it.

    Raises: SidecarError `invalid_request` for one that cannot be sent.
    """
    request = exchange.request
    target = read_target(request.url)
    if target is None:
        raise failures.make_unsendable_error()
    try:
        head = encode_head(request.method, target, exchange.headers, len(request.body))
    except UnsendableError as error:
        raise failures.read_failure(error) from None
    fields = (line.partition(": ") for line in head.decode("ascii").rstrip().split("\r\n")[1:])
    headers = {name.lower(): value for name, _, value in fields}
    return HttpRequest(method=request.method, url=request.url, headers=headers, body=request.body)


class _Body:
    """The body of a reply as it comes out of a pipe."""

    def __init__(self, pipe: Pipe, idle_seconds: float) -> None:
        self._pipe = pipe
        self._idle_seconds = idle_seconds
        self._reply = ReplyParser()

    async def read_head(self) -> ReplyHead:
        """Return the head, waiting for it."""
        while self._reply.head is None:
            await self._read()
        return self._reply.head

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        parts = self._reply.parts
        while not parts:
            if self._reply.complete:
                raise StopAsyncIteration
            try:
                with anyio.fail_after(self._idle_seconds):
                    await self._read()
            except TimeoutError:
                raise failures.make_silence_error("idle") from None
        data = b"".join(parts)
        parts.clear()
        return data

    async def _read(self) -> None:
        try:
            data = await self._pipe.read()
            if data:
                self._reply.feed(data)
            else:
                self._reply.finish()
        except (OSError, CutReplyError, MalformedReplyError) as error:
            raise failures.read_failure(error) from None
