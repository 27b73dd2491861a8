"""A server that refuses a large request early and resets the connection: its answer is told, over TLS too."""

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import anyio
import pytest

from sidecar.core.http import ClientName, HttpRequest, HttpTimeouts, PhaseTrace
from sidecar.upstream.http_client import HttpClient
from tests.http.test_clients_agree_on_tls import reset
from tests.support import process_probes
from tests.support.raw_servers import certificate, listening

pytestmark = [process_probes.linux_only, pytest.mark.long]
"""Elsewhere the system's own store decides whom to trust, which a variable does not change."""

REFUSAL = (
    b"HTTP/1.1 413 Too Large\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
)
TIMES = 5

Answer = Callable[[socket.socket], None]


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    file = certificate(tmp_path, "127.0.0.1", 1)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def refuse(connection: socket.socket, then: Answer) -> None:
    # What waits to be sent with more is lost to a reset.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.recv(65536)
    connection.sendall(REFUSAL)
    then(connection)


def leave(connection: socket.socket) -> None:
    """End it with data unread, which is a reset too."""


async def ask(url: str, body: bytes, name: ClientName = "direct") -> tuple[int, bytes]:
    client = HttpClient(name)
    request = HttpRequest(method="POST", url=url, headers={}, body=body)
    try:
        with anyio.fail_after(10):
            async with client.send(request, {}, HttpTimeouts(), PhaseTrace(phase=None)) as reply:
                return reply.status, b"".join([data async for data in reply.body])
    finally:
        await client.aclose()


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def all_closed(before: int) -> None:
    """Wait until no more than *before* are open: the server, and the loop, close theirs in their own time."""
    with anyio.fail_after(5):
        while count_descriptors() > before:  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(0.01)


@pytest.mark.parametrize("then", [leave, reset])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("client", get_args(ClientName))
async def test_an_early_refusal_is_told_though_the_connection_is_reset(
    context: ssl.SSLContext, client: ClientName, scheme: str, then: Answer
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme == "http":
            refuse(connection, then)
            return
        with context.wrap_socket(connection, server_side=True) as secured:
            refuse(secured, then)

    before = 0
    for _ in range(TIMES):
        with listening(answer) as listener:
            assert await ask(f"{scheme}://127.0.0.1:{listener.port}/x", b"x" * 8_000_000, client) == (413, b"{}")
        before = before or count_descriptors()
    await all_closed(before)


@pytest.mark.parametrize("then", [leave, reset])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_early_refusal_comes_through_a_proxy(
    context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str, then: Answer
) -> None:
    file = certificate(tmp_path, "provider.invalid", 1)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context.load_cert_chain(file)

    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme == "http":
            refuse(connection, then)
            return
        assert connection.recv(65536).startswith(b"CONNECT provider.invalid:443 ")
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as secured:
            refuse(secured, then)

    before = 0
    for _ in range(TIMES):
        with listening(answer) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
            assert await ask(f"{scheme}://provider.invalid/x", b"x" * 8_000_000) == (413, b"{}")
        before = before or count_descriptors()
    await all_closed(before)


@pytest.mark.parametrize("client", get_args(ClientName))
async def test_a_large_request_that_is_taken_leaves_no_descriptor_behind(
    context: ssl.SSLContext, client: ClientName
) -> None:
    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            left = 1_000_000
            while left > 0:
                left -= len(secured.recv(65536))
            secured.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            secured.recv(1)

    before = 0
    for _ in range(TIMES):
        with listening(answer) as listener:
            assert await ask(f"https://127.0.0.1:{listener.port}/x", b"x" * 1_000_000, client) == (200, b"ok")
        before = before or count_descriptors()
    await all_closed(before)
