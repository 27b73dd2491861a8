"""The two clients, each asked the same of a server that plays the same bytes: one cannot tell which has answered."""

import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, get_args

import anyio
import pytest

from sidecar.core.errors import SidecarError
from sidecar.core.http import ClientName, HttpRequest, HttpTimeouts, PhaseTrace
from sidecar.upstream.http_client import HttpClient
from tests.http.replies import CUT, DOUBTFUL, GOOD, MALFORMED, MORE, UNTIL_CLOSE
from tests.support.raw_servers import Listener, listening, silent

pytestmark = pytest.mark.long

WAIT_SECONDS = 10
PATIENT = HttpTimeouts()
QUICK = HttpTimeouts(connect_seconds=2, first_byte_seconds=0.5, idle_seconds=0.2)

Script = list[bytes | str]
"""Bytes are sent, `reset` and `stall` are done; at the end the connection is closed."""


class Outcome(NamedTuple):
    """What became of a request."""

    status: int | None
    headers: dict[str, str] | None
    body: bytes
    error: Any
    phase: str | None


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@contextmanager
def playing(script: Script) -> Iterator[Listener]:
    """Yield a server that reads a request, plays *script* and hangs up."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        for step in script:
            if step == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return
            if step == "stall":
                silent(connection)
                return
            with suppress(ConnectionError):
                connection.sendall(step if isinstance(step, bytes) else b"")
        connection.shutdown(socket.SHUT_WR)
        # Nothing that was sent is taken back by a reset.
        silent(connection)

    with listening(answer) as listener:
        yield listener


async def asked(name: ClientName, url: str, timeouts: HttpTimeouts = PATIENT) -> Outcome:
    """Return what becomes of a request by the client of that name."""
    client, trace, body = HttpClient(name), PhaseTrace(phase=None), bytearray()
    status = headers = error = None
    request = HttpRequest(method="POST", url=url, headers={"x-own": "yes"}, body=b"{}")
    try:
        with anyio.fail_after(WAIT_SECONDS):
            async with client.send(request, {"authorization": "Bearer x"}, timeouts, trace) as reply:
                status, headers = reply.status, reply.headers
                async for data in reply.body:
                    body += data
    except SidecarError as failure:
        error = failure.body
    finally:
        await client.aclose()
    # httpx2 writes the name of a coding its own way.
    headers = headers and {key: value.lower() for key, value in headers.items()}
    return Outcome(status, headers, bytes(body), error, trace.phase)


async def both(script: Script, timeouts: HttpTimeouts = PATIENT) -> Outcome:
    """Return what becomes of a request that is answered by *script*, which is the same by either client."""
    outcomes = []
    for name in get_args(ClientName):
        with playing(script) as listener:
            outcomes.append(await asked(name, f"http://127.0.0.1:{listener.port}/x", timeouts))
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


@pytest.mark.parametrize(("reply", "body"), (GOOD | UNTIL_CLOSE).values(), ids=[*GOOD, *UNTIL_CLOSE])
async def test_a_good_reply(reply: bytes, body: bytes) -> None:
    outcome = await both([reply])
    assert (outcome.error, outcome.body, outcome.phase) == (None, body, "idle")


@pytest.mark.parametrize("reply", CUT.values(), ids=CUT)
async def test_a_reply_that_is_cut(reply: bytes) -> None:
    error = (await both([reply])).error
    assert (error.code, error.reason, error.retryable) == ("network_error", "connection", True)


@pytest.mark.parametrize("reply", MALFORMED.values(), ids=MALFORMED)
async def test_a_reply_that_is_none(reply: bytes) -> None:
    error = (await both([reply])).error
    assert (error.code, error.reason) == ("provider_error", "protocol")


@pytest.mark.parametrize("reply", MORE.values(), ids=MORE)
async def test_a_reply_that_more_follows(reply: bytes) -> None:
    assert (await both([reply])).error is None


@pytest.mark.parametrize("reply", DOUBTFUL.values(), ids=DOUBTFUL)
async def test_a_reply_that_is_doubtful_is_none_over_our_own_connections(reply: bytes) -> None:
    with playing([reply, "stall"]) as listener:
        error = (await asked("direct", f"http://127.0.0.1:{listener.port}/x")).error
    assert (error.code, error.reason) == ("provider_error", "protocol")


HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (["reset"], ("network_error", "connection", None)),
        ([b"HTTP/1.1 200 OK\r\nx", "reset"], ("network_error", "connection", None)),
        (["stall"], ("timeout", None, "headers")),
        ([b"HTTP/1.1 200 OK\r\nx", "stall"], ("timeout", None, "headers")),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", "stall"], ("timeout", None, "headers")),
        ([HEAD, "stall"], ("timeout", None, "idle")),
        ([HEAD + b"5\r\nfirst\r\n", "stall"], ("timeout", None, "idle")),
        ([HEAD + b"5\r\nfirst\r\n6\r", "stall"], ("timeout", None, "idle")),
    ],
)
async def test_a_reply_that_does_not_go_on(script: Script, expected: tuple[str, str | None, str | None]) -> None:
    error = (await both(script, QUICK)).error
    assert (error.code, error.reason, error.phase) == expected


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://[::1]:1/x", "https://127.0.0.1:1/x"])
async def test_a_server_that_is_not_there(url: str) -> None:
    outcomes = [await asked(name, url) for name in get_args(ClientName)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].error.code == "network_error"


async def test_what_is_sent_is_the_same_to_the_byte() -> None:
    requests = [
        HttpRequest(method="POST", url="/v1/x?a=b%20c&d=@:;,~", headers={"Content-Type": "a/b"}, body=b'{"a":1}'),
        HttpRequest(method="GET", url="", headers={"accept": "text/event-stream", "User-Agent": "own"}),
        HttpRequest(method="POST", url="/empty", headers={}),
        HttpRequest(method="PUT", url="/m%3A0/[x]|y", headers={"Host": "other.example", "x": "a \t b"}),
        HttpRequest(method="DELETE", url="/x?", headers={}),
    ]
    heard: dict[str, list[bytes]] = {}
    for name in get_args(ClientName):
        heard[name] = []

        def answer(connection: socket.socket, to: list[bytes] = heard[name]) -> None:
            while data := connection.recv(65536):
                data += connection.recv(65536) if data.endswith(b"Length: 7\r\n\r\n") else b""
                to.append(data)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

        client = HttpClient(name)
        with listening(answer) as listener:
            for each in requests:
                url = f"http://127.0.0.1:{listener.port}{each.url}"
                request = HttpRequest(method=each.method, url=url, headers=each.headers, body=each.body)
                async with client.send(request, {"authorization": "Bearer x"}, PATIENT) as reply:
                    assert reply.status == 200
            await client.aclose()
        heard[name] = [data.replace(b"%d" % listener.port, b"PORT") for data in heard[name]]
    assert heard["direct"] == heard["httpx2"]
    assert len(heard["direct"]) == len(requests)


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    """Yield a client of our own connections."""
    made = HttpClient()
    yield made
    await made.aclose()


@pytest.mark.parametrize("data", MORE.values(), ids=MORE)
async def test_what_follows_a_reply_answers_nothing(client: HttpClient, data: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)
        connection.recv(65536)

    with listening(answer) as listener:
        for _ in range(2):
            request = HttpRequest(method="GET", url=f"http://127.0.0.1:{listener.port}/", headers={})
            async with client.send(request, {}, PATIENT) as reply:
                assert b"".join([piece async for piece in reply.body]) in (b"ok", b"")
        assert len(listener.came) == 2


async def test_what_comes_between_two_requests_answers_nothing(client: HttpClient) -> None:
    read, sent = threading.Event(), threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        # The client has its reply, and has asked for nothing since.
        read.wait(WAIT_SECONDS)
        with suppress(ConnectionError):
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno")
        sent.set()

    with listening(answer) as listener:
        for _ in range(2):
            request = HttpRequest(method="GET", url=f"http://127.0.0.1:{listener.port}/", headers={})
            async with client.send(request, {}, PATIENT) as reply:
                assert b"".join([piece async for piece in reply.body]) == b"ok"
            read.set()
            # The loop has no turn between what comes and the next request.
            assert sent.wait(WAIT_SECONDS)
        assert len(listener.came) == 2
