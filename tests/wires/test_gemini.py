"""The Gemini wire beyond its fixtures: corrupted streams, cut streams, function calls in pieces."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from protocol.replies import Chunk, Content
from sidecar.core.errors import SidecarError
from sidecar.wires import gemini as wire
from sidecar.wires.gemini.arguments import MAX_DEPTH, PartialArguments
from sidecar.wires.shared.types import Outcome, Route
from tests.support import fixtures, mangled
from tests.support.decoding import play
from tests.support.fixtures import Case
from tests.support.gemini_chats import ROUTE, body, chunk, own_parts, played

STREAMS = [pytest.param(case, id=case.name) for case in mangled.streams("gemini")]

# --- streams ---------------------------------------------------------------------------------


@given(mangled.mangled("gemini"))
def test_any_stream_gives_chunks_or_a_sidecar_error(stream: tuple[Route, list[bytes]]) -> None:
    assert isinstance(mangled.outcome("gemini", stream), Outcome | SidecarError)


@pytest.mark.long
@settings(max_examples=200)
@given(mangled.JUNK)
def test_any_document_gives_chunks_or_a_sidecar_error(junk: Any) -> None:
    for document in (junk, [junk], {"candidates": junk}, {"error": junk}, [{"error": {"details": junk, "code": junk}}]):
        with suppress(SidecarError):
            decoder, _ = wire.decode_whole(json.dumps(document).encode(), ROUTE)
            assert isinstance(decoder.end([]), Outcome)
        assert wire.classify(500, {}, json.dumps(document).encode()).body.provider_status == 500


@pytest.mark.long
@pytest.mark.parametrize("answer", STREAMS)
def test_a_stream_cut_before_its_reason_is_never_taken_for_an_answer(answer: Case) -> None:
    stream, route = answer.body, fixtures.route(answer)
    reasons = [at for word in (b'"finishReason"', b'"blockReason"') if (at := stream.find(word)) >= 0]
    for length in range(len(stream)):
        try:
            play(route, 200, {}, [stream[:length]], lambda _: None)
        except SidecarError:
            continue
        assert min(reasons) < length


@pytest.mark.parametrize("answer", STREAMS)
def test_text_is_passed_on_with_the_event_that_brings_it(answer: Case) -> None:
    decoder, out, sent = wire.Decoder(fixtures.route(answer)), list[Chunk](), ""
    for event in mangled.events(answer):
        if "error" in event or "promptFeedback" in event:
            break
        decoder.feed(("", json.dumps(event).encode()), out)
        sent += "".join(part["text"] for part in own_parts(event) if part.get("text") and not part.get("thought"))
        assert "".join(each.content for each in out if isinstance(each, Content)) == sent
        assert not decoder.finished


@pytest.mark.parametrize("value", [b"{", b'{"candidates": 7}', b"\xff", b"[" * 5000, b'{"usageMetadata": []}'])
def test_an_event_that_cannot_be_read_is_an_error(value: bytes) -> None:
    with pytest.raises(SidecarError) as caught:
        wire.Decoder(ROUTE).feed(("", value), [])
    assert caught.value.body.reason == "bad_event"


@pytest.mark.parametrize("value", [{"foo": 1}, {}, [], [1], 7, None, {"usageMetadata": {"promptTokenCount": 1}}])
def test_a_document_that_is_not_an_answer_is_an_error(value: Any) -> None:
    with pytest.raises(SidecarError) as caught:
        wire.decode_whole(json.dumps(value).encode(), ROUTE)
    assert caught.value.body.reason == "unexpected_content_type"


def test_a_document_without_a_reason_is_not_a_whole_answer() -> None:
    decoder, out = wire.decode_whole(json.dumps(chunk({"text": "Half"})).encode(), ROUTE)
    assert msgspec.to_builtins(out) == [{"type": "content", "content": "Half"}]
    with pytest.raises(SidecarError) as caught:
        decoder.end(out)
    assert caught.value.body.code == "stream_interrupted"


@pytest.mark.parametrize(
    ("number", "reason", "finish"),
    [
        (1, "STOP", "stop"),
        (2, "MAX_TOKENS", "length"),
        (3, "SAFETY", "content_filter"),
        (5, "OTHER", "other"),
        (77, "77", "other"),
    ],
)
def test_reasons_may_be_numbers(number: int, reason: str, finish: str) -> None:
    _, outcome = played(chunk({"text": "a"}, finish=number))
    assert isinstance(outcome, Outcome)
    assert (outcome.provider_finish_reason, outcome.finish_reason) == (reason, finish)


# --- function calls --------------------------------------------------------------------------


def calls(*events: Any) -> list[dict[str, Any]]:
    out, outcome = played(*events)
    assert isinstance(outcome, Outcome), outcome.body
    chunks = msgspec.to_builtins(out)
    return [each["tool_call"] for each in chunks if each["type"] == "tool_call"]


def call(**fields: Any) -> dict[str, Any]:
    return {"functionCall": fields}


def test_fragments_that_repeat_the_name_and_the_id_are_one_call() -> None:
    piece = {"jsonPath": "$.text", "stringValue": "a"}
    fragment = call(id="f1", name="write", partialArgs=[piece], willContinue=True)
    last = call(id="f1", name="write", partialArgs=[piece])
    (whole,) = calls(chunk(fragment), chunk(fragment), chunk(last, finish="STOP"))
    assert whole == {"id": "f1", "name": "write", "arguments": {"text": "aaa"}, "arguments_text": '{"text":"aaa"}'}


def test_another_name_begins_another_call_even_if_the_one_before_was_to_continue() -> None:
    found = calls(chunk(call(name="a", willContinue=True)), chunk(call(name="b", args={"x": 1}), finish="STOP"))
    assert [(each["name"], each["arguments"]) for each in found] == [("a", None), ("b", {"x": 1})]


def test_text_ends_a_call_without_arguments() -> None:
    out, _ = played(chunk(call(name="a")), chunk({"text": "So."}), chunk(finish="STOP"))
    assert [each["type"] for each in msgspec.to_builtins(out)] == ["tool_call_delta", "tool_call", "content"]


def test_arguments_without_any_call_are_a_call_without_a_name() -> None:
    assert calls(chunk(call(args={"a": 1}), call()), chunk(finish="STOP")) == [
        {"id": "call_0", "name": "", "arguments": {"a": 1}, "arguments_text": '{"a": 1}'}
    ]


@pytest.mark.parametrize("arguments", [None, [], "text", 7])
def test_arguments_that_are_not_an_object_are_flagged(arguments: Any) -> None:
    (whole,) = calls(chunk(call(name="a", args=arguments), finish="STOP"))
    assert whole["arguments"] == ({} if arguments is None else None)


def test_an_id_that_comes_late_goes_back_beside_the_one_that_the_host_has_seen() -> None:
    _, outcome = played(chunk(call(name="a")), chunk(call(args={"x": 1}, id="srv"), finish="STOP"))
    assert isinstance(outcome, Outcome)
    result = {"role": "tool", "content": [{"type": "tool_result", "id": "call_0", "content": "ok"}]}
    model, user = body([msgspec.to_builtins(outcome.message), result])["contents"]
    assert model["parts"][0]["functionCall"] == {"id": "srv", "name": "a", "args": {"x": 1}}
    assert user["parts"] == [{"functionResponse": {"id": "srv", "name": "a", "response": {"output": "ok"}}}]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([("$.a", "x"), ("$.b", "y"), ("$.a", "z")], {"a": "xz", "b": "y"}),
        ([("$['a b']", "x"), ('$["c.d"][0]', "y")], {"a b": "x", "c.d": ["y"]}),
        ([("$.a[5].b", "x"), ("$.a[0].b", "y")], {"a": [{"b": "xy"}]}),
        ([("$.a", "x"), ("$.a.b", "y")], {"a": {"b": "y"}}),
        ([("$.a[0]", "x"), ("$.a.b", "y")], {"a": {"b": "y"}}),
        ([("$.a[0][1]", "x")], {"a": [["x"]]}),
    ],
)
def test_pieces_are_put_in_their_places(pieces: list[tuple[str, str]], expected: Any) -> None:
    put = PartialArguments()
    for path, value in pieces:
        put.add({"jsonPath": path, "stringValue": value, "willContinue": True})
    put.add({"jsonPath": "$.a"})
    assert json.loads(put.encode()) == expected


@pytest.mark.parametrize(
    "piece",
    [
        {"jsonPath": "$", "stringValue": "x"},
        {"jsonPath": "a.b", "stringValue": "x"},
        {"jsonPath": "$[0]", "numberValue": 1},
        {"jsonPath": "$.a[", "boolValue": True},
        {"jsonPath": "$..a", "stringValue": "x"},
        {"jsonPath": None, "stringValue": "x"},
        {"stringValue": "x"},
        {"jsonPath": "$" + ".a" * (MAX_DEPTH + 1), "stringValue": "x"},
        {"jsonPath": "$.a", "stringValue": {"b": 1}},
    ],
)
def test_a_piece_without_a_valid_place_makes_the_event_unreadable(piece: dict[str, Any]) -> None:
    _, error = played(chunk(call(name="a", willContinue=True)), chunk(call(partialArgs=[piece]), finish="STOP"))
    assert isinstance(error, SidecarError)
    assert error.body.reason == "bad_event"
