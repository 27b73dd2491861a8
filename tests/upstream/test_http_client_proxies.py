"""Proxies that no request can be sent through, and the spellings of this machine, which no proxy is asked about."""

import socket
import time

import anyio
import pytest

from sidecar.core import log
from sidecar.core.errors import SidecarError
from sidecar.core.http import ClientName, HttpTimeouts
from sidecar.upstream.http_client import HttpClient
from tests.support import reply_scripts
from tests.support.fake_provider import Provider
from tests.support.listening_provider import ListeningProvider
from tests.support.raw_servers import listening as listen_silently
from tests.support.raw_servers import silent
from tests.upstream.test_http_client import failure, get, http, listening, provider, whole

pytestmark = pytest.mark.long

__all__ = ["http", "listening", "provider"]

UNUSABLE = (
    "socks5://CANARY@127.0.0.1:9161",
    "socks5h://127.0.0.1:9161",
    "socks://127.0.0.1:9161",
    "foo://CANARY.test",
    "http://alice:CANARY#ss@127.0.0.1:9160",
    "http://127.0.0.1:80a",
    "http://127.0.0.1:99999",
    "http://",
)


@pytest.mark.parametrize("value", UNUSABLE)
@pytest.mark.parametrize("name", ["ALL_PROXY", "https_proxy"])
async def test_a_proxy_that_cannot_be_used_is_named_and_not_shown(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    body = (await failure(http, get("https://provider.invalid/x"))).body
    assert (body.code, body.reason, body.retryable) == ("network_error", "proxy", False)
    assert name in body.message
    assert name in (body.hint or "")


async def test_a_proxy_that_cannot_be_used_stops_only_what_would_use_it(
    http: HttpClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A desktop sets ALL_PROXY to its SOCKS proxy beside a good proxy for the web."""
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:9161")
    with ListeningProvider() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        proxy.play("http://provider.invalid/x", reply_scripts.document({}))
        assert (await whole(http, get("http://provider.invalid/x")))[1] == b"{}"
        await http.aclose()
    provider.play("/near", reply_scripts.document({}))
    assert (await whole(http, get(f"http://127.0.0.1:{provider.port}/near")))[1] == b"{}"


async def test_a_host_that_is_excepted_needs_no_proxy(http: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:9161")
    monkeypatch.setenv("NO_PROXY", "provider.invalid")
    assert (await failure(http, get("https://provider.invalid/x"))).body.reason == "dns"


@pytest.mark.parametrize(
    ("excepted", "host", "client"),
    [
        ("near.invalid", "near.invalid", "direct"),
        (".near.invalid", "a.near.invalid", "direct"),
        ("far.invalid, near.invalid", "NEAR.invalid", "direct"),
        ("*", "near.invalid", "direct"),
        ("192.0.2.1", "192.0.2.1", "direct"),
        ("", "near.invalid", "httpx2"),
        ("near.invalid", "notnear.invalid", "httpx2"),
        ("near.invalid:8080", "near.invalid", "httpx2"),
    ],
)
async def test_a_host_that_is_excepted_is_asked_over_our_own_connections(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], excepted: str, host: str, client: str
) -> None:
    monkeypatch.setattr(log, "_threshold", 0)
    made = HttpClient("direct")
    with ListeningProvider() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", excepted)
        await failure(made, get(f"https://{host}/x"), HttpTimeouts(connect_seconds=0.05))
        await made.aclose()
    assert f'"client": "{client}"' in capsys.readouterr().err


@pytest.mark.parametrize(
    "host", ["127.0.0.2", "127.1.2.3", "foo.localhost", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", "LOCALHOST"]
)
async def test_no_spelling_of_this_machine_is_asked_about_at_a_proxy(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Nobody listens there; what counts is who is not asked."""
    with ListeningProvider() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert (await failure(http, get(f"http://{host}:9/x"))).body.code == "network_error"
        assert proxy.connections == 0


async def test_a_proxy_that_is_not_there_is_told_apart_from_the_provider(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"http://127.0.0.1:{port}", "http://proxy.invalid:3128"):
        monkeypatch.setenv("HTTPS_PROXY", address)
        body = (await failure(http, get("https://provider.invalid/x"))).body
        assert (body.code, body.reason, body.message) == ("network_error", "proxy", "The proxy could not be reached.")
        assert "HTTPS_PROXY" in (body.hint or "")


async def test_a_proxy_that_says_nothing_is_given_up_as_a_connection_is(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listen_silently(silent) as listener:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.port}")
        timeouts = HttpTimeouts(connect_seconds=0.3, first_byte_seconds=30, idle_seconds=30)
        with pytest.raises(SidecarError) as caught, anyio.fail_after(5):
            async with http.send(get("https://provider.invalid/x"), {}, timeouts):
                raise AssertionError("it was answered")
        body = caught.value.body
        assert (body.code, body.phase, body.message) == ("timeout", "connect", "The proxy did not answer in time.")
        await http.aclose()


@pytest.mark.parametrize(("client", "reason"), [("direct", "protocol"), ("httpx2", None)])
async def test_a_flood_of_interim_replies_ends_and_leaves_turns_to_others(
    monkeypatch: pytest.MonkeyPatch, client: ClientName, reason: str | None
) -> None:
    """Our own client counts them; the one for proxies gives up when the first byte of a reply is due."""

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        while True:
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)

    longest = 0.0

    async def take_turns() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()
            await anyio.sleep(0.001)
            longest = max(longest, time.thread_time() - began)

    with listen_silently(flood) as server:
        if client == "httpx2":
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
        made = HttpClient(client)
        url = "http://provider.invalid/x" if client == "httpx2" else f"http://127.0.0.1:{server.port}/x"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take_turns)
            body = (await failure(made, get(url), HttpTimeouts(first_byte_seconds=1))).body
            tasks.cancel_scope.cancel()
        await made.aclose()
    assert (body.code, body.reason) == ("provider_error" if reason else "timeout", reason)
    assert longest < 0.25
