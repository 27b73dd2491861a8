"""Recorded exchanges of Bedrock, where they are at hand, decode to what an independent reader found in them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.messages import Message, OpaquePart, ReasoningPart, TextPart, ToolCallPart
from sidecar.errors import SidecarError
from sidecar.reply import play
from sidecar.wires.types import Outcome, Route

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

APIS = frozenset({"bedrock.converse", "bedrock.converse_stream"})


def exchanges() -> list[Any]:
    metas = (
        (path.parent, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(CORPUS.glob("*/*/meta.json"))
    )
    return [
        pytest.param(folder, id=f"{folder.parent.name}/{folder.name}") for folder, meta in metas if meta["api"] in APIS
    ]


EXCHANGES = exchanges() or [pytest.param(None, marks=pytest.mark.skip(reason="no recordings at hand"))]


def read(folder: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return loaded


def replay(folder: Path, size: int) -> tuple[list[dict[str, Any]], Outcome | SidecarError]:
    meta = read(folder, "meta.json")
    head, body = meta["response"], (folder / "response.body").read_bytes()
    route = Route(provider="bedrock", wire="bedrock_converse", model=meta["model"], base_url="https://provider.test")
    out: list[Any] = []
    result: Outcome | SidecarError
    try:
        result = play(route, head["status"], head["headers"], _pieces(body, size), out.extend)
    except SidecarError as error:
        result = error
    return msgspec.to_builtins(out), result


def _pieces(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def said(chunks: list[dict[str, Any]], kind: str) -> str:
    return "".join(chunk["content"] for chunk in chunks if chunk["type"] == kind)


def parts(message: Message, kind: type) -> list[Any]:
    assert isinstance(message.content, list)
    return [part for part in message.content if isinstance(part, kind)]


def total_input(usage: dict[str, Any]) -> int:
    """Return all tokens of the prompt: what the provider calls the total, less the answer."""
    total: int = usage["totalTokens"] - usage["outputTokens"]
    return total


@pytest.mark.parametrize("size", [1, 7, 701, 1 << 20])
@pytest.mark.parametrize("folder", EXCHANGES)
def test_a_recorded_reply_decodes_to_what_is_expected_of_it(folder: Path, size: int) -> None:
    expect = read(folder, "expect.json")
    chunks, result = replay(folder, size)
    assert said(chunks, "content") == expect["text"]
    assert said(chunks, "reasoning") == expect["reasoning"]
    calls = [chunk["tool_call"] for chunk in chunks if chunk["type"] == "tool_call"]
    assert [{key: call[key] for key in ("id", "name", "arguments")} for call in calls] == [
        {key: call[key] for key in ("id", "name", "arguments")} for call in expect["tool_calls"]
    ]
    if expect["error"]:
        assert isinstance(result, SidecarError)
        assert result.body.message == expect["error"]["message"]
        assert result.body.provider_status == expect["error"]["status"]
        return
    assert isinstance(result, Outcome)
    _assert_outcome(result, expect)


def _assert_outcome(outcome: Outcome, expect: dict[str, Any]) -> None:
    message, raw = outcome.message, expect["usage_raw"]
    assert outcome.provider_finish_reason == expect["finish_reason_raw"]
    assert outcome.usage is not None
    assert outcome.usage.output_tokens == raw["outputTokens"]
    assert outcome.usage.input_tokens == total_input(raw)
    assert outcome.usage.cache_read_tokens == raw.get("cacheReadInputTokens")
    assert outcome.usage.cache_write_tokens == raw.get("cacheWriteInputTokens")
    assert "".join(part.text for part in parts(message, TextPart)) == expect["text"]
    assert "".join(part.content for part in parts(message, ReasoningPart)) == expect["reasoning"]
    assert [part.id for part in parts(message, ToolCallPart)] == [call["id"] for call in expect["tool_calls"]]
    own = [part.state.data for part in parts(message, OpaquePart) if part.kind == "toolUse"]
    assert [block["toolUse"]["input"] for block in own] == [
        call["arguments"] for call in expect.get("server_tool_calls", [])
    ]
    cited = [each for part in parts(message, TextPart) for each in part.citations or ()]
    assert [each.title for each in cited] == [each["title"] for each in expect.get("citations_raw", [])]


CODES = {
    "bedrock/035-bedrock-converse-error": ("auth_required", "ExpiredTokenException"),
    "bedrock/037-multimodal-tool-return-matrix-direct-upl-nt-bedrock-nova": ("invalid_request", None),
    "bedrock/038-converse-stream-with-invalid-model": ("model_not_found", "ValidationException"),
}


@pytest.mark.parametrize("name", CODES)
def test_a_recorded_failure_has_the_code_that_says_what_to_do(name: str) -> None:
    if not (CORPUS / name).is_dir():
        pytest.skip("no recordings at hand")
    _, result = replay(CORPUS / name, 701)
    assert isinstance(result, SidecarError)
    assert (result.body.code, result.body.provider_code) == CODES[name]
