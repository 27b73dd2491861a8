"""Streams of Chat Completions beyond the fixtures."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import OpaquePart, ReasoningPart, TextPart, ToolCallPart
from protocol.replies import Chunk, Content, ToolCallChunk
from sidecar.core.errors import SidecarError
from sidecar.wires import openai_chat
from sidecar.wires.openai_chat.usage import read_cost_usd, read_usage
from sidecar.wires.shared.types import Outcome
from tests.support.decoding import state_data
from tests.support.openai_chats import DONE, body_of, delta, played, route_to


def calls_of(outcome: Outcome) -> list[tuple[str, str, str | None]]:
    return [
        (part.id, part.name, part.arguments_text) for part in outcome.message.content if isinstance(part, ToolCallPart)
    ]


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=5)), max_size=30))
def test_calls_with_indices_are_assembled_however_they_are_mixed(pieces: list[tuple[int, str]]) -> None:
    begun = [{"index": at, "id": f"c{at}", "function": {"name": f"f{at}", "arguments": ""}} for at in range(4)]
    rest = [delta(tool_calls=[{"index": at, "function": {"arguments": text}}]) for at, text in pieces]
    out, outcome = played(delta(tool_calls=begun), *rest, DONE)
    wanted = ["".join(text for index, text in pieces if index == at) for at in range(4)]
    assert calls_of(outcome) == [(f"c{at}", f"f{at}", text) for at, text in enumerate(wanted)]
    whole = [chunk.tool_call for chunk in out if isinstance(chunk, ToolCallChunk)]
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
def test_fragments_find_their_call_by_what_they_have(pieces: list[tuple[Any, Any, Any, Any]], wanted: Any) -> None:
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
def test_finish_reasons_are_given_in_our_words(finish: str | None, fields: dict[str, Any], wanted: str) -> None:
    _, outcome = played(delta(**fields), {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}, DONE)
    assert (outcome.finish_reason, outcome.provider_finish_reason) == (wanted, finish)


@pytest.mark.parametrize("later", [False, True])
def test_a_call_that_stands_in_two_fields_is_one_call(later: bool) -> None:
    """Some servers say each call in `function_call` too, with every piece or once more at the end."""
    pieces = ['{"z"', ":1}", " "]
    both = [
        delta(
            tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": text}}],
            **({} if later else {"function_call": {"name": "f", "arguments": text}}),
        )
        for text in pieces
    ]
    again = [delta(function_call={"name": "f", "arguments": "".join(pieces)})] if later else []
    assert calls_of(played(*both, *again, DONE)[1]) == [("a", "f", '{"z":1} ')]


def test_a_call_in_the_older_field_alone_is_a_call() -> None:
    outcome = played(delta(function_call={"name": "f", "arguments": '{"z":1}'}), DONE)[1]
    assert [call[1:] for call in calls_of(outcome)] == [("f", '{"z":1}')]


@pytest.mark.parametrize("events", [[], [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]])
def test_without_done_a_stream_was_cut_unless_the_column_says_that_a_finish_reason_is_enough(
    events: list[dict[str, Any]],
) -> None:
    call = delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}])
    decoder, out = openai_chat.Decoder(route_to()), list[Chunk]()
    for event in (call, *events):
        decoder.feed(("", json.dumps(event).encode()), out)
    with pytest.raises(SidecarError) as raised:
        decoder.end(out)
    assert raised.value.body.code == "stream_interrupted"
    assert not [chunk for chunk in out if isinstance(chunk, ToolCallChunk)]
    lenient = route_to(quirks={"done_marker": False})
    if events:
        assert played(call, *events, to=lenient)[1].finish_reason == "tool_calls"
    else:
        with pytest.raises(SidecarError):
            played(call, to=lenient)


def test_nothing_counts_after_done() -> None:
    chunks, outcome = played(delta(content="x"), b"", b" [DONE] ", delta(content="y"), b"{")
    assert chunks == [Content("x")]
    assert outcome.message.content == [TextPart("x")]


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
    to = route_to(quirks={"reasoning_echo": "reasoning_text"})
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    events = (delta(reasoning_text="one"), delta(tool_calls=[call]), delta(reasoning_text="two", reasoning_opaque="o"))
    parts = [part for part in played(*events, DONE, to=to)[1].message.content if isinstance(part, ReasoningPart)]
    assert [(part.content, state_data(part.state)) for part in parts] == [
        ("one", {"reasoning_opaque": "o"}),
        ("two", {}),
    ]
    only = played(delta(reasoning_opaque="o"), delta(reasoning_text="late"), DONE, to=to)[1].message.content[0]
    assert isinstance(only, ReasoningPart)
    assert (only.content, state_data(only.state)) == ("late", {"reasoning_opaque": "o"})


def test_a_call_that_the_provider_answers_is_not_a_call_for_the_host() -> None:
    first = {"id": "s", "index": 0, "type": "mcp_call", "function": {"name": "g", "arguments": "{"}}
    out, outcome = played(
        delta(tool_calls=[first]), delta(tool_calls=[{"index": 0, "function": {"arguments": "}"}}]), DONE
    )
    assert out == []
    part = outcome.message.content[0]
    assert isinstance(part, OpaquePart)
    assert state_data(part.state)["tool_call"]["function"] == {"name": "g", "arguments": "{}"}
    assert outcome.finish_reason == "stop"


@pytest.mark.parametrize(
    "echo", ["reasoning", "reasoning_content", "reasoning_text", "reasoning_details", "thinking_parts"]
)
def test_a_message_goes_back_the_way_it_came(echo: str) -> None:
    to = route_to(quirks={"reasoning_echo": echo})
    details = [{"type": "reasoning.text", "text": "So.", "signature": "s", "index": 0}]
    asked = [{"id": "c", "index": 0, "function": {"name": "f", "arguments": "{}"}, "extra_content": {"k": 1}}]
    answer = delta(reasoning="So.", reasoning_opaque="o", reasoning_details=details, content="Hi", tool_calls=asked)
    _, outcome = played(answer, delta(content=[{"type": "reference", "n": 1}]), DONE, to=to)
    prompt = {"role": "user", "content": "Hi"}
    kept = json.loads(msgspec.json.encode(outcome.message))
    sent = body_of([prompt, kept], to)["messages"][1]
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
    elsewhere = body_of([prompt, kept], msgspec.structs.replace(to, model="m-2"))["messages"][1]
    assert elsewhere["content"] == "Hi"
    assert not [name for name in elsewhere if name.startswith("reasoning")]
    assert "extra_content" not in elsewhere["tool_calls"][0]


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
def test_the_total_tells_whether_reasoning_is_part_of_the_output(
    raw: dict[str, Any], outside: bool, output: int | None
) -> None:
    assert read_usage(raw, reasoning_outside=outside).output_tokens == output


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
def test_the_cost_is_exactly_the_decimal_that_was_sent(raw: dict[str, Any], usd: str | None) -> None:
    assert read_cost_usd(raw) == usd


def test_the_usage_before_an_error_is_kept() -> None:
    decoder = openai_chat.Decoder(route_to())
    event = {"error": {"message": "no"}, "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    with pytest.raises(SidecarError):
        decoder.feed(("", json.dumps(event).encode()), [])
    assert decoder.usage is not None
    assert decoder.usage.input_tokens == 3
