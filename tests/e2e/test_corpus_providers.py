"""Recorded exchanges of the other providers through the whole process, each by its own provider's table."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from tests.support import corpus
from tests.support.corpus import Exchange
from tests.support.process import CANARY, Sidecar

PROVIDERS = {folder: name for folder, name in corpus.PROVIDERS.items() if folder not in ("anthropic", "openai")}
"""Folder of the recordings → provider. The two that are left out have a test of their own."""

SETTINGS = {
    "bedrock": {"region": "us-east-1"},
    "vertex": {"project": "p", "location": "us-central1"},
    "cloudflare": {"account_id": "a"},
    "azure": {"resource": "r"},
}

BROKEN = {"copilot/007-stream-from-github-bing-search-skill"}
"""Two events are no JSON, which the reader of the recording skips: a stream that cannot be read has failed."""

NUMBERED = {1: "STOP"}
"""A finish reason that an older reply says by its number → the word for it, which a host gets."""

EXCHANGES = corpus.exchanges(*PROVIDERS)
CHATS = [each for each in EXCHANGES if each.api in corpus.WIRES]

if not CHATS:
    pytest.skip("no recordings at hand", allow_module_level=True)


class Recorded(BaseHTTPRequestHandler):
    """Answers whatever is asked with the exchange at hand, in its pieces."""

    protocol_version = "HTTP/1.1"
    exchange: Exchange
    seed: int
    open: ClassVar[set[BaseHTTPRequestHandler]] = set()
    """Its connections."""

    def setup(self) -> None:
        self.open.add(self)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.open.discard(self)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        exchange = type(self).exchange
        self.send_response(exchange.status)
        kind = exchange.headers.get("content-type")
        if kind:
            self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in corpus.pieces(exchange.body, type(self).seed):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Yield the address of the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorded)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Yield one process for all exchanges."""
    with Sidecar(tmp_path_factory.mktemp("home")) as process:
        process.count_connections = lambda: len(Recorded.open)
        yield process


def params(exchange: Exchange, address: str) -> dict[str, Any]:
    return {
        "model": str(exchange.meta.get("model") or "m"),
        "messages": [{"role": "user", "content": "Hi"}],
        "api_key": CANARY,
        "base_url": address,
        "settings": SETTINGS.get(PROVIDERS[exchange.provider], {}),
        "options": {"wire": corpus.WIRES[exchange.api]},
    }


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("exchange", [pytest.param(each, id=each.name) for each in CHATS])
def test_a_recorded_chat(sidecar: Sidecar, address: str, exchange: Exchange, seed: int) -> None:
    Recorded.exchange, Recorded.seed = exchange, seed
    request = sidecar.send("stream_chat", params(exchange, address), provider=PROVIDERS[exchange.provider])
    lines = [line.data for line in sidecar.stream(request)]
    expected = exchange.expected
    chunks = [line["data"] for line in lines if "streaming" in line]
    if exchange.name in BROKEN:
        assert lines[-1]["error"]["reason"] == "bad_event"
        return
    if expected["error"] or expected.get("block_reason"):
        assert lines[-1]["success"] is False
    if expected.get("block_reason"):
        assert lines[-1]["error"]["code"] == "content_filtered"
    elif expected["error"]:
        assert lines[-1]["error"].get("provider_status") == expected["error"]["status"]
    else:
        assert chunks[-1]["type"] == "done", lines[-1]
        word = expected["finish_reason_raw"]
        assert chunks[-1]["provider_finish_reason"] == NUMBERED.get(word, word)
    assert said(chunks, "content") == expected["text"]
    assert said(chunks, "reasoning") == expected["reasoning"]
    assert called(chunks) == [(call["name"], call["arguments"]) for call in expected["tool_calls"]]


def said(chunks: list[dict[str, Any]], kind: str) -> str:
    return "".join(chunk["content"] for chunk in chunks if chunk["type"] == kind)


def called(chunks: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    calls = (chunk["tool_call"] for chunk in chunks if chunk["type"] == "tool_call")
    return [(call["name"], call["arguments"]) for call in calls]


@pytest.mark.parametrize(
    "exchange",
    [pytest.param(each, id=each.name) for each in EXCHANGES if each.api == "list_models" and each.status == 200],
)
def test_a_recorded_list_of_models(sidecar: Sidecar, address: str, exchange: Exchange) -> None:
    Recorded.exchange, Recorded.seed = exchange, 1
    provider = PROVIDERS[exchange.provider]
    where = {"api_key": CANARY, "base_url": address, "settings": SETTINGS.get(provider, {}), "refresh": True}
    data = sidecar.ask("list_models", where, provider=provider)["data"]
    listed = {model["id"] for model in data["models"]}
    assert listed == {name.removeprefix("models/") for name in exchange.expected["models"]}
