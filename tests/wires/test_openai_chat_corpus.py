"""Recorded exchanges of real providers, where they are at hand, decode to what an independent reader found in them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.messages import Message, ReasoningPart, TextPart, ToolCallPart
from sidecar.errors import SidecarError
from sidecar.reply import play
from sidecar.wires.types import Outcome, Quirks, Route

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

QUIRKS: dict[str, Quirks] = {
    "gpustack": Quirks(done_marker=False),
    "groq": Quirks(reasoning_echo="reasoning"),
    "huggingface": Quirks(done_marker=False),
    "copilot": Quirks(reasoning_echo="reasoning_text"),
    "mistral": Quirks(reasoning_echo="thinking_parts"),
    "openrouter": Quirks(reasoning_echo="reasoning_details"),
    "perplexity": Quirks(done_marker=False),
    "vercel_gateway": Quirks(reasoning_echo="reasoning_details"),
    "xai": Quirks(reasoning_outside_output=True),
}

BROKEN_LINES = frozenset({"copilot/007-stream-from-github-bing-search-skill"})
"""Recordings with events that their authors spoilt: they must fail, and decode once those are taken out."""

EMPTY_CALLS = frozenset({"snowflake/003-snowflake-model-simple"})
"""Expectations that take an empty `function_call` for a call."""


def exchanges() -> list[Any]:
    found = []
    for path in sorted(CORPUS.glob("*/*/meta.json")):
        if json.loads(path.read_text(encoding="utf-8"))["api"] == "openai.chat":
            found.append(pytest.param(path.parent, id=f"{path.parent.parent.name}/{path.parent.name}"))
    return found


EXCHANGES = exchanges() or [pytest.param(None, marks=pytest.mark.skip(reason="no recordings at hand"))]


def read(folder: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return loaded


def replay(folder: Path, body: bytes) -> tuple[list[dict[str, Any]], Outcome | SidecarError]:
    provider = folder.parent.name
    head = read(folder, "meta.json")["response"]
    route = Route(
        provider=provider,
        wire="openai_chat",
        model="asked-for",
        base_url="https://provider.test",
        quirks=QUIRKS.get(provider, Quirks()),
    )
    out: list[Any] = []
    pieces = [body[at : at + 701] for at in range(0, len(body), 701)]
    result: Outcome | SidecarError
    try:
        result = play(route, head["status"], head.get("headers", {}), pieces, out.extend)
    except SidecarError as error:
        result = error
    return msgspec.to_builtins(out), result


def said(chunks: list[dict[str, Any]], kind: str) -> str:
    return "".join(chunk["content"] for chunk in chunks if chunk["type"] == kind)


def without_broken_lines(body: bytes) -> bytes:
    kept = []
    for line in body.splitlines(keepends=True):
        if line.startswith(b"data: {"):
            try:
                json.loads(line[6:])
            except ValueError:
                continue
        kept.append(line)
    return b"".join(kept)


@pytest.mark.parametrize("folder", EXCHANGES)
def test_a_recording_decodes_to_what_is_in_it(folder: Path) -> None:
    name, expected = f"{folder.parent.name}/{folder.name}", read(folder, "expect.json")
    body = (folder / "response.body").read_bytes()
    if name in BROKEN_LINES:
        _, failure = replay(folder, body)
        assert isinstance(failure, SidecarError)
        assert failure.body.reason == "bad_event"
        body = without_broken_lines(body)
    chunks, result = replay(folder, body)
    assert said(chunks, "content") == expected["text"]
    assert said(chunks, "reasoning") == expected["reasoning"]
    if expected["error"] is not None:
        check_error(expected["error"], result)
        return
    assert isinstance(result, Outcome), result.body
    calls = [] if name in EMPTY_CALLS else expected["tool_calls"]
    check_calls(calls, [chunk["tool_call"] for chunk in chunks if chunk["type"] == "tool_call"])
    assert result.provider_finish_reason == expected["finish_reason_raw"]
    check_usage(expected["usage_raw"], result)
    check_message(result.message, expected)


def check_error(expected: dict[str, Any], result: Outcome | SidecarError) -> None:
    assert isinstance(result, SidecarError)
    words = [str(word) for word in (expected["code"], expected["type"]) if word is not None]
    assert result.body.provider_code == (words[0] if words else None)
    assert result.body.provider_status == expected["status"]
    message = expected["message"]
    # Long messages are cut and what looks like a credential is covered.
    assert result.body.message[:60] == message[:60]


def check_calls(expected: list[dict[str, Any]], calls: list[dict[str, Any]]) -> None:
    assert len(calls) == len(expected)
    for call, wanted in zip(calls, expected, strict=True):
        assert call["name"] == wanted["name"]
        assert call["id"] == wanted["id"] or (wanted["id"] is None and call["id"])
        assert call["arguments"] == wanted["arguments"]
        assert call["arguments_text"] == wanted["arguments_raw"]


def check_usage(raw: dict[str, Any] | None, result: Outcome) -> None:
    if raw is None:
        assert result.usage is None
        return
    assert result.usage is not None
    assert result.usage.input_tokens == raw["prompt_tokens"]
    details = raw.get("completion_tokens_details") or raw
    reasoning = details.get("reasoning_tokens")
    assert result.usage.reasoning_tokens == reasoning
    apart = raw["total_tokens"] == raw["prompt_tokens"] + raw["completion_tokens"] + (reasoning or 0)
    assert result.usage.output_tokens == raw["completion_tokens"] + (reasoning or 0 if apart else 0)
    cached = (raw.get("prompt_tokens_details") or {}).get("cached_tokens")
    if cached is not None:
        assert result.usage.cache_read_tokens == cached
    if "cost" in raw:
        assert float(result.provider_cost_usd or "nan") == raw["cost"]


def check_message(message: Message, expected: dict[str, Any]) -> None:
    parts = message.content
    assert not isinstance(parts, str)
    assert "".join(part.text for part in parts if isinstance(part, TextPart)) == expected["text"]
    assert "".join(part.content for part in parts if isinstance(part, ReasoningPart)) == expected["reasoning"]
    assert [part.name for part in parts if isinstance(part, ToolCallPart)] == [
        call["name"] for call in expected["tool_calls"] if call["name"]
    ]
