"""The assistant message while it arrives: chunks out, parts kept, whatever the order of the deltas."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.messages import Citation, State
from protocol.replies import Chunk
from sidecar.wires.shared.draft import MAX_PIECE_CHARS, Draft, cut_pieces
from sidecar.wires.shared.tool_calls import parse_arguments

STATE = State(provider="p", wire="w", model="m", data={"signature": "s"})


def plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def parts(draft: Draft) -> list[dict[str, Any]]:
    message = plain(draft.build_message())
    assert message["role"] == "assistant"
    found: list[dict[str, Any]] = message["content"]
    return found


def call(index: int, text: str, arguments: Any) -> dict[str, Any]:
    return {"id": f"c{index}", "name": f"tool{index}", "arguments": arguments, "arguments_text": text}


# --- text and reasoning ----------------------------------------------------------------------


def test_deltas_of_one_kind_make_one_part_and_empty_ones_make_no_chunk() -> None:
    draft, out = Draft(), list[Chunk]()
    for piece in ("", "Hel", "", "lo\r\n", "wor\nld"):
        draft.add_text(piece, out)
    assert plain(out) == [{"type": "content", "content": piece} for piece in ("Hel", "lo\r\n", "wor\nld")]
    assert parts(draft) == [{"type": "text", "text": "Hello\r\nwor\nld"}]


def test_a_delta_of_another_kind_begins_another_part() -> None:
    draft, out = Draft(), list[Chunk]()
    draft.add_reasoning("a", out)
    draft.add_text("b", out)
    draft.add_reasoning("c", out)
    draft.add_text("d", out)
    draft.close_block()
    draft.add_text("e", out)
    assert [(part["type"], part.get("text", part.get("content"))) for part in parts(draft)] == [
        ("reasoning", "a"),
        ("text", "b"),
        ("reasoning", "c"),
        ("text", "d"),
        ("text", "e"),
    ]


def test_a_refusal_is_a_part_of_its_own() -> None:
    draft, out = Draft(), list[Chunk]()
    draft.add_text("well", out)
    draft.add_text("no", out, refusal=True)
    draft.add_text("!", out, refusal=True)
    assert parts(draft) == [{"type": "text", "text": "well"}, {"type": "text", "text": "no!", "refusal": True}]


def test_parts_without_text_and_state_are_left_out() -> None:
    draft, out = Draft(), list[Chunk]()
    draft.add_text("", out)
    draft.close_block()
    draft.add_reasoning("", out)
    draft.close_block()
    draft.set_reasoning_state(STATE)
    draft.close_block()
    draft.set_text_state(STATE)
    draft.close_block()
    draft.add_citation(Citation(url="https://example.test"), out)
    assert out
    assert all(chunk.__class__.__name__ == "CitationChunk" for chunk in out)
    assert [part["type"] for part in parts(draft)] == ["reasoning", "text", "text"]


def test_state_and_citations_stay_with_the_part_that_is_open() -> None:
    draft, out = Draft(), list[Chunk]()
    draft.add_reasoning("think", out)
    draft.set_reasoning_state(STATE)
    draft.add_text("say", out)
    draft.add_citation(Citation(url="https://one.test"), out)
    draft.add_citation(Citation(title="two"), out)
    draft.add_text("!", out)
    assert parts(draft) == [
        {"type": "reasoning", "content": "think", "state": plain(STATE)},
        {"type": "text", "text": "say!", "citations": [{"url": "https://one.test"}, {"title": "two"}]},
    ]


def test_opaque_parts_keep_their_place() -> None:
    draft, out = Draft(), list[Chunk]()
    draft.add_text("a", out)
    draft.add_opaque("server_tool", STATE)
    draft.add_text("b", out)
    assert [part["type"] for part in parts(draft)] == ["text", "opaque", "text"]


# --- pieces ----------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["x", "é", "😀", "\u2028"])
@pytest.mark.parametrize(
    "chars", [1, MAX_PIECE_CHARS - 1, MAX_PIECE_CHARS, MAX_PIECE_CHARS + 1, 3 * MAX_PIECE_CHARS + 7]
)
def test_a_long_delta_becomes_several_chunks_on_code_points(letter: str, chars: int) -> None:
    text = letter * chars
    cut = cut_pieces(text)
    assert "".join(cut) == text
    assert [len(piece) for piece in cut[:-1]] == [MAX_PIECE_CHARS] * (len(cut) - 1)
    assert 0 < len(cut[-1]) <= MAX_PIECE_CHARS
    assert all(len(piece.encode()) <= 256 * 1024 for piece in cut)


def test_every_kind_of_delta_is_cut() -> None:
    text = "😀" * (2 * MAX_PIECE_CHARS + 1)
    draft, out = Draft(), list[Chunk]()
    draft.add_text(text, out)
    draft.add_reasoning(text, out)
    draft.begin_call("k", "c", "tool", out)
    draft.add_arguments("k", text, out)
    for kind, field in (("content", "content"), ("reasoning", "content"), ("tool_call_delta", "arguments_delta")):
        said = [chunk[field] for chunk in plain(out) if chunk["type"] == kind]
        assert "".join(said) == text
        assert max(map(len, said)) == MAX_PIECE_CHARS
    fields = {"text": "text", "reasoning": "content", "tool_call": "arguments_text"}
    assert [part[fields[part["type"]]] for part in parts(draft)] == [text, text, text]


# --- tool calls ------------------------------------------------------------------------------


def test_interleaved_calls_stay_apart() -> None:
    draft, out = Draft(), list[Chunk]()
    draft.begin_call(0, "c0", "tool0", out)
    draft.begin_call(7, "c1", "tool1", out)
    draft.add_arguments(0, '{"a"', out)
    draft.add_arguments(7, "", out)
    draft.add_arguments(7, '{"b":', out)
    draft.add_arguments(0, ":1}", out)
    draft.add_arguments(7, "[2]}", out)
    draft.end_call(7, out)
    draft.end(out)
    chunks = plain(out)
    deltas = [(c["index"], c["id"], c["name"], c["arguments_delta"]) for c in chunks if c["type"] == "tool_call_delta"]
    assert deltas == [
        (0, "c0", "tool0", ""),
        (1, "c1", "tool1", ""),
        (0, "c0", "tool0", '{"a"'),
        (1, "c1", "tool1", '{"b":'),
        (0, "c0", "tool0", ":1}"),
        (1, "c1", "tool1", "[2]}"),
    ]
    whole = [chunk["tool_call"] for chunk in chunks if chunk["type"] == "tool_call"]
    assert whole == [call(1, '{"b":[2]}', {"b": [2]}), call(0, '{"a":1}', {"a": 1})]
    assert [part["id"] for part in parts(draft)] == ["c0", "c1"]
    assert [{key: part[key] for key in whole[0]} for part in parts(draft)] == [whole[1], whole[0]]


def test_a_call_ends_once() -> None:
    draft, out = Draft(), list[Chunk]()
    draft.begin_call(0, "c0", "tool0", out)
    draft.end_call(0, out)
    draft.end_call(0, out)
    draft.end(out)
    assert [chunk["type"] for chunk in plain(out)] == ["tool_call_delta", "tool_call"]


@pytest.mark.parametrize("said", ["", "same"])
def test_a_call_without_an_id_of_its_own_is_given_one(said: str) -> None:
    draft, out = Draft(), list[Chunk]()
    draft.begin_call("a", said, "one", out)
    draft.begin_call("b", said, "two", out)
    draft.end(out)
    ids = [chunk["tool_call"]["id"] for chunk in plain(out) if chunk["type"] == "tool_call"]
    assert len(set(ids)) == 2
    assert all(ids)
    assert [part["id"] for part in parts(draft)] == ids


def test_a_name_that_comes_late_is_taken_once() -> None:
    draft, out = Draft(), list[Chunk]()
    draft.begin_call(0, "c0", "", out)
    draft.name_call(0, "tool0", out)
    draft.name_call(0, "tool0", out)
    draft.add_arguments(0, "{}", out)
    draft.end(out)
    assert plain(out)[-1]["tool_call"]["name"] == "tool0"


def test_text_after_a_call_is_a_new_part() -> None:
    draft, out = Draft(), list[Chunk]()
    draft.add_text("a", out)
    draft.begin_call(0, "c0", "tool0", out)
    draft.add_text("b", out)
    draft.set_call_state(0, STATE)
    draft.end(out)
    assert draft.has_tool_calls
    assert [part["type"] for part in parts(draft)] == ["text", "tool_call", "text"]
    assert parts(draft)[1]["state"] == plain(STATE)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        (" \n", {}),
        ("{}", {}),
        (' {"a": 1, "b": [null, "\\u00e9"]} ', {"a": 1, "b": [None, "é"]}),
        ('{"a":1,"a":2}', {"a": 2}),
        ("null", None),
        ("[]", None),
        ('"{}"', None),
        ("7", None),
        ('{"a":', None),
        ('{"a":1}{"b":2}', None),
        ('{"a":1} trailing', None),
        ("{'a':1}", None),
        ('{"a":NaN}', None),
        ('{"a":1e999}', None),
        ('{"a":"\\ud800"}', None),
        ('{"a":"\ud800"}', None),
        ('{"a":"line\nbreak"}', None),
        ('{"a":' * 5000, None),
        ("[" * 100_000 + "]" * 100_000, None),
        ("call the tool please", None),
    ],
)
def test_arguments_are_parsed_or_flagged_and_never_altered(text: str, arguments: Any) -> None:
    assert parse_arguments(text) == arguments
    draft, out = Draft(), list[Chunk]()
    draft.begin_call(0, "c0", "tool0", out)
    for letter in text[:2000]:
        draft.add_arguments(0, letter, out)
    draft.add_arguments(0, text[2000:], out)
    draft.end(out)
    assert draft.get_arguments_text(0) == text
    ended = out[-1].tool_call  # type: ignore[union-attr]
    assert (ended.arguments, ended.arguments_text) == (arguments, text)
    kept = draft.build_message().content[0]
    assert (kept.arguments, kept.arguments_text) == (arguments, text)  # type: ignore[union-attr]


@pytest.mark.long
@settings(max_examples=150)
@given(
    st.text(max_size=40)
    | st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=4).map(repr)
)
def test_no_arguments_make_the_parser_raise(text: str) -> None:
    assert parse_arguments(text) is None or isinstance(parse_arguments(text), dict)


# --- everything together ---------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from(["text", "reasoning", "refusal", "close", "begin", "delta", "end"]), st.text(max_size=3)),
    max_size=30,
)


def take(draft: Draft, steps: list[tuple[str, str]], out: list[Chunk]) -> int:
    """Take *steps*, where delta and end concern the newest call, and return how many calls were begun."""
    opened, ended = 0, set[int]()
    for kind, text in steps:
        newest = opened - 1
        if kind in ("text", "refusal"):
            draft.add_text(text, out, refusal=kind == "refusal")
        elif kind == "reasoning":
            draft.add_reasoning(text, out)
        elif kind == "close":
            draft.close_block()
        elif kind == "begin":
            draft.begin_call(opened, f"c{opened}", "tool", out)
            opened += 1
        elif kind == "delta" and opened and newest not in ended:
            draft.add_arguments(newest, text, out)
        elif kind == "end" and opened:
            draft.end_call(newest, out)
            ended.add(newest)
    draft.end(out)
    return opened


@settings(max_examples=150)
@given(STEPS)
def test_chunks_and_message_say_the_same(steps: list[tuple[str, str]]) -> None:
    draft, out = Draft(), list[Chunk]()
    opened = take(draft, steps, out)
    chunks, kept = plain(out), parts(draft)
    for kind, field, part in (("content", "text", "text"), ("reasoning", "content", "reasoning")):
        said = "".join(chunk["content"] for chunk in chunks if chunk["type"] == kind)
        assert said == "".join(each[field] for each in kept if each["type"] == part)
    calls = [chunk["tool_call"] for chunk in chunks if chunk["type"] == "tool_call"]
    whole = {call["id"]: call["arguments_text"] for call in calls}
    in_pieces: dict[str, str] = {}
    for chunk in chunks:
        if chunk["type"] == "tool_call_delta":
            in_pieces[chunk["id"]] = in_pieces.get(chunk["id"], "") + chunk["arguments_delta"]
    assert whole == in_pieces == {part["id"]: part["arguments_text"] for part in kept if part["type"] == "tool_call"}
    assert len(calls) == opened


def test_a_big_integer_leaves_the_chunk_and_stays_in_the_call() -> None:
    text = '{"n":123456789012345678901234567890}'
    draft, out = Draft(), list[Chunk]()
    draft.begin_call(0, "c0", "tool0", out)
    draft.add_arguments(0, text, out)
    draft.end(out)
    assert parts(draft)[0]["arguments"] == parse_arguments(text)
    ended = out[-1].tool_call  # type: ignore[union-attr]
    assert (ended.arguments, ended.arguments_text) == (None, text)
