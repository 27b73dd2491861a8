"""What a provider may send without end: counts of any size, JSON of any depth. Every answer has one terminal line."""

import json
from typing import Any

import pytest

from sidecar.core.json_values import MAX_COUNT, MAX_LEVELS
from tests.support.fake_provider import Provider, Step
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI, stream

LEVELS = (199, 200, 201, 970, 1000, 5000)
HUGE = int("9" * 4300)
ENDINGS = {"done": ANTHROPIC.closing, "error": b'data: {"type":"error","error":{"type":"api_error"}}\n\n'}


@pytest.fixture
def sidecar(shared: Program) -> Program:
    """Return one process for all tests."""
    return shared


@pytest.fixture
def provider(shared: Program) -> Provider:
    """Return its provider as if nothing had come yet."""
    assert shared.provider
    shared.provider.forget()
    return shared.provider


def event(**fields: Any) -> bytes:
    return b"data: %s\n\n" % json.dumps(fields).encode()


def nested(levels: int) -> str:
    """Return JSON of so many levels, an object outermost."""
    return '{"a":' * levels + "1" + "}" * levels


def only_end(sidecar: Program, name: str, **more: Any) -> Object:
    """Return the terminal line of a chat; nothing of it is left open."""
    shape = more.pop("shape", ANTHROPIC)
    lines = sidecar.stream(sidecar.send("stream_chat", sidecar.params(name, shape, **more), provider=shape.provider))
    assert sidecar.ask("ping")["data"]["in_flight"] == 0
    return lines[-1].data


def start(**usage: int) -> bytes:
    return event(type="message_start", message={"type": "message", "model": "m", "content": [], "usage": usage})


@pytest.mark.parametrize("count", [HUGE, MAX_COUNT + 1, -5, -(10**30)], ids=["huge", "over", "-5", "negative"])
@pytest.mark.parametrize(
    "closing", [ANTHROPIC.closing, event(type="error", error={"type": "api_error"})], ids=["done", "error"]
)
def test_a_count_that_no_provider_can_mean_is_unknown(
    sidecar: Program, provider: Provider, count: int, closing: bytes
) -> None:
    counts = {"input_tokens": count, "cache_read_input_tokens": count, "output_tokens": 3}
    steps: list[Step] = [start(**counts), ANTHROPIC.text("Hi"), closing]
    provider.play("counts", stream(steps))
    line = only_end(sidecar, "counts")
    usage = (line["error"] if "error" in line else line["data"])["usage"]
    # An answer that breaks off has an estimate in its place.
    assert usage["input_tokens"] == (9 if usage.get("estimated") else None)
    assert usage["cache_read_tokens"] is None


def test_the_largest_counts_can_be_added(sidecar: Program, provider: Provider) -> None:
    counts = dict.fromkeys(("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"), MAX_COUNT)
    provider.play("sums", stream([start(**counts), ANTHROPIC.text("Hi"), ANTHROPIC.closing]))
    assert only_end(sidecar, "sums")["data"]["usage"]["input_tokens"] == 3 * MAX_COUNT < 2**53


def call_events(arguments: str) -> list[Step]:
    piece = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return [event(choices=[{"index": 0, "delta": {"tool_calls": [piece]}}]), OPENAI.closing]


@pytest.mark.parametrize("levels", LEVELS)
def test_arguments_that_are_nested_too_deeply_stay_text(sidecar: Program, provider: Provider, levels: int) -> None:
    provider.play("deep", stream(call_events(nested(levels))))
    options = {"wire": OPENAI.wire, "tools": [{"name": "f"}]}
    (part,) = only_end(sidecar, "deep", shape=OPENAI, options=options)["data"]["message"]["content"]
    assert part["arguments_text"] == nested(levels)
    assert (part["arguments"] is None) == (levels > MAX_LEVELS)


@pytest.mark.parametrize("levels", LEVELS)
def test_an_opaque_block_is_kept_or_refused(sidecar: Program, provider: Provider, levels: int) -> None:
    block = b'{"type":"server_tool_use","id":"s1","name":"n","input":%s}' % nested(levels).encode()
    begun = b'data: {"type":"content_block_start","index":1,"content_block":%s}\n\n' % block
    provider.play("opaque", stream([ANTHROPIC.opening, ANTHROPIC.text("Hi"), begun, ANTHROPIC.closing]))
    line = only_end(sidecar, "opaque")
    if levels <= MAX_LEVELS + 1:
        assert line["data"]["message"]["content"][1]["kind"] == "server_tool_use"
    else:
        assert (line["error"]["code"], line["error"]["reason"]) == ("provider_error", "bad_event")
        assert line["error"]["partial_message"]["content"] == [{"type": "text", "text": "Hi"}]


@pytest.mark.parametrize("levels", LEVELS)
def test_a_structured_answer_is_read_or_said_to_be_none(sidecar: Program, provider: Provider, levels: int) -> None:
    provider.play("json", OPENAI.answer(nested(levels)))
    line = only_end(sidecar, "json", shape=OPENAI, options={"response_format": {"type": "json"}})
    structured = line["data"]["structured"]
    assert structured["valid"] is (levels <= MAX_LEVELS)
    assert (structured["error"] is None) == (levels <= MAX_LEVELS)


def test_what_a_provider_says_beside_its_answer_is_clean_and_short(sidecar: Program, provider: Provider) -> None:
    key = sidecar.params("beside")["api_key"]
    said = event(
        id=f"id\n{key}",
        model="gpt\n\u202e\u200bx " + "y" * 500,
        choices=[{"index": 0, "delta": {"content": "Hi"}, "finish_reason": f"stop\u001b {key}"}],
    )
    provider.play("beside", stream([said, b"data: [DONE]\n\n"]))
    done = only_end(sidecar, "beside", shape=OPENAI)["data"]
    assert done["model"].startswith("gpt x yyy")
    assert len(done["model"]) == 256
    assert key not in json.dumps(done)
    assert "\n" not in done["request_id"]
    assert done["provider_finish_reason"].isprintable()
