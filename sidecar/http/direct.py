"""Requests over connections of our own, straight to the server. See `proxied` for those that need a proxy.

Knows the order of the steps: connection, request, head, body. Must not know who asks, or for what.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self

import anyio
import anyio.lowlevel

from sidecar.core import event_loop, platforms, url_policy
from sidecar.http import dial, failures
from sidecar.http.connection import READ_BYTES, Connection
from sidecar.http.exchange import Exchange, Reply
from sidecar.http.message import CutReplyError, ReplyHead, Target, UnsendableError, encode_head
from sidecar.http.pool import Origin, Pool
from sidecar.http.reply_parser import ReplyParser
from sidecar.http.spares import Spares
from sidecar.http.turns import Turns

CANCELLABLE_EVERY = 8
"""How often, in pieces, a body checks whether its reader is cancelled. anyio does not cancel a task that is about to
run, as the reader of a server without pauses always is."""


class Direct:
    """The client. It belongs to the event loop in which it is made."""

    def __init__(self, most: int | None) -> None:
        """Open at most *most* connections; further requests wait."""
        self._pool = Pool(most, platforms.is_readable, platforms.read_boot_seconds)
        self._spares = Spares(self._pool)
        self._has_threads = False
        self._context: asyncio.Future[ssl.SSLContext] | None = None
        self._turns = Turns()
        # A read and its handling are one step of the loop, so all connections share one buffer. On Windows the system
        # writes into a buffer at any time.
        self._buffer = None if platforms.WINDOWS else memoryview(bytearray(READ_BYTES))

    async def send(self, exchange: Exchange, target: Target) -> Reply:
        """Send *exchange* to *target* and return the reply once its head is there.

        Raises: SidecarError `network_error`, `timeout`, `provider_error` (no HTTP), `invalid_request` (a header that
        cannot be sent, a name that leads to a link-local address).
        """
        request = exchange.request
        try:
            head = encode_head(request.method, target, exchange.headers, len(request.body))
        except UnsendableError as error:
            raise failures.read_failure(error) from None
        origin: Origin = target.scheme, target.host, target.port
        connection = await self._find_connection(exchange, origin, target)
        if exchange.request.keeps_spare:
            self._spares.dial(origin, partial(self._open_connection, exchange, target))
        try:
            exchange.enter("headers")
            reply = connection.begin(head, request.body)
            replied = await _wait_for_head(connection, reply)
        except BaseException:
            connection.end()
            raise
        connection.limit_silence(exchange.timeouts.idle_seconds)
        body = Body(connection, reply)
        return Reply(replied.status, replied.headers, body, self._make_leave(origin, connection))

    def prepare_tls(self) -> None:
        """Begin to make the context for connections over TLS."""
        self._make_tls()

    def close(self) -> None:
        """Close every connection that is idle."""
        self._spares.close()
        self._pool.close()

    async def _find_connection(self, exchange: Exchange, origin: Origin, target: Target) -> Connection:
        """Return an idle connection, the spare one that is being made, or one that is made now."""
        if exchange.request.keeps_spare and not self._pool.has_idle(origin):
            # Made so, it serves the next request if this one is cancelled meanwhile.
            self._spares.dial(origin, partial(self._open_connection, exchange, target))
            exchange.fresh = True
            await self._spares.wait(origin)
            exchange.fresh = False
        connection = await self._pool.acquire(origin)
        if connection is None:
            exchange.fresh = True
            connection = await self._open_connection(exchange, target)
        return connection

    async def _open_connection(self, exchange: Exchange, target: Target) -> Connection:
        try:
            connection = await self._connect(exchange, target)
        except BaseException:
            self._pool.lose()
            raise
        connection.when_lost(self._make_on_lost(connection))
        return connection

    async def _connect(self, exchange: Exchange, target: Target) -> Connection:
        try:
            self._allow_threads()
            if target.scheme == "https":
                self._make_tls()
            with anyio.fail_after(exchange.timeouts.connect_seconds):
                made = await dial.dial(target.host, target.port)
            if exchange.guarded and url_policy.is_link_local(made.getpeername()[0]):
                # The owner of a name decides where it leads, perhaps to a cloud's metadata server.
                made.close()
                raise failures.make_link_local_error()
            context = await asyncio.shield(self._make_tls()) if target.scheme == "https" else None
            with anyio.fail_after(exchange.timeouts.connect_seconds):
                connection = partial(Connection, self._read_buffer(), self._turns, partial(dial.hang_up, made))
                return await dial.attach(made, connection, context, target.host)
        except TimeoutError:
            raise failures.make_unreached_error() from None
        except ssl.SSLCertVerificationError as error:
            # Whoever adds a root, as the error says, need not start the process again.
            self._context = None
            raise failures.read_failure(error) from None
        except (OSError, ExceptionGroup) as error:
            raise failures.read_failure(error) from None

    def _read_buffer(self) -> memoryview:
        return self._buffer or memoryview(bytearray(READ_BYTES))

    def _allow_threads(self) -> None:
        if not self._has_threads:
            self._has_threads = True
            event_loop.allow_many_lookups()

    def _make_tls(self) -> "asyncio.Future[ssl.SSLContext]":
        """Return the future context for all connections, made while the first one is opened, or earlier."""
        if self._context is None:
            self._allow_threads()
            # Certificates are read from disk, for which the loop, and a `cancel` in it, need not wait.
            self._context = asyncio.get_running_loop().run_in_executor(None, dial.make_tls_context)
            self._context.add_done_callback(self._forget_failed_tls)
        return self._context

    def _forget_failed_tls(self, context: "asyncio.Future[ssl.SSLContext]") -> None:
        if context.cancelled() or context.exception() is not None:
            # The next connection tries again.
            self._context = None

    def _make_on_lost(self, connection: Connection) -> Callable[[], None]:
        def lost() -> None:
            self._pool.forget(connection)
            self._pool.lose()

        return lost

    def _make_leave(self, origin: Origin, connection: Connection) -> Callable[[], Awaitable[None]]:
        async def leave() -> None:
            if connection.end():
                self._pool.put_back(origin, connection)

        return leave


async def _wait_for_head(connection: Connection, reply: ReplyParser) -> ReplyHead:
    """Return the head of *reply*, waiting for it.

    Raises: SidecarError when the connection fails before.
    """
    while reply.head is None:
        if connection.failure is not None:
            raise failures.read_failure(connection.failure)
        await connection.wait_for_more()
    return reply.head


class Body:
    """The body of one reply. An iterator rather than a generator, whose cost each event would pay."""

    __slots__ = ("_connection", "_pieces", "_reply")

    def __init__(self, connection: Connection, reply: ReplyParser) -> None:
        self._connection = connection
        self._reply = reply
        self._pieces = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        connection, reply = self._connection, self._reply
        self._pieces += 1
        if self._pieces % CANCELLABLE_EVERY == 0:
            await anyio.lowlevel.checkpoint_if_cancelled()
        parts = reply.parts
        while not parts:
            if reply.complete:
                raise StopAsyncIteration
            self._check_connection()
            await connection.wait_for_more()
        return self._next_data()

    async def push(self, take: Callable[[bytes], bool]) -> bool:
        """Call *take* with each piece as it is read, until it returns false."""
        connection, reply = self._connection, self._reply
        while True:
            if reply.parts:
                # They came while nobody waited, or are large and have waited for their turn.
                self._pieces += 1
                if self._pieces % CANCELLABLE_EVERY == 0:
                    await anyio.lowlevel.checkpoint_if_cancelled()
                if not take(self._next_data()):
                    return True
            elif reply.complete:
                return False
            else:
                self._check_connection()
                has_stopped = await connection.wait_for_more(take)
                if has_stopped:
                    return True

    def _check_connection(self) -> None:
        """Raise the failure of the connection, if the rest of the reply cannot come any more."""
        connection = self._connection
        if connection.reply is not self._reply:
            raise failures.read_failure(CutReplyError())
        if connection.failure is not None:
            raise failures.read_failure(connection.failure)

    def _next_data(self) -> bytes:
        parts = self._reply.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._connection.resume_reading()
        return data
