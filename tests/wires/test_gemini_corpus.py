"""Recorded exchanges of Gemini, at AI Studio and in the cloud, decode to what an independent reader found in them."""

import json
from typing import Any

import pytest

from protocol.messages import ReasoningPart, TextPart, ToolCallPart
from sidecar.codecs.sse import Codec
from sidecar.core.errors import SidecarError
from sidecar.wires.gemini.chunks import FINISH_REASONS, NUMBERED_REASONS
from sidecar.wires.shared.types import Outcome, Route
from tests.support.decoding import play
from tests.support.recordings import Expected, Played, Recording, opaque_kinds, recordings, replay

ROUTE = Route(provider="mylab", wire="gemini", model="m", base_url="https://provider.test")
STREAMS = recordings("gemini.stream")
WHOLE = recordings("gemini.generate")

CODES = {
    "RESOURCE_EXHAUSTED": "rate_limited",
    "PERMISSION_DENIED": "permission_denied",
    "UNAUTHENTICATED": "auth_failed",
    "INVALID_ARGUMENT": "invalid_request",
    "NOT_FOUND": "model_not_found",
    "UNAVAILABLE": "provider_overloaded",
    "INTERNAL": "provider_error",
}
"""The code that a host must see by the status of an error, where its details do not say more."""

BETTER_CODES = {"API_KEY_INVALID": "auth_failed"}
"""Reasons in the details that say more."""


@pytest.mark.parametrize("piece_bytes", [1, 173, 4096, 1 << 22])
@pytest.mark.parametrize("recording", [*STREAMS, *WHOLE])
def test_a_recording_decodes_to_what_is_in_it(recording: Recording, piece_bytes: int) -> None:
    body = recording.body
    if piece_bytes == 1 and len(body) > 1 << 16:
        pytest.skip("long, and cut elsewhere")
    expected, played = recording.expected, replay(recording, "gemini", piece_bytes)
    assert played.said("content") == expected["text"]
    assert played.said("reasoning") == expected["reasoning"]
    check_calls(played, expected)
    reason = word(expected["finish_reason_raw"])
    if expected["error"] is not None:
        check_error(played.result, expected["error"])
    elif blocked := expected.get("block_reason") or nothing_but(reason, expected):
        assert isinstance(played.result, SidecarError)
        assert played.result.body.code == "content_filtered"
        assert played.result.body.provider_code == blocked
    else:
        check_outcome(played, expected, reason)


def word(reason: str | int | None) -> str | None:
    return NUMBERED_REASONS[reason] if isinstance(reason, int) else reason


def nothing_but(reason: str | None, expected: Expected) -> str | None:
    """Return *reason* when the answer was filtered before it began."""
    said = expected["text"] or expected["tool_calls"] or expected.get("other_parts")
    return reason if FINISH_REASONS.get(reason or "") == "content_filter" and not said else None


def check_calls(played: Played, expected: Expected) -> None:
    calls = [chunk["tool_call"] for chunk in played.of_type("tool_call")]
    assert [call["name"] for call in calls] == [wanted["name"] for wanted in expected["tool_calls"]]
    for index, (call, wanted) in enumerate(zip(calls, expected["tool_calls"], strict=True)):
        assert call["id"] == (wanted["id"] or f"call_{index}")
        assert call["arguments"] == wanted["arguments"]
        assert json.loads(call["arguments_text"] or "{}") == wanted["arguments"]
        deltas = [chunk for chunk in played.of_type("tool_call_delta") if chunk["index"] == index]
        assert "".join(delta["arguments_delta"] for delta in deltas) == call["arguments_text"]


def check_error(result: Outcome | SidecarError, expected: Expected) -> None:
    assert isinstance(result, SidecarError)
    error, details = result.body, expected["raw"]["error"].get("details", [])
    reasons = [each["reason"] for each in details if "reason" in each]
    assert error.code == next((BETTER_CODES[r] for r in reasons if r in BETTER_CODES), CODES[expected["type"]])
    assert error.provider_code == [*reasons, expected["type"]][0]
    assert error.provider_status == expected["status"]
    assert error.message[:400] == " ".join(expected["message"].split())[:400]
    delays = [each["retryDelay"] for each in details if "retryDelay" in each]
    assert error.retry_after_ms == (round(1000 * float(delays[0].rstrip("s"))) if delays else None)


def check_outcome(played: Played, expected: Expected, reason: str | None) -> None:
    result = played.result
    assert isinstance(result, Outcome), result.body
    assert result.provider_finish_reason == reason
    finish = FINISH_REASONS[reason or ""]
    assert result.finish_reason == ("tool_calls" if finish == "stop" and expected["tool_calls"] else finish)
    check_usage(result, expected["usage_raw"])
    parts = result.message.content
    assert not isinstance(parts, str)
    assert "".join(part.text for part in parts if isinstance(part, TextPart)) == expected["text"]
    assert "".join(part.content for part in parts if isinstance(part, ReasoningPart)) == expected["reasoning"]
    assert [part.id for part in parts if isinstance(part, ToolCallPart)] == [
        call["id"] or f"call_{index}" for index, call in enumerate(expected["tool_calls"])
    ]
    if "other_parts" in expected:
        assert opaque_kinds(result) == expected["other_parts"]
    cited = [chunk["citation"]["url"] for chunk in played.of_type("citation")]
    for citation in expected.get("citations_raw", []):
        assert citation["uri"] in cited


def check_usage(result: Outcome, raw: Expected | None) -> None:
    usage = result.usage
    if raw is None:
        assert usage is None
        return
    assert usage is not None
    prompt, tools = raw.get("promptTokenCount"), raw.get("toolUsePromptTokenCount", 0)
    assert usage.input_tokens == (None if prompt is None else prompt + tools)
    assert usage.reasoning_tokens == raw.get("thoughtsTokenCount")
    assert usage.cache_read_tokens == raw.get("cachedContentTokenCount")
    # What the last chunk does not count was counted by one before it.
    if "candidatesTokenCount" in raw:
        assert usage.output_tokens == raw["candidatesTokenCount"] + raw.get("thoughtsTokenCount", 0)


@pytest.mark.parametrize("recording", STREAMS)
def test_signatures_are_kept_with_the_parts_that_they_came_on(recording: Recording) -> None:
    result = replay(recording, "gemini", 1 << 22).result
    if not isinstance(result, Outcome):
        pytest.skip("no answer")
    kept = [state["thoughtSignature"] for state in states(result) if "thoughtSignature" in state]
    assert kept == [part["thoughtSignature"] for part in sent_parts(recording.body) if "thoughtSignature" in part]


def states(result: Outcome) -> list[dict[str, Any]]:
    parts = [part for part in result.message.content if not isinstance(part, str)]
    return [part.state.data for part in parts if getattr(part, "state", None) is not None]  # type: ignore[union-attr]


def sent_parts(body: bytes) -> list[dict[str, Any]]:
    codec = Codec()
    chunks: list[dict[str, Any]]
    if body.lstrip().startswith(b"["):
        chunks = json.loads(body)
    else:
        chunks = [json.loads(data) for _, data in [*codec.feed(body), *codec.finish()]]
    return [
        part
        for chunk in chunks
        for candidate in chunk.get("candidates", [])
        for part in candidate.get("content", {}).get("parts", [])
    ]


@pytest.mark.parametrize("recording", STREAMS)
def test_a_stream_cut_before_its_reason_is_never_taken_for_an_answer(recording: Recording) -> None:
    body, headers = last_events(recording.body, 1 << 15), recording.meta["response"].get("headers", {})
    reason = body.find(b'"finishReason"')
    answers = 0
    for length in range(0, len(body), 7 if len(body) > 1 << 13 else 1):
        try:
            play(ROUTE, 200, headers, [body[:length]], lambda _: None)
        except SidecarError:
            continue
        answers += 1
        assert 0 <= reason < length
    assert answers == 0 or isinstance(replay(recording, "gemini", 1 << 22).result, Outcome)


def last_events(body: bytes, limit_bytes: int) -> bytes:
    """Return the end of a stream, from the beginning of an event on."""
    return body if len(body) <= limit_bytes else body[body.index(b"data:", len(body) - limit_bytes) :]


@pytest.mark.skip(reason="this wire does not count tokens")
@pytest.mark.parametrize("recording", recordings("gemini.count_tokens"))
def test_a_recorded_token_count_is_read(recording: Recording) -> None:
    raise AssertionError(recording.name)
