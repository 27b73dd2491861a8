"""What is left out of a conversation that is too long: the oldest, in pieces that make sense without it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import Message, ToolCallPart, ToolResultPart
from protocol.options import Options, Overflow
from protocol.window import Cleared, Dropped
from sidecar.core.message_content import list_parts
from sidecar.tokens.estimates import Estimate
from sidecar.tokens.families import find_family
from sidecar.window.plan import NOTE, TARGET_SHARE, apply_plan, make_plan
from sidecar.window.turns import cut_pieces
from sidecar.window.weights import NOTE_TOKENS, Weights, weigh

EACH = 100
"""The tokens of every message of these conversations."""


def conversation(shape: str) -> list[Message]:
    """Return the messages that *shape* spells: `s`ystem, `u`ser, `a`ssistant, `c`all and its `r`esult."""
    messages, calls = list[Message](), 0
    for letter in shape:
        if letter == "c":
            calls += 1
            part: Any = ToolCallPart(id=f"call_{calls}", name="f", arguments={})
            messages.append(Message(role="assistant", content=[part]))
        elif letter == "r":
            messages.append(Message(role="tool", content=[ToolResultPart(f"call_{calls}", "x" * 400)]))
        else:
            role = {"s": "system", "u": "user", "a": "assistant"}[letter]
            messages.append(msgspec.convert({"role": role, "content": letter}, Message))
    return messages


def weights(messages: list[Message]) -> Weights:
    results = [
        Cleared(at, part.id, EACH - NOTE_TOKENS)
        for at, message in enumerate(messages)
        for part in list_parts(message)
        if isinstance(part, ToolResultPart)
    ]
    return Weights(Estimate(EACH * len(messages), 10), [EACH] * len(messages), results)


def left(shape: str, limit: int, *keep: str, strategy: Overflow = "drop_oldest") -> str:
    """Return what is left of *shape*, with `-` for what is dropped and `x` for a result that is cleared."""
    messages = conversation(shape)
    plan = make_plan(messages, weights(messages), limit, keep or ("system",), strategy)
    shown = list(shape)
    for each in plan.drop:
        shown[each.first : each.last + 1] = "-" * (each.last + 1 - each.first)
    for cleared in plan.clear:
        shown[cleared.message] = "x"
    return "".join(shown)


@pytest.mark.parametrize(
    ("shape", "limit", "expected"),
    [
        ("suaua", 500, "suaua"),
        ("suaua", 499, "s--ua"),
        ("suauaua", 500, "s----ua"),
        ("ucraua", 500, "----ua"),
        ("suauacr", 600, "s--uacr"),
        ("u" * 5, 300, "---uu"),
        ("sa", 100, "sa"),
        ("au", 100, "-u"),
        ("suasua", 400, "s--sua"),
        ("u", 10, "u"),
    ],
)
def test_the_oldest_pieces_go_first(shape: str, limit: int, expected: str) -> None:
    assert left(shape, limit) == expected


def test_of_the_newest_turn_the_oldest_rounds_go_and_never_the_question_or_the_last_round() -> None:
    assert left("sucrcrcr", 700) == "su--crcr"
    assert left("sucrcrcr", 10) == "su----cr"


def test_a_cut_goes_below_the_limit_so_that_the_next_turns_fit() -> None:
    assert left("ua" * 10, 1990) == "--" + "--" + "ua" * 8
    assert TARGET_SHARE == 0.9


def test_the_first_turn_stays_if_the_host_says_so() -> None:
    assert left("suauaua", 500, "system", "first_turn") == "sua--ua"
    assert left("suauaua", 500, "first_turn") == "-ua--ua"


@pytest.mark.parametrize(
    ("shape", "limit", "expected"),
    [
        ("ucrcrcr", 699, "ucxcrcr"),
        ("ucrcrcr", 600, "ucxcxcr"),
        ("ucrcrcr", 500, "u--cxcr"),
        ("ucrcrcr", 300, "u----cr"),
        ("ucraua", 590, "ucxaua"),
        ("ucraua", 400, "----ua"),
        ("ucr", 200, "ucr"),
        ("ucrs", 200, "ucrs"),
        ("s", 10, "s"),
    ],
)
def test_results_are_cleared_before_anything_is_dropped(shape: str, limit: int, expected: str) -> None:
    assert left(shape, limit, strategy="clear_tool_results") == expected


def test_a_result_that_comes_late_stays_with_its_call() -> None:
    messages = conversation("ucuuau")
    late = Message(role="tool", content=[ToolResultPart("call_1", "x")])
    messages.insert(4, late)
    assert [piece.members for piece in cut_pieces(messages, ())] == [[0, 1, 2, 3, 4, 5], [6]]


def test_a_result_in_a_message_of_the_users_begins_no_turn() -> None:
    messages = conversation("uca")
    messages[2] = Message(role="user", content=[ToolResultPart("call_1", "x")])
    assert [piece.members for piece in cut_pieces(messages, ())] == [[0], [1, 2]]


def test_a_system_message_within_a_turn_stays_and_tears_nothing() -> None:
    messages = conversation("uasaua")
    assert [piece.members for piece in cut_pieces(messages, ())] == [[0, 1, 3], [2], [4], [5]]
    plan = make_plan(messages, weights(messages), 400, ("system",), "drop_oldest")
    assert plan.drop == [Dropped(0, 1, 200), Dropped(3, 3, 100)]


def test_what_is_left_out_is_told_in_ranges_with_their_tokens() -> None:
    messages = conversation("uauaua")
    plan = make_plan(messages, weights(messages), 300, ("system",), "drop_oldest")
    assert plan.drop == [Dropped(0, 3, 400)]
    assert (plan.tokens_after, plan.cache_lost_from) == (200, 0)


def test_a_cleared_result_keeps_its_place_its_id_and_whether_it_failed() -> None:
    messages = conversation("ucrcra")
    failed = ToolResultPart("call_1", "x" * 400, is_error=True)
    messages[2] = Message(role="tool", content=[failed])
    plan = make_plan(messages, weights(messages), 590, (), "clear_tool_results")
    shortened = apply_plan(messages, plan)
    assert shortened[2] == Message(role="tool", content=[ToolResultPart("call_1", NOTE, is_error=True)])
    assert [*shortened[:2], *shortened[3:]] == [*messages[:2], *messages[3:]]


SHAPES = st.text("suacr", min_size=1, max_size=30).map(lambda shape: shape.replace("c", "cr"))


@given(SHAPES, st.integers(0, 3000), st.sampled_from(["drop_oldest", "clear_tool_results"]))
def test_whatever_is_left_out_calls_and_results_stay_together(shape: str, limit: int, strategy: Overflow) -> None:
    messages = conversation(shape)
    plan = make_plan(messages, weights(messages), limit, ("system",), strategy)
    shortened = apply_plan(messages, plan)
    parts = [part for message in shortened for part in list_parts(message)]
    before = [part for message in messages for part in list_parts(message)]
    for kind in (ToolCallPart, ToolResultPart):
        lost = {part.id for part in before if isinstance(part, kind)} - {p.id for p in parts if isinstance(p, kind)}
        other = ToolResultPart if kind is ToolCallPart else ToolCallPart
        assert not lost & {part.id for part in parts if isinstance(part, other)}
    assert [each for each in shortened if each.role == "system"] == [each for each in messages if each.role == "system"]
    assert shortened[-1] == messages[-1]
    assert sum(each.role == "user" for each in shortened) >= min(1, sum(each.role == "user" for each in messages))
    saved = sum(each.tokens for each in plan.clear)
    assert plan.tokens_after == EACH * len(shortened) - saved <= EACH * len(messages)
    kept = all(piece.is_kept for piece in cut_pieces(shortened, ("system",)))
    assert plan.tokens_after <= limit or kept


@pytest.mark.long
def test_a_long_conversation_is_planned_in_no_time() -> None:
    messages = conversation("ucra" * 20_000)
    plan = make_plan(messages, weights(messages), 1000, ("system",), "clear_tool_results")
    assert len(apply_plan(messages, plan)) < 12


def test_the_tokens_of_the_messages_are_those_of_the_whole() -> None:
    family, count = find_family("gpt-4"), lambda text: len(text) // 4
    messages = conversation("suacrau")
    weighed = weigh(messages, Options(), family, count)
    assert abs(weighed.total.tokens - sum(weighed.messages) - family.prompt) <= len(messages)
    (result,) = weighed.results
    assert (result.message, result.id) == (4, "call_1")
    assert 80 < result.tokens < 110
