"""Recorded exchanges of real providers through the whole program come out as an independent reader found them."""

from typing import Any

import pytest

from tests.support import corpus
from tests.support.corpus import Exchange
from tests.support.lines import CANARY
from tests.support.program import Program
from tests.support.reply_scripts import Shape

EXCHANGES = corpus.exchanges("anthropic", "openai")

if not EXCHANGES:
    pytest.skip("no recordings at hand", allow_module_level=True)

SMALL_BYTES = 4096
"""Longest body that is also sent byte by byte."""

BASES = {"anthropic": "", "openai": "/v1"}
"""By provider: what follows the origin in its base address."""

LISTS = {"anthropic": "/v1/models?limit=1000", "openai": "/models"}
"""By provider: where its list of models is, from its base address."""

CODES = {
    "authentication_error": "auth_failed",
    "not_found_error": "model_not_found",
    "insufficient_quota": "quota_exceeded",
    "model_not_found": "model_not_found",
    "unsupported_file": "invalid_request",
}
"""The provider's most specific word → the code that a host must see."""

ELSEWHERE = frozenset({"anthropic.count_tokens", "openai.count_tokens"})
"""APIs whose exchanges are played in `tests/upstream/test_token_counts.py`."""


@pytest.fixture
def sidecar(shared: Program) -> Program:
    """Return one program, with a provider of its own, for all exchanges."""
    return shared


def params(*wanted: str) -> list[Any]:
    return [pytest.param(exchange, id=exchange.name) for exchange in EXCHANGES if exchange.api in wanted]


CHATS = params("anthropic.messages", "openai.chat", "openai.responses")


def play(sidecar: Program, exchange: Exchange, way: str, pieces: list[bytes]) -> list[dict[str, Any]]:
    """Return the lines of the chat that gets the recorded reply in *pieces*."""
    assert sidecar.provider
    shape = Shape(exchange.provider, corpus.WIRES[exchange.api], BASES[exchange.provider], b"", b"", b"")
    model = sidecar.provider.play(f"{exchange.name} {way}", corpus.script(exchange, pieces))
    params = sidecar.params(model, shape)
    params["options"] |= {"tools": corpus.tools(exchange)}
    return [line.data for line in sidecar.stream(sidecar.send("stream_chat", params, provider=shape.provider))]


def check(exchange: Exchange, lines: list[dict[str, Any]]) -> None:
    expected = exchange.expected
    chunks = [line["data"] for line in lines if "streaming" in line]
    assert said(chunks, "content") == expected["text"]
    assert said(chunks, "reasoning") == expected["reasoning"]
    calls = [chunk["tool_call"] for chunk in chunks if chunk["type"] == "tool_call"]
    assert calls == [tool_call(call) for call in expected["tool_calls"]]
    assert deltas(chunks) == {call["id"]: call["arguments_text"] for call in calls}
    if expected["error"] is not None:
        check_error(expected["error"], lines[-1])
        return
    done = chunks[-1]
    assert chunks[0]["type"] == "start"
    assert done["type"] == "done"
    assert done["provider_finish_reason"] == expected["finish_reason_raw"]
    assert done["usage"] == corpus.usage(exchange)
    check_message(done["message"], expected, calls)


def said(chunks: list[dict[str, Any]], kind: str) -> str:
    return "".join(chunk["content"] for chunk in chunks if chunk["type"] == kind)


def tool_call(call: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": call["id"],
        "name": call["name"],
        "arguments": call["arguments"],
        "arguments_text": call["arguments_raw"],
    }


def deltas(chunks: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for chunk in chunks:
        if chunk["type"] == "tool_call_delta":
            found[chunk["id"]] = found.get(chunk["id"], "") + chunk["arguments_delta"]
    return found


def check_error(expected: dict[str, Any], line: dict[str, Any]) -> None:
    assert line["success"] is False
    error, word = line["error"], expected["code"] or expected["type"]
    assert error["code"] == CODES[word]
    assert error["provider_code"] == word
    assert error.get("provider_status") == expected["status"]
    assert error["message"] == expected["message"]


def check_message(message: dict[str, Any], expected: dict[str, Any], calls: list[dict[str, Any]]) -> None:
    assert message["role"] == "assistant"
    parts = message["content"]
    assert "".join(part["text"] for part in parts if part["type"] == "text") == expected["text"]
    assert "".join(part["content"] for part in parts if part["type"] == "reasoning") == expected["reasoning"]
    kept = [part for part in parts if part["type"] == "tool_call"]
    assert [{key: part[key] for key in ("id", "name", "arguments", "arguments_text")} for part in kept] == calls


@pytest.mark.parametrize("exchange", CHATS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_recorded_chat_split_at_random(sidecar: Program, exchange: Exchange, seed: int) -> None:
    check(exchange, play(sidecar, exchange, f"split {seed}", corpus.pieces(exchange.body, seed)))


@pytest.mark.parametrize("exchange", [each for each in CHATS if len(each.values[0].body) <= SMALL_BYTES])
def test_a_recorded_chat_byte_by_byte(sidecar: Program, exchange: Exchange) -> None:
    body = exchange.body
    check(exchange, play(sidecar, exchange, "bytewise", [body[at : at + 1] for at in range(len(body))]))


@pytest.mark.parametrize("exchange", params("list_models"))
def test_a_recorded_list_of_models(sidecar: Program, exchange: Exchange) -> None:
    assert sidecar.provider
    base = f"/{exchange.path.name}{BASES[exchange.provider]}"
    sidecar.provider.play(base + LISTS[exchange.provider], corpus.script(exchange, corpus.pieces(exchange.body, 1)))
    where = {"api_key": CANARY, "base_url": sidecar.provider.url + base}
    data = sidecar.ask("list_models", where, provider=exchange.provider)["data"]
    assert [model["id"] for model in data["models"]] == exchange.expected["models"]
    assert data["source"] == "provider"


def test_nothing_recorded_is_left_out() -> None:
    assert {exchange.api for exchange in EXCHANGES} <= {*corpus.WIRES, *ELSEWHERE, "list_models"}
