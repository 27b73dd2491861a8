"""Answers without end, and what else a provider can send to make work or memory grow: all of it is bounded."""

import time
import tracemalloc
from typing import Any

import pytest

from protocol.messages import Message, ToolCallPart, ToolResultPart
from protocol.replies import Chunk, Content
from sidecar.core.errors import SidecarError
from sidecar.core.message_content import list_parts
from sidecar.generation.response_stream import ResponseStream
from sidecar.wires import bedrock_converse, cloudflare, openai_chat
from sidecar.wires.shared import answer_size
from sidecar.wires.shared.answer_size import AnswerSize
from sidecar.wires.shared.aws_signatures import read_signing_times
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.tool_calls import pair_calls
from tests.support.openai_chats import DONE, delta, played, route_to

pytestmark = pytest.mark.long


def raised(run: Any) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        run()
    return caught.value


@pytest.mark.parametrize("what", ["chars", "parts", "citations"])
def test_an_answer_that_does_not_end_is_ended(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_size, f"MAX_ANSWER_{what.upper()}", 1000)
    size = AnswerSize()
    add = {"chars": lambda: size.add_chars(1), "parts": size.add_part, "citations": size.add_citation}[what]
    for _ in range(1000):
        add()
    error = raised(add)
    assert (error.body.code, error.body.reason) == ("provider_error", "event_too_large")


def test_everything_before_the_bound_is_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_size, "MAX_ANSWER_CHARS", 250)
    stream, out = ResponseStream(openai_chat, route_to(), {}), list[Chunk]()
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % (b"x" * 100)
    assert raised(lambda: stream.feed(event * 3, out)).body.reason == "event_too_large"
    assert out == [Content("x" * 100)] * 2
    assert stream.build_partial().content


def test_what_is_kept_beside_the_text_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.generation.response_stream.MAX_REPLY_BYTES", 2**20)
    stream = ResponseStream(openai_chat, route_to(), {})
    event = b'data: {"choices":[{"index":0,"delta":{}}]}\n\n' * 1000

    def feed() -> None:
        for _ in range(100):
            stream.feed(event, [])

    assert raised(feed).body.reason == "event_too_large"


def test_an_endless_answer_takes_no_more_memory_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_size, "MAX_ANSWER_CHARS", 2**20)
    stream = ResponseStream(openai_chat, route_to(), {})
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % (b"x" * 32_000)

    def feed() -> None:
        while True:
            stream.feed(event, [])

    tracemalloc.start()
    raised(feed)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 16 * 2**20


def test_an_id_or_a_name_that_is_too_long_to_come_back_is_shortened() -> None:
    draft, out = Draft(), list[Chunk]()
    draft.begin_call(0, "i" * 600, "n" * 300, out)
    draft.begin_call(1, "i" * 601, "", out)
    draft.name_call(1, "n" * 301, out)
    draft.end(out)
    parts = [part for part in list_parts(draft.build_message()) if isinstance(part, ToolCallPart)]
    assert [(len(part.id), len(part.name)) for part in parts] == [(512, 256)] * 2
    assert parts[0].id != parts[1].id
    assert parts[0].name != parts[1].name


def test_a_call_that_is_said_in_both_fields_is_one_call() -> None:
    """As llama-cpp-python says it."""
    pieces = ['{ "z"', " : ", "false", " } ", " "]
    events = [
        delta(
            function_call={"name": "now", "arguments": piece},
            tool_calls=[{"index": 0, "id": "call_1", "function": {"name": "now", "arguments": piece}}],
        )
        for piece in pieces
    ]
    (part,) = list_parts(played(*events, DONE)[1].message)
    assert isinstance(part, ToolCallPart)
    assert (part.id, part.arguments) == ("call_1", {"z": False})


@pytest.mark.parametrize("order", [1, -1])
def test_twenty_thousand_calls_of_one_id_are_told_apart_at_once(order: int) -> None:
    count = 20_000
    calls = [ToolCallPart(id="call_0", name="f", arguments={}) for _ in range(count)]
    results = [ToolResultPart("call_0", str(each)) for each in range(count)][::order]
    together = [Message(role="assistant", content=[*calls]), Message(role="tool", content=[*results])]
    in_turns = list[Message]()
    for call, result in zip(calls, results, strict=True):
        in_turns += Message(role="assistant", content=[call]), Message(role="tool", content=[result])
    for messages in (together, in_turns):
        started = time.thread_time()
        fitted = pair_calls(messages)
        assert time.thread_time() - started < 2
        ids = [part.id for each in fitted for part in list_parts(each) if isinstance(part, ToolCallPart)]
        assert len(set(ids)) == count


def test_a_message_of_many_times_is_searched_at_once() -> None:
    started = time.thread_time()
    assert read_signing_times("Signature expired: " + "20261120T120000Z " * 4000) is None
    assert time.thread_time() - started < 0.5


def test_a_wait_of_thousands_of_digits_is_not_believed() -> None:
    error = bedrock_converse.classify(429, {"x-amz-retry-after": "9" * 5000}, b"{}")
    assert error.body.retry_after_ms is None


@pytest.mark.parametrize("calls", [b"5", b'"x"', b'[{"name":"f","index":[]}]', b'[{"name":"f","index":{}}]'])
def test_calls_of_a_wrong_shape_break_nothing(calls: bytes) -> None:
    decoder, out = cloudflare.Decoder(route_to()), list[Chunk]()
    decoder.feed(("", b'{"response":"Hi","tool_calls":%s}' % calls), out)
    decoder.feed(("", b"[DONE]"), out)
    assert decoder.end(out).message.content


def test_redacted_reasoning_that_is_not_base64_is_kept() -> None:
    decoder, out = bedrock_converse.Decoder(route_to()), list[Chunk]()
    for _ in range(2):
        event = '{"contentBlockIndex":0,"delta":{"reasoningContent":{"redactedContent":"é"}}}'
        decoder.feed(("contentBlockDelta", event.encode()), out)
    (part,) = list_parts(decoder.build_partial())
    assert "éé" in str(part)
