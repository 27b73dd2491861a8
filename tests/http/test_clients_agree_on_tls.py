"""The two clients over TLS that fails: in its handshake, within a reply, at its end."""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import get_args

import pytest

from sidecar.core.http import ClientName, HttpTimeouts
from tests.http.test_clients_agree import Outcome, asked
from tests.support import process_probes
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.raw_servers import Listener, certificate, listening, silent

QUICK = HttpTimeouts(connect_seconds=0.3, first_byte_seconds=5, idle_seconds=0.3)

OK = b"HTTP/1.1 200 OK\r\n"

pytestmark = [process_probes.linux_only, pytest.mark.long]
"""Elsewhere the system's own store decides whom to trust, which a variable does not change."""

Answer = Callable[[socket.socket], None]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the certificate of this machine, which is trusted, and have no proxy."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    file = certificate(tmp_path, "127.0.0.1", 1)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return file


@contextmanager
def secured(root: Path, *pieces: bytes, then: Answer) -> Iterator[Listener]:
    """Yield a server that reads a request, sends *pieces* over TLS, and *then* does something to its socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(root)

    def answer(connection: socket.socket) -> None:
        inner, outer = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(inner, outer, server_side=True)

        def settle(step: Callable[[], object]) -> None:
            while True:
                try:
                    step()
                except ssl.SSLWantReadError:
                    connection.sendall(outer.read())
                    inner.write(connection.recv(65536))
                else:
                    connection.sendall(outer.read())
                    return

        settle(tls.do_handshake)
        settle(lambda: tls.read(65536))
        for piece in pieces:
            tls.write(piece)
            connection.sendall(outer.read())
        then(connection)

    with listening(answer) as listener:
        yield listener


def end(connection: socket.socket) -> None:
    """End it without a word of TLS."""
    connection.shutdown(socket.SHUT_WR)
    silent(connection)


def reset(connection: socket.socket) -> None:
    """End it with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def babble(connection: socket.socket) -> None:
    """Send what is no TLS."""
    connection.sendall(b"\x17\x03\x03\x00\x10" + b"x" * 16)
    silent(connection)


async def both(serving: Callable[[], AbstractContextManager[Listener]], *, overtaken: bool = False) -> Outcome:
    """Return what becomes of a request, which is the same by either client.

    *overtaken*: what came before a failure may be lost to it.
    """
    outcomes = []
    for name in get_args(ClientName):
        with serving() as listener:
            outcomes.append(await asked(name, f"https://127.0.0.1:{listener.port}/x", QUICK))
    if overtaken:
        assert outcomes[0].error == outcomes[1].error
    else:
        assert outcomes[0] == outcomes[1]
    return outcomes[0]


def plainly(connection: socket.socket) -> None:
    """Answer as a server does that speaks no TLS."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    silent(connection)


def closing(connection: socket.socket) -> None:
    """Read what comes, and close."""
    connection.recv(65536)


def resetting(connection: socket.socket) -> None:
    """Read what comes, and end it with RST."""
    connection.recv(65536)
    reset(connection)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (plainly, ("network_error", "tls", False, None)),
        (closing, ("network_error", "tls", True, None)),
        (resetting, ("network_error", "connection", True, None)),
        (silent, ("timeout", None, True, "connect")),
    ],
    ids=["plain", "close", "reset", "silence"],
)
@pytest.mark.usefixtures("root")
async def test_a_handshake_that_fails(answer: Answer, expected: tuple[str, str | None, bool, str | None]) -> None:
    error = (await both(lambda: listening(answer))).error
    assert (error.code, error.reason, error.retryable, error.phase) == expected
    assert ("speak TLS" in (error.hint or "")) is (answer is plainly)


@pytest.mark.usefixtures("root")
async def test_a_handshake_that_is_given_up_ends_its_connection() -> None:
    ended = threading.Event()

    def answer(connection: socket.socket) -> None:
        # Only the client's end ends it: after `WAIT_SECONDS` it raises.
        silent(connection)
        ended.set()

    for name in get_args(ClientName):
        ended.clear()
        with listening(answer) as listener:
            await asked(name, f"https://127.0.0.1:{listener.port}/x", QUICK)
            assert ended.wait(WAIT_SECONDS)


@pytest.mark.parametrize(
    ("pieces", "then", "body"),
    [
        ([OK + b"content-length: 2\r\n\r\n", b"ok"], silent, b"ok"),
        ([OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"], end, b"ok"),
        ([OK + b"\r\n", b"ok"], end, b"ok"),
        ([OK + b"content-length: 100000\r\n\r\n", *[b"x" * 10_000] * 10], silent, b"x" * 100_000),
    ],
    ids=["counted", "chunked", "until the end", "large"],
)
async def test_a_reply_that_is_whole(root: Path, pieces: list[bytes], then: Answer, body: bytes) -> None:
    outcome = await both(lambda: secured(root, *pieces, then=then))
    assert (outcome.error, outcome.body) == (None, body)


@pytest.mark.parametrize(
    ("pieces", "then", "expected"),
    [
        ([], end, ("network_error", "connection", None)),
        ([], reset, ("network_error", "connection", None)),
        ([OK], end, ("network_error", "connection", None)),
        ([OK + b"content-length: 9\r\n\r\nok"], end, ("network_error", "connection", None)),
        ([OK + b"content-length: 9\r\n\r\nok"], silent, ("timeout", None, "idle")),
        ([OK + b"content-length: 9\r\n\r\nok"], babble, ("network_error", "tls", None)),
        ([OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n"], end, ("network_error", "connection", None)),
    ],
    ids=["no head", "reset", "half a head", "half a body", "silence", "babble", "half of the chunks"],
)
async def test_a_reply_that_breaks_off(
    root: Path, pieces: list[bytes], then: Answer, expected: tuple[str, str | None, str | None]
) -> None:
    # Where a record that is none comes in one read with good ones, the event loop's TLS passes on none of them.
    overtaken = then is babble
    error = (await both(lambda: secured(root, *pieces, then=then), overtaken=overtaken)).error
    assert (error.code, error.reason, error.phase) == expected
