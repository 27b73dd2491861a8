"""HTTP replies that are wrong: what is no HTTP, what is compressed unasked, what closes as it is used again."""

import socket
from typing import Any

import pytest

from sidecar.core.http_bodies import read_error_body
from sidecar.upstream.http_client import HttpClient
from tests.support import reply_scripts
from tests.support.fake_provider import CLOSE, Provider, Repeat, Step
from tests.support.loops import anyio_backend
from tests.upstream.test_http_client import AUTH, PATIENT, broken, failure, get, here, http, listening, provider, whole

pytestmark = pytest.mark.long

__all__ = ["anyio_backend", "http", "listening", "provider"]


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("no HTTP at all", [b"SSH-2.0-OpenSSH_9.9\r\n\r\n", CLOSE]),
        ("a status line of words", [b"HTTP/1.1 fine thanks\r\n\r\n", CLOSE]),
        ("two lengths", [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", CLOSE]),
        ("a negative length", [b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", CLOSE]),
        ("a head without end", [b"HTTP/1.1 200 OK\r\nx: ", Repeat(b"y" * 65536, 16), CLOSE]),
    ],
)
async def test_a_reply_that_is_no_http(http: HttpClient, provider: Provider, name: str, steps: list[Step]) -> None:
    path = "/" + name.replace(" ", "-")
    body = (await failure(http, here(provider, path, steps))).body
    assert (body.code, body.reason, body.retryable) == ("provider_error", "protocol", True)


async def test_a_chunk_of_no_size(http: HttpClient, provider: Provider) -> None:
    got, body = await broken(
        http, here(provider, "/no-size", [*reply_scripts.opened([b"first"]), b"zz\r\n", CLOSE]), PATIENT
    )
    assert (got, body.code, body.reason) == (b"first", "provider_error", "protocol")


async def test_a_reply_that_is_compressed_unasked_is_not_unfolded(http: HttpClient, provider: Provider) -> None:
    request = here(provider, "/zip", reply_scripts.whole(b"\x1f\x8b", content_encoding="gzip"))
    body = (await failure(http, request)).body
    assert (body.code, body.reason) == ("provider_error", "content_encoding")
    error = here(provider, "/zip", reply_scripts.whole(b"\x1f\x8b", 500, content_encoding="gzip"))
    async with http.send(error, AUTH, PATIENT) as response:
        assert await read_error_body(response) == b""


async def test_an_idle_connection_that_closes_as_it_is_used_is_replaced_once(
    http: HttpClient, provider: Provider
) -> None:
    await whole(http, here(provider, "/first", reply_scripts.document({})))
    provider.play("/stale", [CLOSE])
    body = (await failure(http, get(provider.url + "/stale"))).body
    assert (body.code, body.reason) == ("network_error", "connection")
    used, fresh = provider.calls("/stale")
    assert (used.connection, fresh.connection) == (provider.call("/first").connection, provider.connections - 1)
    await failure(http, get(provider.url + "/stale"))
    assert len(provider.calls("/stale")) == 3


async def test_what_follows_a_reply_answers_no_other_request(http: HttpClient, provider: Provider) -> None:
    stray = reply_scripts.whole(b"of somebody else")
    provider.play("/first", reply_scripts.at_once([*reply_scripts.whole(b"its own"), *stray]))
    for number in range(3):
        assert (await whole(http, get(f"{provider.url}/first")))[1] == b"its own"
        own = f"/own-{number}"
        assert (await whole(http, here(provider, own, reply_scripts.whole(own.encode()))))[1] == own.encode()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_connection_that_cannot_be_made_is_tried_once(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Any] = []
    connect = socket.socket.connect

    class Counting(socket.socket):
        def connect(self, place: Any) -> None:
            tries.append(place)
            connect(self, place)

    monkeypatch.setattr(socket, "socket", Counting)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert (await failure(http, get(f"http://127.0.0.1:{port}/"))).body.reason == "refused"
    assert tries == [("127.0.0.1", port)]
