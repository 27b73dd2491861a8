"""The Responses wire beyond its fixtures: what servers leave out, what goes back, and what an error means."""

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given

from protocol.messages import Message, TextPart, ToolCallPart
from protocol.options import Options
from protocol.replies import Chunk
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.core.message_content import list_parts
from sidecar.wires import openai_responses as wire
from sidecar.wires.openai_responses.usage import read_cost_usd
from sidecar.wires.shared.types import ModelFacts, Outcome, Route
from tests.support import fixtures, mangled
from tests.support.fixtures import Case
from tests.support.sdk_types import accepted

ROUTE = Route(
    provider="mylab",
    wire="openai_responses",
    model="m",
    base_url="https://provider.test/v1",
    facts=ModelFacts(reasoning=True),
)
CASES = [pytest.param(case, id=case.name) for case in fixtures.cases("openai_responses")]


def case(name: str) -> Case:
    return Case(fixtures.ROOT / "openai_responses" / name)


def decode(events: list[dict[str, Any]], route: Route = ROUTE) -> tuple[list[Chunk], Outcome]:
    decoder, out = wire.Decoder(route), list[Chunk]()
    for event in events:
        decoder.feed(("", json.dumps(event).encode()), out)
    return out, decoder.end(out)


def body(messages: list[Message], options: Options | None = None, route: Route = ROUTE) -> dict[str, Any]:
    encoded = wire.encode(Chat(model="m", messages=messages, options=options or Options()), route)
    decoded: dict[str, Any] = json.loads(encoded.request.body)
    return decoded


# --- what servers leave out ------------------------------------------------------------------

TEXT, ARGUMENTS = "Hello, world.", '{"city":"Oslo"}'
MESSAGE = {"type": "message", "id": "msg", "content": [{"type": "output_text", "text": TEXT}]}
CALL = {"type": "function_call", "id": "fc", "call_id": "call_1", "name": "weather", "arguments": ARGUMENTS}
SUMMARY = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": TEXT}]}


def named(kind: str, index: int, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": index, **fields}


EVENTS: dict[str, list[dict[str, Any]]] = {
    "added": [
        named("output_item.added", 0, item=SUMMARY | {"summary": []}),
        named("output_item.added", 1, item=MESSAGE | {"content": []}),
        named("output_item.added", 2, item=CALL | {"arguments": ""}),
    ],
    "deltas": [
        named("reasoning_summary_text.delta", 0, item_id="rs", summary_index=0, delta="Hello, "),
        named("output_text.delta", 1, item_id="msg", content_index=0, delta="Hello, "),
        named("function_call_arguments.delta", 2, item_id="fc", delta='{"city":'),
        named("reasoning_summary_text.delta", 0, item_id="rs", summary_index=0, delta="world."),
        named("output_text.delta", 1, item_id="msg", content_index=0, delta="world."),
        named("function_call_arguments.delta", 2, item_id="fc", delta='"Oslo"}'),
    ],
    "wholes": [
        named("reasoning_summary_text.done", 0, item_id="rs", summary_index=0, text=TEXT),
        named("output_text.done", 1, item_id="msg", content_index=0, text=TEXT),
        named("function_call_arguments.done", 2, item_id="fc", arguments=ARGUMENTS),
    ],
    "parts": [
        named("reasoning_summary_part.done", 0, item_id="rs", summary_index=0, part=SUMMARY["summary"][0]),
        named("content_part.done", 1, item_id="msg", content_index=0, part=MESSAGE["content"][0]),
    ],
    "done": [named("output_item.done", at, item=item) for at, item in enumerate((SUMMARY, MESSAGE, CALL))],
}
SUBSETS = [subset for size in range(len(EVENTS) + 1) for subset in itertools.combinations(EVENTS, size)]
UNINDEXED = [subset for subset in SUBSETS if "added" in subset or set(subset) <= {"done"}]
"""Without an index, only the announcement separates the items."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("kinds", "indexed"), [*((kinds, True) for kinds in SUBSETS), *((kinds, False) for kinds in UNINDEXED)]
)
def test_whatever_events_are_left_out_every_text_comes_once(kinds: tuple[str, ...], indexed: bool) -> None:
    """Ours: the terminal event alone holds everything; what came before it must neither get lost nor come twice."""
    events = [event for kind in kinds for event in EVENTS[kind]]
    if not indexed:
        events = [{key: value for key, value in event.items() if key != "output_index"} for event in events]
    response = {"id": "resp", "status": "completed", "output": [SUMMARY, MESSAGE, CALL]}
    out, outcome = decode([*events, {"type": "response.completed", "response": response}])

    chunks: list[dict[str, Any]] = msgspec.to_builtins(out)
    assert "".join(chunk["content"] for chunk in chunks if chunk["type"] == "reasoning") == TEXT
    assert "".join(chunk["content"] for chunk in chunks if chunk["type"] == "content") == TEXT
    deltas = [chunk["arguments_delta"] for chunk in chunks if chunk["type"] == "tool_call_delta"]
    assert "".join(deltas) == ARGUMENTS
    assert [chunk["tool_call"]["arguments"] for chunk in chunks if chunk["type"] == "tool_call"] == [{"city": "Oslo"}]
    message: dict[str, Any] = msgspec.to_builtins(outcome.message)
    assert [part["type"] for part in message["content"]] == ["reasoning", "text", "tool_call"]
    assert message["content"][0]["state"]["data"] == SUMMARY
    assert outcome.finish_reason == "tool_calls"


def test_a_whole_text_that_is_shorter_than_its_deltas_adds_nothing() -> None:
    events = [*EVENTS["added"][:2], *EVENTS["deltas"], named("output_text.done", 1, content_index=0, text="Hello")]
    out, _ = decode([*events, {"type": "response.completed", "response": {"status": "completed"}}])
    assert "".join(chunk["content"] for chunk in msgspec.to_builtins(out) if chunk["type"] == "content") == TEXT


def test_arguments_that_came_as_an_object_are_taken_as_their_text() -> None:
    item = CALL | {"arguments": {"city": "Oslo"}}
    _, outcome = decode([named("output_item.done", 0, item=item), {"type": "response.completed", "response": {}}])
    (call,) = list_parts(outcome.message)
    assert isinstance(call, ToolCallPart)
    assert (call.arguments, call.arguments_text) == ({"city": "Oslo"}, ARGUMENTS)


def test_arguments_that_came_only_with_the_announcement_are_kept() -> None:
    _, outcome = decode([named("output_item.added", 0, item=CALL), {"type": "response.completed", "response": {}}])
    (call,) = list_parts(outcome.message)
    assert isinstance(call, ToolCallPart)
    assert call.arguments_text == ARGUMENTS


def test_the_done_marker_of_another_api_is_not_an_end() -> None:
    decoder, out = wire.Decoder(ROUTE), list[Chunk]()
    decoder.feed(("", b"[DONE]"), out)
    assert not decoder.finished
    with pytest.raises(SidecarError) as caught:
        decoder.end(out)
    assert caught.value.body.code == "stream_interrupted"


@pytest.mark.long
@given(mangled.mangled("openai_responses"))
def test_any_stream_gives_chunks_or_a_sidecar_error(stream: tuple[Route, list[bytes]]) -> None:
    assert isinstance(mangled.outcome("openai_responses", stream), Outcome | SidecarError)


# --- how it ended ----------------------------------------------------------------------------


REFUSAL = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}


@pytest.mark.parametrize(
    ("status", "reason", "output", "expected"),
    [
        ("completed", None, [], "stop"),
        ("completed", None, [MESSAGE], "stop"),
        ("completed", None, [CALL], "tool_calls"),
        ("completed", None, [MESSAGE, CALL], "tool_calls"),
        ("completed", None, [REFUSAL], "refusal"),
        ("completed", None, [REFUSAL, CALL], "tool_calls"),
        ("completed", None, [{"type": "custom_tool_call", "name": "x"}], "tool_calls"),
        ("completed", None, [MESSAGE, {"type": "custom_tool_call", "name": "x"}], "tool_calls"),
        # The provider has run it itself.
        ("completed", None, [{"type": "custom_tool_call", "name": "x"}, MESSAGE], "stop"),
        ("completed", None, [CALL, {"type": "custom_tool_call", "name": "x"}, MESSAGE], "tool_calls"),
        ("incomplete", None, [], "other"),
        ("incomplete", "steered", [], "other"),
        ("incomplete", "max_output_tokens", [MESSAGE], "length"),
        ("incomplete", "max_output_tokens", [CALL], "length"),
        ("incomplete", "content_filter", [], "content_filter"),
    ],
)
def test_the_finish_reason_follows_from_status_and_output(
    status: str, reason: str | None, output: list[dict[str, Any]], expected: str
) -> None:
    response = {"status": status, "incomplete_details": reason and {"reason": reason}, "output": output}
    for said in (response, {key: value for key, value in response.items() if key != "status"}):
        _, outcome = decode([{"type": f"response.{status}", "response": said}])
        assert outcome.finish_reason == expected
        assert outcome.provider_finish_reason == (f"{status}:{reason}" if reason else status)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost_in_usd_ticks": 4852500}, "0.00048525"),
        ({"cost_in_usd_ticks": 0}, "0"),
        ({"cost": 1.13e-05}, "0.0000113"),
        ({"cost": 2}, "2"),
        ({"cost": {"total": 1}}, None),
        ({"cost": True}, None),
        ({"cost": -1}, None),
        ({"cost": 1e300}, None),
        ({"cost_in_usd_ticks": 10**60}, None),
        ({}, None),
    ],
)
def test_the_cost_is_a_decimal_of_what_the_provider_says(usage: dict[str, Any], cost: str | None) -> None:
    assert read_cost_usd(usage) == cost


def test_a_response_that_still_runs_in_the_background_is_not_an_answer() -> None:
    decoder, out = wire.decode_whole(b'{"object":"response","status":"in_progress","output":[]}', ROUTE)
    with pytest.raises(SidecarError) as caught:
        decoder.end(out)
    assert caught.value.body.code == "stream_interrupted"


@pytest.mark.parametrize("document", [b"[]", b'{"object":"list"}', b'{"output":7}', b"{"])
def test_a_document_that_is_not_a_response_is_refused(document: bytes) -> None:
    with pytest.raises(SidecarError) as caught:
        wire.decode_whole(document, ROUTE)
    assert caught.value.body.reason == "unexpected_content_type"


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("server_error", "provider_error"),
        ("rate_limit_exceeded", "rate_limited"),
        ("slow_down", "rate_limited"),
        ("server_is_overloaded", "provider_overloaded"),
        ("credit_balance_exhausted", "quota_exceeded"),
        ("context_length_exceeded", "context_length_exceeded"),
        ("bio_policy", "content_filtered"),
        ("image_content_policy_violation", "content_filtered"),
        ("invalid_image_url", "invalid_request"),
        ("unsupported_parameter", "invalid_request"),
        ("brand_new_code", "provider_error"),
    ],
)
def test_an_error_inside_a_stream_is_classified_by_its_code(code: str, expected: str) -> None:
    for event in (
        {"type": "error", "code": code, "message": "It failed."},
        {"type": "error", "error": {"code": code, "message": "It failed."}},
        {"type": "response.failed", "response": {"error": {"code": code, "message": "It failed."}}},
    ):
        with pytest.raises(SidecarError) as caught:
            decode([event])
        error = caught.value.body
        assert (error.code, error.message, error.provider_code) == (expected, "It failed.", code)
        assert error.provider_status is None


def test_the_usage_of_a_failed_response_is_known() -> None:
    decoder = wire.Decoder(ROUTE)
    event = {"type": "response.failed", "response": {"usage": {"input_tokens": 9}, "error": {"code": "server_error"}}}
    with pytest.raises(SidecarError):
        decoder.feed(("", json.dumps(event).encode()), [])
    assert decoder.usage is not None
    assert decoder.usage.input_tokens == 9


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        ("temperature", "params.options.temperature"),
        ("reasoning.effort", "params.options.reasoning"),
        ("input[2].content[0].image_url", "params.messages"),
        ("tools[0].parameters", "params.options.tools"),
        ("brand_new", None),
        (7, None),
    ],
)
def test_the_field_at_fault_is_named_as_the_host_names_it(param: object, expected: str | None) -> None:
    document = {"error": {"message": "No.", "type": "invalid_request_error", "param": param}}
    assert wire.classify(400, {}, json.dumps(document).encode()).body.param == expected


@pytest.mark.parametrize("document", [b"", b"<html>502</html>", b"null", b"[1]", b'{"error":[1]}', b'{"detail":[{}]}'])
def test_any_body_of_an_error_is_classified(document: bytes) -> None:
    assert wire.classify(502, {}, document).body.code == "provider_error"


def test_the_reason_of_a_filter_goes_before_the_code_around_it() -> None:
    document = {"error": {"code": "400", "message": "No.", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}
    assert wire.classify(400, {}, json.dumps(document).encode()).body.code == "content_filtered"


# --- requests --------------------------------------------------------------------------------


def test_the_message_of_an_answer_goes_back_as_the_items_that_it_came_in() -> None:
    answer = case("reasoning")
    done = fixtures.chunks(answer, [answer.body])[-1]
    own = fixtures.route(answer)
    message = msgspec.convert(done["message"], Message)
    items = body([Message(role="user", content="?"), message], route=own)["input"][1:]
    sent = [event["item"] for event in mangled.events(answer) if event["type"] == "response.output_item.done"]
    assert items[0] == sent[0]
    assert items[1] == {key: value for key, value in sent[1].items() if key != "id"} | {
        "content": [{"type": "output_text", "text": "I will look.", "annotations": []}]
    }
    assert items[2] == {key: value for key, value in sent[2].items() if key not in {"id", "status"}}

    foreign = msgspec.structs.replace(own, provider="another")
    assert [item["type"] for item in body([message], route=foreign)["input"]] == ["message", "function_call"]


def test_an_assistant_message_takes_no_image() -> None:
    picture = {"role": "assistant", "content": [{"type": "image", "url": "https://images.test/a.png"}]}
    with pytest.raises(SidecarError) as caught:
        body([msgspec.convert(picture, Message)])
    assert caught.value.body.param == "params.messages[0].content[0]"


def test_texts_of_one_message_stay_together_and_messages_apart() -> None:
    messages = [
        Message(role="user", content=[TextPart("a"), TextPart(""), TextPart("b")]),
        Message(role="user", content="c"),
    ]
    assert [[part["text"] for part in item["content"]] for item in body(messages)["input"]] == [["a", "b"], ["c"]]


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_encoding_twice_gives_the_same_bytes(case: Case) -> None:
    chat = msgspec.convert(case.call["params"], Chat)
    route = fixtures.route(case)
    assert wire.encode(chat, route) == wire.encode(chat, route)
    assert msgspec.to_builtins(chat) == msgspec.to_builtins(msgspec.convert(case.call["params"], Chat))


@pytest.mark.long
def test_every_request_is_one_that_the_sdk_has_types_for() -> None:
    """The SDK wants an id on an assistant message; the API does not."""
    from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

    for each in fixtures.cases("openai_responses"):
        sent = each.expected_request["body"]
        # The SDK knows no tools of other providers.
        sent["tools"] = [tool for tool in sent.get("tools", []) if tool["type"] != "x_search"]
        for item in sent["input"]:
            if item.get("role") == "assistant":
                item["id"] = "msg_1"
        assert accepted(ResponseCreateParamsStreaming, sent) == sent, each.name
