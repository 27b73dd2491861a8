"""Bodies that hand their pieces on as they are read: the same by either client, and no task is woken for a piece."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, get_args

import anyio
import pytest

from sidecar.core.errors import SidecarError
from sidecar.core.http import ClientName, HttpRequest, HttpTimeouts, Response
from sidecar.core.http_bodies import drain, push
from sidecar.http.connection import Connection
from sidecar.http.message import IdleError
from sidecar.http.turns import Turns
from sidecar.upstream.http_client import HttpClient
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.raw_servers import listening, silent
from tests.support.virtual_loop import VirtualLoop

pytestmark = pytest.mark.long

OK = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

QUICK = HttpTimeouts(connect_seconds=2, first_byte_seconds=2, idle_seconds=0.2)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


class Server:
    """Sends one piece of a body each time that it is told to, and then does what *then* does."""

    def __init__(self, pieces: list[bytes], then: Callable[[socket.socket], None]) -> None:
        self.pieces = pieces
        self.then = then
        self.go = threading.Semaphore(0)

    def answer(self, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(OK)
        for piece in self.pieces:
            assert self.go.acquire(timeout=WAIT_SECONDS)
            with suppress(ConnectionError):
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.then(connection)


@contextmanager
def serving(*pieces: bytes, then: Callable[[socket.socket], None]) -> Iterator[tuple[Server, HttpRequest]]:
    server = Server([*pieces], then)
    with listening(server.answer) as listener:
        yield server, HttpRequest(method="GET", url=f"http://127.0.0.1:{listener.port}/", headers={})


def whole(connection: socket.socket) -> None:
    """End the body."""
    connection.sendall(b"0\r\n\r\n")
    silent(connection)


def cut(connection: socket.socket) -> None:
    """End the connection within the body."""
    connection.shutdown(socket.SHUT_WR)


@pytest.fixture(params=get_args(ClientName))
def name(request: pytest.FixtureRequest) -> Any:
    """Return the name of each client."""
    return request.param


async def read(client: HttpClient, request: HttpRequest, use: Callable[[Response], Any]) -> Any:
    with anyio.fail_after(WAIT_SECONDS):
        try:
            async with client.send(request, {}, QUICK) as reply:
                return await use(reply)
        finally:
            await client.aclose()


async def test_pieces_come_in_order_until_the_end(name: ClientName) -> None:
    pieces = [b"a", b"b" * 100_000, b"c", b"d" * 5000, b"e"]
    with serving(*pieces, then=whole) as (server, request):
        taken = bytearray()

        def take(data: bytes) -> bool:
            taken.extend(data)
            server.go.release()
            return True

        server.go.release()
        assert await read(HttpClient(name), request, lambda reply: push(reply.body, take)) is False
    assert taken == b"".join(pieces)


async def test_who_stops_goes_on_where_it_has_stopped(name: ClientName) -> None:
    with serving(b"a", b"b", b"c", then=whole) as (server, request):
        server.go.release(3)
        taken = list[bytes]()

        def take(data: bytes) -> bool:
            taken.append(data)
            return False

        async def use(reply: Response) -> None:
            while await push(reply.body, take):
                assert b"abc".startswith(b"".join(taken))
                if b"".join(taken) == b"ab":
                    break
            await drain(reply)

        await read(HttpClient(name), request, use)
    assert b"".join(taken) in (b"ab", b"abc")


@pytest.mark.parametrize("error", [SidecarError("content_filtered", "mine"), MemoryError(), KeyError("mine")])
async def test_what_the_taker_raises_is_raised_to_whoever_waits(name: ClientName, error: Exception) -> None:
    with serving(b"a", then=silent) as (server, request):
        server.go.release()

        def take(_: bytes) -> bool:
            raise error

        with pytest.raises(type(error)) as caught:
            await read(HttpClient(name), request, lambda reply: push(reply.body, take))
    assert caught.value is error


@pytest.mark.parametrize(("then", "expected"), [(cut, "network_error"), (silent, "timeout")])
async def test_a_body_that_breaks_off_after_a_piece_is_told(
    name: ClientName, then: Callable[[socket.socket], None], expected: str
) -> None:
    with serving(b"a", then=then) as (server, request):
        server.go.release()
        taken = bytearray()

        def take(data: bytes) -> bool:
            taken.extend(data)
            return True

        with pytest.raises(SidecarError) as caught:
            await read(HttpClient(name), request, lambda reply: push(reply.body, take))
    assert (caught.value.body.code, bytes(taken)) == (expected, b"a")


class Transport(asyncio.Transport):
    """Takes a request."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take it."""

    def abort(self) -> None:
        """Be closed."""


class Exchange:
    """A connection on which a body has begun, and a way to hear of it as if a server had sent something."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(1024))
        self.connection = Connection(self._buffer, Turns(), lambda: None)
        self.connection.connection_made(Transport())
        self.reply = self.connection.begin(b"", b"")
        self.taken = list[bytes]()
        self.receive(OK)

    def receive(self, data: bytes) -> None:
        self._buffer[: len(data)] = data
        self.connection.buffer_updated(len(data))

    def take(self, data: bytes) -> bool:
        self.taken.append(data)
        return True


async def test_a_cancelled_reader_gets_nothing_more() -> None:
    exchange = Exchange()
    waiting = exchange.connection.wait_for_more(exchange.take)
    exchange.receive(b"1\r\na\r\n")
    assert (exchange.taken, exchange.reply.parts) == ([b"a"], [])
    waiting.cancel()
    exchange.receive(b"1\r\nb\r\n")
    assert (exchange.taken, exchange.reply.parts) == ([b"a"], [b"b"])


def test_pieces_are_signs_of_life() -> None:
    loop = VirtualLoop()

    async def read() -> None:
        exchange = Exchange()
        exchange.connection.limit_silence(10)
        waiting = exchange.connection.wait_for_more(exchange.take)
        for _ in range(3):
            await asyncio.sleep(9)
            exchange.receive(b"1\r\na\r\n")
        assert not waiting.done()
        await asyncio.sleep(11)
        assert await waiting is False
        assert isinstance(exchange.connection.failure, IdleError)
        assert exchange.taken == [b"a"] * 3

    task = loop.create_task(read())
    assert loop.run_until(task.done, 60)
    task.result()
    loop.close()
