"""What the fixtures of Chat Completions do not show: the rules behind them, over many inputs."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorCode
from protocol.messages import OpaquePart, ReasoningPart, TextPart, ToolCallPart
from protocol.replies import Chunk
from protocol.requests import Chat
from sidecar.errors import SidecarError
from sidecar.wires import openai_chat
from sidecar.wires.openai_chat_parts import cost, usage
from sidecar.wires.types import ModelFacts, Outcome, Quirks, Route
from tests import fixtures

DONE = b"[DONE]"


def route(**columns: Any) -> Route:
    return Route(
        provider="somebody",
        wire="openai_chat",
        model="m-1",
        base_url="https://provider.test/v1",
        quirks=Quirks(**columns.pop("quirks", {})),
        facts=ModelFacts(**columns.pop("facts", {})),
        **columns,
    )


def encoded(messages: list[dict[str, Any]] | None = None, to: Route | None = None, **options: Any) -> dict[str, Any]:
    params = {"model": "m-1", "messages": messages or [{"role": "user", "content": "Hi"}], "options": options}
    built = openai_chat.encode(msgspec.convert(params, Chat), to or route())
    body: dict[str, Any] = json.loads(built.request.body)
    return body | {"warned": [warning.param for warning in built.warnings]}


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


def played(*events: dict[str, Any] | bytes, to: Route | None = None) -> tuple[list[Chunk], Outcome]:
    decoder, out = openai_chat.Decoder(to or route()), list[Chunk]()
    for event in events:
        decoder.feed(("", event if isinstance(event, bytes) else json.dumps(event).encode()), out)
    return out, decoder.end(out)


def failure(*events: dict[str, Any] | bytes, to: Route | None = None) -> SidecarError:
    with pytest.raises(SidecarError) as raised:
        played(*events, to=to)
    return raised.value


def calls_of(outcome: Outcome) -> list[tuple[str, str, str | None]]:
    return [(p.id, p.name, p.arguments_text) for p in outcome.message.content if isinstance(p, ToolCallPart)]


# --- request ---------------------------------------------------------------------------------

STANDARD = [case for case in fixtures.cases("openai_chat") if case.call["provider"] == "openai"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in STANDARD])
def test_the_sdk_of_the_provider_knows_every_field_of_a_request(case: fixtures.Case) -> None:
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
    from pydantic import TypeAdapter

    body = fixtures.request(case)["body"]
    known: Any = TypeAdapter(CompletionCreateParamsStreaming).validate_python(body)
    assert unwound(known) == body


def unwound(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: unwound(each) for name, each in value.items()}
    return value if value is None or isinstance(value, str | int | float) else [unwound(each) for each in value]


@pytest.mark.parametrize(
    ("taken", "asked", "sent"),
    [
        ((), "max", "max"),
        (("low", "high"), "high", "high"),
        (("low", "high"), "max", "high"),
        (("low", "high"), "minimal", "low"),
        (("none", "default"), "high", "default"),
        (("none", "default"), "none", "none"),
        (("low", "high"), "none", None),
        (("none",), "high", None),
    ],
)
def test_an_effort_that_the_model_lacks_becomes_the_nearest_one_with_a_warning(
    taken: tuple[str, ...], asked: str, sent: str | None
) -> None:
    body = encoded(to=route(facts={"efforts": taken}), reasoning={"effort": asked})
    assert body.get("reasoning_effort") == sent
    assert body["warned"] == ([] if sent == asked else ["params.options.reasoning.effort"])


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ({"effort": "low"}, {"effort": "low"}),
        ({"effort": "low", "budget_tokens": 900}, {"max_tokens": 900}),
        ({"effort": "none", "budget_tokens": 900}, {"enabled": False}),
        ({}, {"enabled": True}),
        ({"include": False}, {"enabled": True, "exclude": True}),
    ],
)
def test_reasoning_is_asked_for_as_an_object_where_the_column_says_so(
    wanted: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert encoded(to=route(quirks={"reasoning_option": "reasoning"}), reasoning=wanted)["reasoning"] == sent


@pytest.mark.parametrize(
    ("option", "value", "facts", "gone"),
    [
        ("temperature", 0, {"sampling": False}, "temperature"),
        ("top_p", 0.5, {"refuses": {"top_p"}}, "top_p"),
        ("stop", ["a"], {"refuses": {"stop"}}, "stop"),
        ("max_tokens", 5, {"refuses": {"max_tokens"}}, "max_completion_tokens"),
        ("tools", [{"name": "f"}], {"refuses": {"tools"}}, "tools"),
        ("response_format", {"type": "json"}, {"refuses": {"response_format"}}, "response_format"),
        ("reasoning", {"effort": "low"}, {"reasoning": False}, "reasoning_effort"),
    ],
)
def test_an_option_is_left_out_with_a_warning_only_where_it_is_known_to_be_refused(
    option: str, value: Any, facts: dict[str, Any], gone: str
) -> None:
    assert gone in encoded(**{option: value})
    body = encoded(to=route(facts=facts), **{option: value})
    assert gone not in body
    assert body["warned"] == [f"params.options.{option}"]


def test_what_belongs_to_tools_is_not_sent_without_them() -> None:
    assert not {"tool_choice", "parallel_tool_calls"} & encoded(tool_choice="none", parallel_tool_calls=False).keys()


def test_the_path_of_the_route_replaces_the_usual_one() -> None:
    chat = msgspec.convert({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}, Chat)
    to = route(path="/deployments/d/chat/completions?api-version=2024-10-21", headers={"x-title": "T"})
    built = openai_chat.encode(chat, to).request
    assert built.url == "https://provider.test/v1/deployments/d/chat/completions?api-version=2024-10-21"
    assert built.headers == {"content-type": "application/json", "x-title": "T"}


@given(st.text(max_size=64))
def test_ids_of_nine_letters_and_digits_are_made_the_same_for_call_and_result(call_id: str) -> None:
    messages = [
        {"role": "assistant", "content": [{"type": "tool_call", "id": call_id, "name": "f"}]},
        {"role": "tool", "content": [{"type": "tool_result", "id": call_id, "content": "x"}]},
    ]
    turns = encoded(messages, route(quirks={"tool_ids": "nine"}))["messages"]
    sent = turns[0]["tool_calls"][0]["id"]
    assert turns[1]["tool_call_id"] == sent
    assert len(sent) == 9
    assert sent.isascii()
    assert sent.isalnum()


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "system", "content": [{"type": "image", "url": "https://a.test"}]}, "content[0]"),
        ({"role": "user", "content": [{"type": "reasoning", "content": "x"}]}, "content[0]"),
        ({"role": "user", "content": [{"type": "file", "url": "https://a.test/b.pdf"}]}, "content[0].url"),
        ({"role": "assistant", "content": [{"type": "image", "url": "https://a.test"}]}, "content[0]"),
    ],
)
def test_content_that_has_no_place_is_refused_by_its_path(message: dict[str, Any], param: str) -> None:
    with pytest.raises(SidecarError) as raised:
        encoded([message])
    assert raised.value.body.code == "invalid_request"
    assert raised.value.body.param == f"params.messages[0].{param}"


@pytest.mark.parametrize(
    "echo", ["reasoning", "reasoning_content", "reasoning_text", "reasoning_details", "thinking_parts"]
)
def test_a_message_goes_back_the_way_it_came(echo: str) -> None:
    to = route(quirks={"reasoning_echo": echo})
    details = [{"type": "reasoning.text", "text": "So.", "signature": "s", "index": 0}]
    asked = [{"id": "c", "index": 0, "function": {"name": "f", "arguments": "{}"}, "extra_content": {"k": 1}}]
    answer = delta(reasoning="So.", reasoning_opaque="o", reasoning_details=details, content="Hi", tool_calls=asked)
    _, outcome = played(answer, delta(content=[{"type": "reference", "n": 1}]), DONE, to=to)
    prompt = {"role": "user", "content": "Hi"}
    kept = json.loads(msgspec.json.encode(outcome.message))
    sent = encoded([prompt, kept], to)["messages"][1]
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "So."}]}
    before = [thought] if echo == "thinking_parts" else []
    assert sent["content"] == [*before, {"type": "text", "text": "Hi"}, {"type": "reference", "n": 1}]
    assert sent["tool_calls"][0]["extra_content"] == {"k": 1}
    fields = {name: value for name, value in sent.items() if name.startswith("reasoning")}
    assert (
        fields
        == {
            "reasoning": {"reasoning": "So."},
            "reasoning_content": {"reasoning_content": "So."},
            "reasoning_text": {"reasoning_text": "So.", "reasoning_opaque": "o"},
            "reasoning_details": {"reasoning_details": details},
            "thinking_parts": {},
        }[echo]
    )
    elsewhere = encoded([prompt, kept], msgspec.structs.replace(to, model="m-2"))["messages"][1]
    assert elsewhere["content"] == "Hi"
    assert not [name for name in elsewhere if name.startswith("reasoning")]
    assert "extra_content" not in elsewhere["tool_calls"][0]


# --- stream ----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=5)), max_size=30))
def test_calls_that_are_told_apart_by_index_come_together_however_they_are_mixed(pieces: list[tuple[int, str]]) -> None:
    begun = [{"index": at, "id": f"c{at}", "function": {"name": f"f{at}", "arguments": ""}} for at in range(4)]
    rest = [delta(tool_calls=[{"index": at, "function": {"arguments": text}}]) for at, text in pieces]
    out, outcome = played(delta(tool_calls=begun), *rest, DONE)
    wanted = ["".join(text for index, text in pieces if index == at) for at in range(4)]
    assert calls_of(outcome) == [(f"c{at}", f"f{at}", text) for at, text in enumerate(wanted)]
    whole = [chunk.tool_call for chunk in out if chunk.__class__.__name__ == "ToolCallChunk"]  # type: ignore[union-attr]
    assert [call.arguments_text for call in whole] == wanted


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        # A new id with every piece, and the name with the first.
        ([(0, "a", "f", '{"x"'), (0, "b", None, ":1}")], ["f {'x': 1}"]),
        # The same two functions at once, told apart by nothing but the index.
        ([(0, None, "f", '{"x":'), (1, None, "f", '{"x":'), (0, None, None, "1}"), (1, None, None, "2}")], 2),
        # No index and no ids: a name begins a call when the one before is whole or called otherwise.
        ([(None, None, "f", "{}"), (None, None, "f", "{}"), (None, None, "g", "")], 3),
        # The name with every piece, and nothing else.
        ([(0, None, "f", '{"x"'), (0, None, "f", ":1}")], ["f {'x': 1}"]),
        # The id first, the name later.
        ([(0, "a", None, ""), (0, None, "f", '{"x":1}')], ["f {'x': 1}"]),
        # One index for two calls that are mixed, told apart by their ids.
        ([(0, "a", "f", '{"x"'), (0, "b", "f", '{"y"'), (0, "a", None, ":1}"), (0, "b", None, ":2}")], 2),
        # Numbers for ids, and an index that is a string.
        ([("0", 7, "f", '{"x"'), ("0", 7, None, ":1}")], ["f {'x': 1}"]),
        # Nothing at all.
        ([(0, None, "", ""), (None, None, None, None)], 0),
    ],
)
def test_pieces_find_their_call_by_what_they_have(pieces: list[tuple[Any, Any, Any, Any]], wanted: Any) -> None:
    events = [
        delta(tool_calls=[{"index": index, "id": call_id, "function": {"name": name, "arguments": text}}])
        for index, call_id, name, text in pieces
    ]
    _, outcome = played(*events, DONE)
    parts = [part for part in outcome.message.content if isinstance(part, ToolCallPart)]
    assert len({part.id for part in parts}) == len(parts)
    if isinstance(wanted, int):
        assert len(parts) == wanted
        assert all(part.arguments is not None for part in parts)
    else:
        assert [f"{part.name} {part.arguments}" for part in parts] == wanted
    assert outcome.finish_reason == ("tool_calls" if parts else "stop")


@pytest.mark.parametrize(
    ("finish", "fields", "wanted"),
    [
        ("stop", {"content": "x"}, "stop"),
        ("end_turn", {"content": "x"}, "stop"),
        ("max_tokens", {"content": "x"}, "length"),
        ("stop", {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}, "tool_calls"),
        ("length", {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}, "length"),
        ("stop", {"refusal": "no"}, "refusal"),
        ("content_filter", {"refusal": "no"}, "content_filter"),
        ("error", {"content": "x"}, "error"),
        ("insufficient_system_resource", {"content": "x"}, "other"),
        (None, {"content": "x"}, "stop"),
        ("", {"content": "x"}, "stop"),
    ],
)
def test_finish_reasons(finish: str | None, fields: dict[str, Any], wanted: str) -> None:
    _, outcome = played(delta(**fields), {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}, DONE)
    assert (outcome.finish_reason, outcome.provider_finish_reason) == (wanted, finish)


def test_the_end_is_done_or_where_the_column_says_so_a_finish_reason() -> None:
    lenient = route(quirks={"done_marker": False})
    finish: dict[str, Any] = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    assert failure(delta(content="x"), finish).body.code == "stream_interrupted"
    assert played(delta(content="x"), finish, to=lenient)[1].finish_reason == "stop"
    assert failure(delta(content="x"), to=lenient).body.code == "stream_interrupted"
    assert (
        played(delta(content="x"), b" [DONE] ", delta(content="y"), to=lenient)[0]
        == played(delta(content="x"), DONE)[0]
    )


def test_only_a_choice_whose_index_never_is_0_may_stand_in_for_it() -> None:
    other = {"choices": [{"index": 2, "delta": {"content": "two"}, "finish_reason": "stop"}]}
    assert played(other, DONE)[1].message.content == [TextPart("two")]
    begun = {"choices": [{"index": 2, "delta": {"role": "assistant", "content": ""}}]}
    _, outcome = played(begun, delta(content="zero"), other, DONE)
    assert outcome.message.content == [TextPart("zero")]
    assert outcome.provider_finish_reason is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reasoning": "a", "reasoning_content": "a"}, "a"),
        ({"reasoning": "", "reasoning_content": "b"}, "b"),
        ({"reasoning": None, "reasoning_text": "c"}, "c"),
        ({"reasoning": {"odd": 1}, "reasoning_details": [{"type": "reasoning.summary", "summary": "d"}, None]}, "d"),
        ({"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "e"}]}, 5, None]}, "e"),
    ],
)
def test_reasoning_is_read_once_from_the_first_field_that_has_it(fields: dict[str, Any], said: str) -> None:
    assert played(delta(**fields), DONE)[1].message.content == [ReasoningPart(said)]


def test_every_part_of_reasoning_is_marked_and_the_state_goes_with_the_first() -> None:
    to = route(quirks={"reasoning_echo": "reasoning_text"})
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    events = (delta(reasoning_text="one"), delta(tool_calls=[call]), delta(reasoning_text="two", reasoning_opaque="o"))
    parts = [part for part in played(*events, DONE, to=to)[1].message.content if isinstance(part, ReasoningPart)]
    assert [(part.content, part.state and part.state.data) for part in parts] == [
        ("one", {"reasoning_opaque": "o"}),
        ("two", {}),
    ]
    only = played(delta(reasoning_opaque="o"), delta(reasoning_text="late"), DONE, to=to)[1].message.content[0]
    assert isinstance(only, ReasoningPart)
    assert (only.content, only.state and only.state.data) == ("late", {"reasoning_opaque": "o"})


def test_a_call_that_the_provider_answers_is_no_call_of_the_host() -> None:
    first = {"id": "s", "index": 0, "type": "mcp_call", "function": {"name": "g", "arguments": "{"}}
    out, outcome = played(
        delta(tool_calls=[first]), delta(tool_calls=[{"index": 0, "function": {"arguments": "}"}}]), DONE
    )
    assert out == []
    (part,) = outcome.message.content
    assert isinstance(part, OpaquePart)
    assert part.state.data["tool_call"]["function"] == {"name": "g", "arguments": "{}"}
    assert outcome.finish_reason == "stop"


# --- counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "outside", "output"),
    [
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135, "reasoning_tokens": 94}, False, 103),
        ({"prompt_tokens": 32, "completion_tokens": 99, "total_tokens": 131, "reasoning_tokens": 94}, True, 99),
        ({"prompt_tokens": 32, "completion_tokens": 9, "reasoning_tokens": 94}, True, 103),
        ({"prompt_tokens": 32, "completion_tokens": 99, "reasoning_tokens": 94}, False, 99),
        ({"prompt_tokens": 43, "completion_tokens": 10, "total_tokens": 53, "reasoning_tokens": 11}, False, 10),
        ({"completion_tokens": None, "reasoning_tokens": 5}, True, None),
        ({"completion_tokens": True, "completion_tokens_details": "odd"}, False, None),
    ],
)
def test_the_sum_tells_whether_reasoning_is_part_of_the_output(
    raw: dict[str, Any], outside: bool, output: int | None
) -> None:
    assert usage(raw, outside=outside).output_tokens == output


@pytest.mark.parametrize(
    ("raw", "usd"),
    [
        ({"cost": 7.159e-05}, "0.00007159"),
        ({"cost": 0}, "0"),
        ({"cost": 1200}, "1200"),
        ({"cost": "0.10"}, "0.1"),
        ({"cost": {"total_cost": 0.005}}, "0.005"),
        ({"cost_in_usd_ticks": 37756}, "0.0000037756"),
        ({"cost_in_usd_ticks": 10**10, "cost": 2}, "1"),
        ({"cost": True}, None),
        ({"cost": -1}, None),
        ({"cost": "NaN"}, None),
        ({"cost": "1e999999999"}, None),
        ({"cost": [1]}, None),
        ({}, None),
    ],
)
def test_the_cost_is_the_very_decimal_that_was_sent(raw: dict[str, Any], usd: str | None) -> None:
    assert cost(raw) == usd


def test_the_usage_before_an_error_is_kept() -> None:
    decoder = openai_chat.Decoder(route())
    event = {"error": {"message": "no"}, "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    with pytest.raises(SidecarError):
        decoder.feed(("", json.dumps(event).encode()), [])
    assert decoder.usage is not None
    assert decoder.usage.input_tokens == 3
