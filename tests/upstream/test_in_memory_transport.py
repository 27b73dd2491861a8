"""The client that tests have in the place of the real one reads every reply as the real one does."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from protocol.errors import ErrorBody
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts, PhaseTrace, Transport
from sidecar.upstream.http_client import HttpClient
from tests.support.fake_provider import CLOSE, RESET, STALL, WAIT_SECONDS, Provider, Step
from tests.support.in_memory import InMemoryProvider
from tests.support.in_memory_transport import InMemoryTransport
from tests.support.listening_provider import ListeningProvider
from tests.support.reply_scripts import ANTHROPIC, document, head, stream, whole

TIMEOUTS = HttpTimeouts(connect_seconds=5.0, first_byte_seconds=0.2, idle_seconds=0.2)

SCRIPTS: dict[str, list[Step]] = {
    "a stream": ANTHROPIC.answer("one ", "two"),
    "a document": document({"a": 1}, x_request_id="7"),
    "an error": document({"error": "no"}, 429, retry_after="3"),
    "nothing": whole(b"", 200),
    "no length": [head(content_type="text/plain") + b"all of it", CLOSE],
    "a header twice": [b"HTTP/1.1 200 OK\r\nx-a: 1\r\nX-A: 2\r\ncontent-length: 0\r\n\r\n"],
    "continue": [b"HTTP/1.1 100 Continue\r\nx-b: 1\r\n\r\n", *document({})],
    "a redirect": [head(307, location="https://elsewhere.test/", content_length="0")],
    "compressed": [head(content_encoding="gzip", content_length="2") + b"zz"],
    "a compressed error": [head(500, content_encoding="gzip", content_length="2") + b"zz"],
    "cut in a chunk": [*ANTHROPIC.begun("one"), b"5\r\nab", CLOSE],
    "cut between chunks": [*ANTHROPIC.begun("one"), CLOSE],
    "cut in a document": [head(content_length="10") + b"12345", CLOSE],
    "cut in a head": [b"HTTP/1.1 200 OK\r\ncontent-", CLOSE],
    "cut before the head": [CLOSE],
    "reset before the head": [RESET],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n\r\n"],
    "no chunk": [*stream([])[:1], b"xyz\r\n\r\n"],
    "silent before the head": [STALL],
    "silent in a head": [b"HTTP/1.1 200 OK\r\n", STALL],
    "silent in a body": [*ANTHROPIC.begun("one"), STALL],
}

REQUESTS: dict[str, dict[str, Any]] = {
    "usual": {},
    "no body": {"method": "GET", "body": b""},
    "steps": {"url": "/v1/../x"},
    "a line break in a header": {"headers": {"x": "a\r\nb: c"}},
    "a letter that no header has": {"headers": {"x": "ключ"}},
}


@pytest.fixture
def listening() -> Iterator[Provider]:
    """Yield a provider with a socket."""
    with ListeningProvider() as provider:
        yield provider


@pytest.fixture
async def clients(listening: Provider) -> AsyncIterator[list[tuple[Transport, Provider]]]:
    """Yield both clients, each with a provider that it can ask."""
    in_memory, http = InMemoryProvider(), HttpClient()
    yield [(http, listening), (InMemoryTransport(in_memory), in_memory)]
    await http.aclose()


async def outcome(http: Transport, provider: Provider, **changed: Any) -> tuple[object, ...]:
    """Return all there is to say of the answer to a request."""
    usual = {"method": "POST", "url": "/v1/messages", "headers": {"x-one": "1"}, "body": b'{"model":"m"}'} | changed
    request = HttpRequest(**usual | {"url": provider.url + usual["url"]})
    trace, pieces = PhaseTrace(), list[bytes]()
    try:
        async with http.send(request, {"authorization": "Bearer x"}, TIMEOUTS, trace) as response:
            said = response.status, {name: each for name, each in response.headers.items() if name != "date"}
            async for piece in response.body:
                pieces.append(piece)
            return said, b"".join(pieces), trace.phase
    except SidecarError as error:
        return error.body, b"".join(pieces), trace.phase


@pytest.mark.long
@pytest.mark.parametrize("name", SCRIPTS)
async def test_both_clients_read_the_same_reply(clients: list[tuple[Transport, Provider]], name: str) -> None:
    found = []
    for http, provider in clients:
        provider.play("m", SCRIPTS[name])
        found.append(await outcome(http, provider))
    assert found[0] == found[1]


OWN_HEADERS = {"host", "accept", "connection"}
"""What a client adds by itself, or says of whom it asks."""


@pytest.mark.parametrize("name", REQUESTS)
async def test_both_clients_send_the_same_request(clients: list[tuple[Transport, Provider]], name: str) -> None:
    found, sent = [], []
    for http, provider in clients:
        for each in ("m", "/v1/messages"):
            provider.play(each, document({}))
        answer, body, _ = await outcome(http, provider, **REQUESTS[name])
        found.append((answer, body))
        calls = [*provider.calls("m"), *provider.calls("/v1/messages")]
        sent.append([(call.target, call.body, {*call.headers.items()} - _own(call.headers)) for call in calls])
    assert found[0] == found[1]
    assert sent[0] == sent[1]


def _own(headers: dict[str, str]) -> set[tuple[str, str]]:
    return {(name, headers[name]) for name in OWN_HEADERS & headers.keys()}


@pytest.mark.long
async def test_both_servers_hear_that_a_client_hangs_up(clients: list[tuple[Transport, Provider]]) -> None:
    for http, provider in clients:
        provider.play("m", SCRIPTS["silent in a body"])
        answer, _, _ = await outcome(http, provider)
        assert isinstance(answer, ErrorBody)
        assert (answer.code, answer.phase) == ("timeout", "idle")
        with anyio.fail_after(WAIT_SECONDS):
            while not provider.calls("m")[0].closed_at:
                await anyio.lowlevel.checkpoint()


async def test_both_clients_hear_of_a_reset_after_what_came_before(clients: list[tuple[Transport, Provider]]) -> None:
    async def read(http: Transport, request: HttpRequest, provider: Provider) -> None:
        async with http.send(request, {}, HttpTimeouts()) as response:
            async for _ in response.body:
                provider.reset_all()

    for http, provider in clients:
        provider.play("m", SCRIPTS["silent in a body"])
        request = HttpRequest(method="POST", url=f"{provider.url}/v1/messages", headers={}, body=b'{"model":"m"}')
        with pytest.raises(SidecarError, match="broke"):
            await read(http, request, provider)
        assert provider.calls("m")[0].sent_bytes > 0
