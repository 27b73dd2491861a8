"""Recorded exchanges of Chat Completions and its imitations decode to what an independent reader found in them."""

import json
from typing import Any

import msgspec
import pytest

from protocol.messages import Message, ReasoningPart, TextPart, ToolCallPart
from sidecar.core.errors import SidecarError
from sidecar.wires.shared.types import Outcome, Quirks, Route
from tests.support.decoding import play
from tests.support.recordings import Expected, Played, Recording, recordings

QUIRKS: dict[str, Quirks] = {
    "copilot": Quirks(reasoning_echo="reasoning_text"),
    "gpustack": Quirks(done_marker=False),
    "groq": Quirks(reasoning_echo="reasoning"),
    "huggingface": Quirks(done_marker=False),
    "mistral": Quirks(reasoning_echo="thinking_parts"),
    "openrouter": Quirks(reasoning_echo="reasoning_details"),
    "perplexity": Quirks(done_marker=False),
    "vercel_gateway": Quirks(reasoning_echo="reasoning_details"),
    "xai": Quirks(reasoning_outside_output=True),
}

CORRUPTED = frozenset({"copilot/007-stream-from-github-bing-search-skill"})
"""Recordings with events that are not JSON any more: they must fail, and decode without those events."""

EMPTY_CALLS = frozenset({"snowflake/003-snowflake-model-simple"})
"""Recordings whose reader took an empty `function_call` for a call."""


def replay(recording: Recording, body: bytes) -> Played:
    provider, head = recording.folder.parent.name, recording.meta["response"]
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
    return Played(msgspec.to_builtins(out), result)


@pytest.mark.parametrize("recording", recordings("openai.chat"))
def test_a_recording_decodes_to_what_is_in_it(recording: Recording) -> None:
    expected, body = recording.expected, recording.body
    if recording.name in CORRUPTED:
        failure = replay(recording, body).result
        assert isinstance(failure, SidecarError)
        assert failure.body.reason == "bad_event"
        body = drop_corrupted_lines(body)
    if recording.name in EMPTY_CALLS:
        expected["tool_calls"] = []
    played = replay(recording, body)
    assert played.said("content") == expected["text"]
    assert played.said("reasoning") == expected["reasoning"]
    if expected["error"] is not None:
        check_error(played.result, expected["error"])
        return
    assert isinstance(played.result, Outcome), played.result.body
    check_calls([chunk["tool_call"] for chunk in played.of_type("tool_call")], expected["tool_calls"])
    assert played.result.provider_finish_reason == expected["finish_reason_raw"]
    check_usage(played.result, expected["usage_raw"])
    check_message(played.result.message, expected)


def drop_corrupted_lines(body: bytes) -> bytes:
    return b"".join(
        line for line in body.splitlines(keepends=True) if not line.startswith(b"data: {") or is_json(line[6:])
    )


def is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def check_error(result: Outcome | SidecarError, expected: Expected) -> None:
    assert isinstance(result, SidecarError)
    words = [str(word) for word in (expected["code"], expected["type"]) if word is not None]
    # A code that repeats the status says less than a type.
    words.sort(key=lambda word: word == str(expected["status"]))
    assert result.body.provider_code == (words[0] if words else None)
    assert result.body.provider_status == expected["status"]
    assert result.body.message == expected["message"]


def check_calls(calls: list[dict[str, Any]], expected: list[Expected]) -> None:
    assert [call["name"] for call in calls] == [wanted["name"] for wanted in expected]
    for call, wanted in zip(calls, expected, strict=True):
        assert call["id"] == (wanted["id"] or "call_0")
        assert call["arguments"] == wanted["arguments"]
        assert call["arguments_text"] == wanted["arguments_raw"]


def check_usage(result: Outcome, raw: Expected | None) -> None:
    if raw is None:
        assert result.usage is None
        return
    assert result.usage is not None
    assert result.usage.input_tokens == raw["prompt_tokens"]
    reasoning = (raw.get("completion_tokens_details") or raw).get("reasoning_tokens")
    assert result.usage.reasoning_tokens == reasoning
    apart = raw["total_tokens"] == raw["prompt_tokens"] + raw["completion_tokens"] + (reasoning or 0)
    assert result.usage.output_tokens == raw["completion_tokens"] + (reasoning or 0 if apart else 0)
    cached = (raw.get("prompt_tokens_details") or {}).get("cached_tokens")
    assert cached is None or result.usage.cache_read_tokens == cached
    assert ("cost" not in raw) or float(result.provider_cost_usd or "nan") == raw["cost"]


def check_message(message: Message, expected: Expected) -> None:
    parts = message.content
    assert not isinstance(parts, str)
    assert "".join(part.text for part in parts if isinstance(part, TextPart)) == expected["text"]
    assert "".join(part.content for part in parts if isinstance(part, ReasoningPart)) == expected["reasoning"]
    names = [part.name for part in parts if isinstance(part, ToolCallPart)]
    assert names == [wanted["name"] for wanted in expected["tool_calls"]]
