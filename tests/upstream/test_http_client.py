"""HTTP against a real server on this machine: how every failure reads, what is never followed, kept or sent."""

import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from typing import get_args

import anyio
import httpx2  # noqa: F401 - here, so that no limit of time is for its import as well
import pytest

from protocol.errors import ErrorBody
from sidecar import __version__
from sidecar.core import http_bodies
from sidecar.core.errors import SidecarError
from sidecar.core.http import ClientName, HttpRequest, HttpTimeouts, Response
from sidecar.core.http_bodies import MAX_ERROR_BODY_BYTES, drain, read_body, read_error_body
from sidecar.core.request_state import Progress
from sidecar.upstream.http_client import HttpClient
from tests.support import reply_scripts
from tests.support.fake_provider import CLOSE, RESET, STALL, WAIT_SECONDS, Act, Pause, Provider, Repeat, Step
from tests.support.listening_provider import ListeningProvider
from tests.support.loops import anyio_backend

pytestmark = pytest.mark.long

__all__ = ["anyio_backend"]

CANARY = "sk-CANARY-0123456789"
AUTH = {"authorization": f"Bearer {CANARY}"}
PATIENT = HttpTimeouts()
QUICK = HttpTimeouts(connect_seconds=2.0, first_byte_seconds=0.15, idle_seconds=0.15)


@pytest.fixture(scope="module")
def listening() -> Iterator[Provider]:
    """Yield the one server of these tests."""
    with ListeningProvider() as server:
        yield server


@pytest.fixture
def provider(listening: Provider) -> Provider:
    """Return that server as if nothing had come yet."""
    listening.forget()
    return listening


@pytest.fixture(params=get_args(ClientName))
async def http(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpClient]:
    """Yield each of the two clients, in an environment that names no proxy."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    client = HttpClient(request.param)
    yield client
    await client.aclose()


def get(url: str, **headers: str) -> HttpRequest:
    return HttpRequest(method="GET", url=url, headers=headers)


async def whole(http: HttpClient, request: HttpRequest, limits: HttpTimeouts = PATIENT) -> tuple[Response, bytes]:
    async with http.send(request, AUTH, limits) as response:
        return response, b"".join([data async for data in response.body])


async def failure(http: HttpClient, request: HttpRequest, limits: HttpTimeouts = PATIENT) -> SidecarError:
    with pytest.raises(SidecarError) as caught, anyio.fail_after(WAIT_SECONDS):
        await whole(http, request, limits)
    assert "CANARY" not in repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


async def broken(http: HttpClient, request: HttpRequest, limits: HttpTimeouts) -> tuple[bytes, ErrorBody]:
    """Return what came of a body before it failed, and how it failed."""
    got = bytearray()

    async def read() -> None:
        async with http.send(request, AUTH, limits) as response:
            async for data in response.body:
                got.extend(data)

    with pytest.raises(SidecarError) as caught:
        await read()
    return bytes(got), caught.value.body


def here(provider: Provider, path: str, steps: list[Step]) -> HttpRequest:
    return get(provider.url + provider.play(path, steps))


# --- the request and the reply ---------------------------------------------------------------


async def test_what_is_sent(http: HttpClient, provider: Provider) -> None:
    provider.play("model-of-the-body", reply_scripts.document({}))
    request = HttpRequest(
        method="POST",
        url=provider.url + "/v1/chat?x=1",
        headers={"content-type": "application/json", "x-own": "yes"},
        body=b'{"model":"model-of-the-body"}',
    )
    await whole(http, request)
    call = provider.call("model-of-the-body")
    assert call.target == "POST /v1/chat?x=1"
    assert call.body == request.body
    assert call.headers["authorization"] == AUTH["authorization"]
    assert call.headers["content-type"] == "application/json"
    assert call.headers["x-own"] == "yes"
    assert call.headers["accept-encoding"] == "identity"
    assert call.headers["user-agent"] == f"sidecar/{__version__}"
    assert call.headers["content-length"] == str(len(request.body))
    assert "cookie" not in call.headers


async def test_a_get_has_no_body(http: HttpClient, provider: Provider) -> None:
    await whole(http, here(provider, "/get", reply_scripts.document({})))
    call = provider.call("/get")
    assert call.target == "GET /get"
    assert not {"content-length", "transfer-encoding", "content-type"} & call.headers.keys()


async def test_what_comes_back(http: HttpClient, provider: Provider) -> None:
    pieces: list[Step] = [b"data: a\n\n", b"data: \xf0\x9f", b"\x98\x80\n\n"]
    response, body = await whole(http, here(provider, "/pieces", reply_scripts.stream(pieces, X_Request_ID="r1")))
    assert response.status == 200
    assert response.headers["x-request-id"] == "r1"
    assert all(name == name.lower() for name in response.headers)
    assert body == "data: a\n\ndata: 😀\n\n".encode()


async def test_a_cookie_is_not_kept(http: HttpClient, provider: Provider) -> None:
    await whole(http, here(provider, "/cookie", reply_scripts.document({}, set_cookie="session=CANARY; Path=/")))
    await whole(http, here(provider, "/no-cookie", reply_scripts.document({})))
    assert "cookie" not in provider.call("/no-cookie").headers


async def test_phases_are_told_while_they_last(http: HttpClient, provider: Provider) -> None:
    gate = provider.gate()
    request = here(provider, "/phases", reply_scripts.stream([b"a", gate, b"b"]))
    progress = Progress()
    async with http.send(request, AUTH, HttpTimeouts(), progress) as response:
        assert progress.phase == "idle"
        gate.open()
        assert await read_body(response) == b"ab"


# --- failures --------------------------------------------------------------------------------


async def test_nobody_listens(http: HttpClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    body = (await failure(http, get(f"http://127.0.0.1:{port}/"))).body
    assert (body.code, body.reason, body.retryable) == ("network_error", "refused", True)
    assert f"http://127.0.0.1:{port}" in (body.hint or "")


async def test_a_name_that_is_none(http: HttpClient) -> None:
    body = (await failure(http, get("https://nothing.invalid/"))).body
    assert (body.code, body.reason) == ("network_error", "dns")
    assert "HTTPS_PROXY" in (body.hint or "")
    assert "invalid" not in body.message


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("reset before the head", [RESET]),
        ("close before the head", [CLOSE]),
        ("reset within the head", [b"HTTP/1.1 200 OK\r\nconte", RESET]),
    ],
)
async def test_a_reply_that_never_begins(http: HttpClient, provider: Provider, name: str, steps: list[Step]) -> None:
    path = "/" + name.replace(" ", "-")
    body = (await failure(http, here(provider, path, steps))).body
    assert (body.code, body.reason, body.retryable) == ("network_error", "connection", True)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("reset within the body", [*reply_scripts.opened([b"first"]), RESET]),
        ("close within a chunked body", [*reply_scripts.opened([b"first"]), CLOSE]),
        ("close within a body of known length", [reply_scripts.head(content_length="10") + b"first", CLOSE]),
    ],
)
async def test_a_body_that_breaks_off(http: HttpClient, provider: Provider, name: str, steps: list[Step]) -> None:
    got, body = await broken(http, here(provider, "/" + name.replace(" ", "-"), steps), PATIENT)
    assert (body.code, body.reason) == ("network_error", "connection")
    # A reset may overtake what was sent before it.
    assert got in (b"first", b"")


async def test_a_body_may_end_with_its_connection(http: HttpClient, provider: Provider) -> None:
    request = here(
        provider, "/until-close", [reply_scripts.head(content_type=reply_scripts.SSE), b"data: x\n\n", CLOSE]
    )
    assert (await whole(http, request))[1] == b"data: x\n\n"


async def test_an_error_of_the_reader_passes_unchanged(http: HttpClient, provider: Provider) -> None:
    request = here(provider, "/mine", reply_scripts.stream([b"a"]))
    with pytest.raises(SidecarError) as caught:
        async with http.send(request, AUTH, HttpTimeouts()):
            raise SidecarError("content_filtered", "mine")
    assert caught.value.body.code == "content_filtered"


# --- time ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "steps"),
    [("silent", [STALL]), ("half-a-head", [b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n", STALL])],
)
async def test_no_head_in_time(http: HttpClient, provider: Provider, name: str, steps: list[Step]) -> None:
    body = (await failure(http, here(provider, f"/{name}", steps), QUICK)).body
    assert (body.code, body.phase, body.retryable) == ("timeout", "headers", True)
    provider.closed(provider.call(f"/{name}"))


async def test_a_head_that_trickles_is_no_sign_of_life(http: HttpClient, provider: Provider) -> None:
    trickle: list[Step] = [b"HTTP/1.1 200 OK\r\n"]
    for number in range(20):
        trickle += [Pause(0.05), b"x-%d: y\r\n" % number]
    body = (await failure(http, here(provider, "/trickle", [*trickle, STALL]), QUICK)).body
    assert (body.code, body.phase) == ("timeout", "headers")


async def test_a_body_that_falls_silent(http: HttpClient, provider: Provider) -> None:
    got, body = await broken(http, here(provider, "/falls-silent", [*reply_scripts.opened([b"first"]), STALL]), QUICK)
    assert got == b"first"
    assert (body.code, body.phase) == ("timeout", "idle")
    provider.closed(provider.call("/falls-silent"))


async def test_the_idle_limit_is_for_the_body_alone(http: HttpClient, provider: Provider) -> None:
    request = here(provider, "/slow-head", [Pause(0.3), *reply_scripts.stream([b"late"])])
    assert (await whole(http, request, HttpTimeouts(first_byte_seconds=WAIT_SECONDS, idle_seconds=0.1)))[1] == b"late"


async def test_a_body_that_keeps_coming_may_take_longer_than_any_limit(http: HttpClient, provider: Provider) -> None:
    steps = [step for _ in range(6) for step in (b"x", Pause(0.05))]
    assert (await whole(http, here(provider, "/slow-but-alive", reply_scripts.stream(steps)), QUICK))[1] == b"x" * 6


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog drops connections on Linux alone")
async def test_a_server_that_does_not_accept(http: HttpClient) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for each in waiting:
                each.setblocking(False)
                each.connect_ex(address)
            body = (
                await failure(
                    http,
                    get(f"http://127.0.0.1:{address[1]}/"),
                    HttpTimeouts(connect_seconds=0.15, first_byte_seconds=5),
                )
            ).body
        finally:
            for each in waiting:
                each.close()
    assert (body.code, body.phase, body.retryable) == ("timeout", "connect", True)


async def test_cancelling_closes_the_connection_at_once(http: HttpClient, provider: Provider) -> None:
    request = here(provider, "/cancelled", [*reply_scripts.opened([b"first"]), STALL])
    scope = anyio.CancelScope()
    with scope:
        async with http.send(request, AUTH, HttpTimeouts()) as response:
            async for _ in response.body:
                scope.cancel()
    assert scope.cancelled_caught
    call = provider.call("/cancelled")
    assert provider.closed(call) - call.sent_at[-1] < 1


async def test_leaving_early_closes_the_connection(http: HttpClient, provider: Provider) -> None:
    request = here(provider, "/left", [*reply_scripts.opened([b"first"]), STALL])
    async with http.send(request, AUTH, HttpTimeouts()) as response:
        assert await anext(response.body) == b"first"
    provider.closed(provider.call("/left"))


# --- bounds ----------------------------------------------------------------------------------


async def test_of_a_huge_error_body_only_the_beginning_is_read(http: HttpClient, provider: Provider) -> None:
    request = here(provider, "/huge-error", [reply_scripts.head(500), Repeat(b"x" * 65536, 1600), CLOSE])
    async with http.send(request, AUTH, HttpTimeouts()) as response:
        assert await read_error_body(response) == b"x" * MAX_ERROR_BODY_BYTES
    provider.closed(provider.call("/huge-error"))
    assert provider.call("/huge-error").sent_bytes < 64 * 1024 * 1024


async def test_an_error_body_without_end_is_left(
    http: HttpClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_bodies, "ERROR_BODY_SECONDS", 0.1)
    request = here(provider, "/endless-error", [reply_scripts.head(500, content_length="100"), b"the beginning", STALL])
    async with http.send(request, AUTH, HttpTimeouts()) as response:
        assert await read_error_body(response) == b"the beginning"


@pytest.mark.parametrize("end", [RESET, CLOSE])
async def test_an_error_body_that_breaks_off_is_no_other_error(http: HttpClient, provider: Provider, end: Act) -> None:
    request = here(provider, f"/broken-error-{end.name}", [reply_scripts.head(429, content_length="100"), end])
    async with http.send(request, AUTH, HttpTimeouts()) as response:
        assert response.status == 429
        assert await read_error_body(response) == b""


async def test_a_document_over_its_bound_is_refused(http: HttpClient, provider: Provider) -> None:
    request = here(provider, "/large", [reply_scripts.head(), Repeat(b"x" * 65536, 64), CLOSE])
    with pytest.raises(SidecarError) as caught:
        async with http.send(request, AUTH, HttpTimeouts()) as response:
            await read_body(response, limit_bytes=1_000_000)
    assert (caught.value.body.code, caught.value.body.reason) == ("provider_error", "event_too_large")


# --- connections -----------------------------------------------------------------------------


async def test_requests_in_a_row_share_a_connection(http: HttpClient, provider: Provider) -> None:
    before = provider.connections
    request = here(provider, "/row", reply_scripts.stream([b"data: x\n\n"]))
    for _ in range(50):
        async with http.send(request, AUTH, HttpTimeouts()) as response:
            assert await anext(response.body) == b"data: x\n\n"
            await drain(response)
    assert len(provider.calls("/row")) == 50
    assert provider.connections - before <= 2


async def test_a_stale_connection_is_replaced(http: HttpClient, provider: Provider) -> None:
    request = here(provider, "/stale", [*reply_scripts.document({}), CLOSE])
    for _ in range(3):
        assert (await whole(http, request))[1] == b"{}"
        provider.closes(provider.calls("/stale")[-1].connection)


async def test_a_drain_does_not_wait_for_ever(
    http: HttpClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_bodies, "DRAIN_SECONDS", 0.05)
    request = here(provider, "/undrained", [*reply_scripts.opened([b"x"]), STALL])
    with anyio.fail_after(1):
        async with http.send(request, AUTH, HttpTimeouts()) as response:
            await drain(response)
    provider.closed(provider.call("/undrained"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(http: HttpClient, provider: Provider, status: int) -> None:
    with ListeningProvider() as other:
        for target in (f"{other.url}/target", "/target", f"//127.0.0.1:{other.port}/target", "//nothing.invalid/"):
            path = f"/redirect-{status}-{len(target)}"
            request = here(provider, path, reply_scripts.whole(b"", status, location=target))
            response, _ = await whole(http, request)
            assert response.status == status
        assert other.connections == 0
    assert not provider.calls("/target")


# --- what cannot be sent ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [f"{CANARY}\n", f"{CANARY}\r\nx-evil: 1", f"{CANARY}\x00", f"{CANARY}é", f"{CANARY}\u2028", f" {CANARY}\x7f\x01"],
)
async def test_a_header_that_no_request_can_carry(http: HttpClient, provider: Provider, value: str) -> None:
    with pytest.raises(SidecarError) as caught:
        async with http.send(get(provider.url + "/header"), {"authorization": value}, HttpTimeouts()):
            pass
    body = caught.value.body
    assert (body.code, body.retryable) == ("invalid_request", False)
    assert "CANARY" not in repr(body)
    assert not provider.calls("/header")


@pytest.mark.parametrize("url", ["http://", "ftp://127.0.0.1/", "http://127.0.0.1/\x00", "http://[::1"])
async def test_an_address_that_is_none(http: HttpClient, url: str) -> None:
    body = (await failure(http, get(url))).body
    assert (body.code, body.retryable) == ("invalid_request", False)
