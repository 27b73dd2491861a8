"""Recorded exchanges of the other providers through the whole program, each by its own provider's table."""

from typing import Any

import pytest

from tests.support import corpus
from tests.support.corpus import Exchange
from tests.support.lines import CANARY
from tests.support.program import Program

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


SCRIPT = "recorded"
"""The part of every address at which the exchange at hand is the answer."""


@pytest.fixture
def sidecar(shared: Program) -> Program:
    """Return one program for all exchanges."""
    return shared


def play(sidecar: Program, exchange: Exchange, seed: int) -> dict[str, Any]:
    """Have the exchange played in its pieces, and return what leads a request of its provider there."""
    assert sidecar.provider
    others = exchange.headers.keys() - {"content-type"}
    sidecar.provider.play(SCRIPT, corpus.script(exchange, corpus.pieces(exchange.body, seed), left_out=others))
    return {
        "api_key": CANARY,
        "base_url": f"{sidecar.provider.url}/{SCRIPT}",
        "settings": SETTINGS.get(PROVIDERS[exchange.provider], {}),
    }


def ask(sidecar: Program, exchange: Exchange, seed: int) -> list[dict[str, Any]]:
    """Return the lines of the chat that gets the recorded reply."""
    params = play(sidecar, exchange, seed) | {
        "model": str(exchange.meta.get("model") or "m"),
        "messages": [{"role": "user", "content": "Hi"}],
        "options": {"wire": corpus.WIRES[exchange.api], "tools": corpus.tools(exchange)},
    }
    request = sidecar.send("stream_chat", params, provider=PROVIDERS[exchange.provider])
    return [line.data for line in sidecar.stream(request)]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("exchange", [pytest.param(each, id=each.name) for each in CHATS])
def test_a_recorded_chat(sidecar: Program, exchange: Exchange, seed: int) -> None:
    check(exchange, ask(sidecar, exchange, seed))


def check(exchange: Exchange, lines: list[dict[str, Any]]) -> None:
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
def test_a_recorded_list_of_models(sidecar: Program, exchange: Exchange) -> None:
    params = play(sidecar, exchange, 1) | {"refresh": True}
    data = sidecar.ask("list_models", params, provider=PROVIDERS[exchange.provider])["data"]
    listed = {model["id"] for model in data["models"]}
    assert listed == {name.removeprefix("models/") for name in exchange.expected["models"]}
