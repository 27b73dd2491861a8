"""Which answer is chosen: the rules alone, and the same over the protocol."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.messages import Message, TextPart, ToolCallPart
from protocol.replies import Done, Structured, Timings
from sidecar.branches.choosing import MAX_VOTE_CHARS, WAYS, Measured, choose, is_valid, read_vote
from tests.support.comparing import compare, comparing, end, start
from tests.support.fake_provider import STALL, Provider
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, document


def done(text: str = "Fine.", **fields: Any) -> Done:
    """Return the end of an answer with that text."""
    given: dict[str, Any] = {
        "finish_reason": "stop",
        "provider_finish_reason": None,
        "usage": None,
        "cost": {"usd": None, "reason": "model_unknown"},
        "message": Message(role="assistant", content=[TextPart(text)]),
        "provider": "p",
        "model": "m",
        "request_id": None,
        "attempts": [],
        "timings": Timings(total_ms=1),
    }
    return Done(**given | fields)


def structured(*, valid: bool | None, value: Any = None) -> Structured:
    return Structured(valid=valid, value=value, error=None, native=True)


CALL = ToolCallPart(id="1", name="look_up", arguments={}, arguments_text="{}")


@pytest.mark.parametrize(
    ("answer", "valid"),
    [
        (done(), True),
        (done(" \n"), False),
        (done(finish_reason="length"), False),
        (done(finish_reason="content_filter"), False),
        (done(finish_reason="refusal"), False),
        (done(finish_reason="tool_calls", message=Message(role="assistant", content=[CALL])), True),
        (
            done(message=Message(role="assistant", content=[msgspec.structs.replace(CALL, arguments=None)])),
            False,
        ),
        (done(structured=structured(valid=True)), True),
        (done(structured=structured(valid=False)), False),
        (done(structured=structured(valid=None)), False),
    ],
)
def test_an_answer_is_valid_that_is_whole_and_obeys_its_schema(answer: Done, *, valid: bool) -> None:
    assert is_valid(answer) is valid


@pytest.mark.parametrize(
    ("texts", "vote"),
    [
        (("Yes.", "yes", " **YES** ", "“Yes!”"), "yes"),
        (("New  York\n", "new york."), "new york"),
        (("42", "**42**"), "42"),
        (("?",), "?"),
    ],
)
def test_what_stands_around_a_short_answer_does_not_count(texts: tuple[str, ...], vote: str) -> None:
    assert {read_vote(done(text)) for text in texts} == {vote}


def test_json_is_counted_by_its_value() -> None:
    one, two = ({"b": 1, "a": "x"}, {"a": "x", "b": 1})
    votes = {read_vote(done(str(value), structured=structured(valid=True, value=value))) for value in (one, two)}
    assert len(votes) == 1


@pytest.mark.parametrize("answer", [done("x" * (MAX_VOTE_CHARS + 1)), done(""), done("Yes", finish_reason="length")])
def test_long_and_broken_answers_have_no_vote(answer: Done) -> None:
    assert read_vote(answer) is None


def measured(*merits: Any) -> list[Measured]:
    return [Measured(number, merit) for number, merit in enumerate(merits)]


@pytest.mark.parametrize(
    ("by", "merits", "verdict"),
    [
        ("none", (None, None), (None, "host_chooses")),
        ("first_valid", (False, True, True), (1, "first_valid")),
        ("first_valid", (False, False), (None, "none_valid")),
        ("first_valid", (False,), (None, "none_valid")),
        ("longest", (3, 9, 9), (1, "longest")),
        ("vote", ("a", "b", "b"), (1, "vote")),
        ("vote", ("a", "a", "b", "b"), (None, "no_majority")),
        ("vote", ("a", "b", None), (None, "no_majority")),
        ("vote", (None, None), (None, "no_majority")),
        ("vote", ("a",), (0, "only_answer")),
        ("judge", ("a",), (0, "only_answer")),
    ],
)
def test_the_verdict_of_each_way(by: str, merits: tuple[Any, ...], verdict: tuple[int | None, str]) -> None:
    assert choose(by, measured(*merits)) == verdict


@pytest.mark.parametrize(
    ("by", "merits", "left", "is_certain"),
    [
        ("first_valid", (False,), 2, False),
        ("first_valid", (False, True), 2, True),
        ("vote", ("a", "a"), 2, False),
        ("vote", ("a", "a"), 1, True),
        ("vote", ("a", "a", "b"), 1, False),
        ("longest", (9,), 1, False),
    ],
)
def test_a_choice_may_be_certain_before_all_have_ended(
    by: str, merits: tuple[Any, ...], left: int, *, is_certain: bool
) -> None:
    assert (WAYS[by].decide_early(measured(*merits), left) is not None) == is_certain


# --- over the protocol -----------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    with comparing(tmp_path, provider) as started:
        yield started


def test_the_rest_is_cancelled_once_an_answer_is_valid(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun("so far"), STALL])
    provider.play("down", document({"error": {"message": "No."}}, 503))
    provider.play("up", ANTHROPIC.answer("fine"))
    request = start(program, ["slow", "down", "up", "slow"], choose={"by": "first_valid", "cancel_rest": True})
    done = end(program.stream(request))
    assert (done["chosen"], done["why"]) == (2, "first_valid")
    assert [row["state"] for row in done["branches"]] == ["cancelled", "failed", "completed", "cancelled"]
    assert {row["error"]["reason"] for row in done["branches"] if row["state"] == "cancelled"} == {"not_needed"}
    provider.hung_up("slow", 2)


def test_an_answer_that_breaks_its_schema_is_not_chosen(program: Program, provider: Provider) -> None:
    provider.play("wrong", ANTHROPIC.answer('{"city": 7}'))
    gate = provider.gate()
    provider.play("right", [*ANTHROPIC.begun(), gate, *ANTHROPIC.answer('{"city": "Rome"}')[1:]])
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    options = {"response_format": {"type": "json_schema", "schema": schema}}
    request = start(program, ["wrong", "right"], options=options, choose={"by": "first_valid", "cancel_rest": True})
    program.let_pass(1)
    gate.open()
    assert end(program.stream(request))["chosen"] == 1


def test_short_answers_vote_until_the_outcome_is_certain(program: Program, provider: Provider) -> None:
    provider.play_in_turn("one", ANTHROPIC.answer("Yes."), ANTHROPIC.answer("yes"), [*ANTHROPIC.begun("N"), STALL])
    done = end(compare(program, ["one"] * 3, choose={"by": "vote", "cancel_rest": True}))
    assert done["why"] == "vote"
    assert sorted(row["state"] for row in done["branches"]) == ["cancelled", "completed", "completed"]


def test_the_longest_is_chosen_where_the_host_wants_that(program: Program, provider: Provider) -> None:
    provider.play("short", ANTHROPIC.answer("No."))
    provider.play("long", ANTHROPIC.answer("No, ", "not at all."))
    done = end(compare(program, ["short", "long"], choose={"by": "longest"}))
    assert (done["chosen"], done["why"]) == (1, "longest")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"choose": {"by": "judge"}}, "params.choose.judge"),
        ({"choose": {"by": "vote", "judge": {"model": "m"}}}, "params.choose.judge"),
        ({"choose": {"by": "longest", "cancel_rest": True}}, "params.choose.cancel_rest"),
        ({"choose": {"by": "best"}}, "params.choose.by"),
        (
            {"choose": {"by": "judge", "judge": {"model": "m", "options": {"tool_loop": {}}}}},
            "params.choose.judge.options.tool_loop",
        ),
        ({"models": ["one"]}, "params.models"),
        ({"models": ["one"] * 17}, "params.models"),
        ({"models": ["one", {"provider": "anthropic"}]}, "params.models[1].model"),
        ({"concurrency": 0}, "params.concurrency"),
        ({"budget_usd": "-1"}, "params.budget_usd"),
    ],
)
def test_what_makes_no_sense_is_refused_and_named(program: Program, more: dict[str, Any], param: str) -> None:
    params = {"models": ["one", "two"], "messages": [{"role": "user", "content": "Hi"}]} | more
    error = program.ask("compare", params, provider="anthropic")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)
