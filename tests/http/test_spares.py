"""Spare connections: a request that is left before its end costs the next one no handshake."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.http import spares
from sidecar.upstream.http_client import HttpClient
from tests.support.fake_provider import WAIT_SECONDS

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


class Server:
    """Answers each request with a body that never ends, unless it is told to end them."""

    def __init__(self, *, ends: bool = False) -> None:
        self.ends = ends
        self.open = 0
        self.came = 0
        """How many connections there were."""
        self.asked: list[int] = []
        """The number of the connection on which each request came."""
        self.url = ""
        self.changed = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.came += 1
        number = self.came
        await self._change(1)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked.append(number)
                writer.write(HEAD + (b"2\r\nhi\r\n0\r\n\r\n" if self.ends else b"2\r\nhi\r\n"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        await self._change(-1)

    async def _change(self, difference: int) -> None:
        async with self.changed:
            self.open += difference
            self.changed.notify_all()

    async def wait_for_open(self, count: int) -> None:
        """Wait until so many connections are open."""
        with anyio.fail_after(WAIT_SECONDS):
            async with self.changed:
                await self.changed.wait_for(lambda: self.open == count)

    def make_request(self, *, keeps_spare: bool = True) -> HttpRequest:
        return HttpRequest(method="GET", url=self.url, headers={}, keeps_spare=keeps_spare)


@asynccontextmanager
async def serving(*, ends: bool = False) -> AsyncIterator[tuple[Server, HttpClient]]:
    server, client = Server(ends=ends), HttpClient()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        yield server, client
        await client.aclose()
        listening.close()
        # Every connection that has come ends, however late it was noticed.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            _, late = await asyncio.wait(others, timeout=WAIT_SECONDS)
            assert not late


async def begin_and_leave(client: HttpClient, request: HttpRequest, server: Server, open_then: int) -> None:
    async with client.send(request, {}, HttpTimeouts()) as reply:
        assert reply.status == 200
        await server.wait_for_open(open_then)


async def ask_and_leave(client: HttpClient, request: HttpRequest) -> None:
    async with client.send(request, {}, HttpTimeouts()) as reply:
        assert reply.status == 200


def test_a_request_that_is_left_costs_the_next_no_handshake() -> None:
    async def main() -> None:
        async with serving() as (server, client):
            for _ in range(5):
                await begin_and_leave(client, server.make_request(), server, 2)
                await server.wait_for_open(1)
            # Each came on the connection that was ready before it, and one is ready for the next.
            assert server.asked == [1, 2, 3, 4, 5]
            assert server.came == 6

    asyncio.run(main())


def test_no_spare_is_made_where_a_connection_is_idle() -> None:
    async def main() -> None:
        async with serving(ends=True) as (server, client):
            for _ in range(5):
                async with client.send(server.make_request(), {}, HttpTimeouts()) as reply:
                    assert b"".join([data async for data in reply.body]) == b"hi"
                await server.wait_for_open(2)
            assert server.came == 2

    asyncio.run(main())


def test_other_requests_keep_no_spare() -> None:
    async def main() -> None:
        async with serving() as (server, client):
            await begin_and_leave(client, server.make_request(keeps_spare=False), server, 1)
            await server.wait_for_open(0)
            assert server.came == 1

    asyncio.run(main())


def test_a_request_takes_the_spare_that_is_being_made() -> None:
    """Two at once: the second needs a connection, and the spare that the first has begun is soon there."""

    async def main() -> None:
        async with serving() as (server, client), anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(ask_and_leave, client, server.make_request())
        assert server.came <= 4

    asyncio.run(main())


class Room:
    """A pool with room for connections to one server."""

    def __init__(self) -> None:
        self.kept: list[object] = []

    def reserve_spare(self, origin: object) -> bool:
        return origin == X

    def put_back(self, origin: object, connection: object) -> None:
        assert origin == X
        self.kept.append(connection)


X = ("http", "x", 80)


def test_a_connection_that_is_being_made_serves_the_next_request() -> None:
    """A burst of keystrokes, each of which takes back the one before it, is no burst of connections."""

    async def main() -> None:
        room, ready, made = Room(), asyncio.Event(), []

        class Made:
            closed = False

        async def connect() -> object:
            made.append(Made())
            await ready.wait()
            return made[-1]

        being_made = spares.Spares(room)  # type: ignore[arg-type] # a pool with room
        for _ in range(50):
            being_made.dial(X, connect)  # type: ignore[arg-type] # a connection by its shape
            with anyio.move_on_after(0.001):
                await being_made.wait(X)
        ready.set()
        await being_made.wait(X)
        assert room.kept == made
        assert len(made) == 1

    asyncio.run(main())


def test_a_server_that_is_not_there_fails_once() -> None:
    async def main() -> None:
        client = HttpClient()
        request = HttpRequest(method="GET", url="http://127.0.0.1:9/", headers={}, keeps_spare=True)
        with pytest.raises(SidecarError) as failure:
            async with client.send(request, {}, HttpTimeouts()):
                raise AssertionError("it was answered")
        assert failure.value.body.reason == "refused"
        await client.aclose()

    asyncio.run(main())


def test_a_spare_that_cannot_be_made_fails_who_waits_for_it() -> None:
    async def refuse() -> object:
        raise SidecarError("network_error", "Refused.")

    async def main() -> None:
        made = spares.Spares(Room())  # type: ignore[arg-type] # a pool with room
        made.dial(X, refuse)  # type: ignore[arg-type] # never gives one
        with pytest.raises(SidecarError):
            await made.wait(X)
        await made.wait(("http", "y", 80))
        made.close()

    asyncio.run(main())
