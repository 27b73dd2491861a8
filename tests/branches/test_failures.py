"""What may go wrong with several models at once, and what is left of the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.server.handlers import compare as handler
from tests.support.comparing import branch_text, chunks, compare, compare_params, comparing, end, start
from tests.support.fake_provider import RESET, STALL, Pause, Provider
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, document

JUDGED = {"by": "judge", "judge": {"model": "judge"}}


@pytest.fixture
def program(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    with comparing(tmp_path, provider) as started:
        yield started


def test_a_provider_that_is_killed_takes_its_branch_alone(program: Program, provider: Provider) -> None:
    provider.play("killed", ANTHROPIC.begun("so ", "far", RESET))
    provider.play("up", [*ANTHROPIC.begun("a"), Pause(1), *ANTHROPIC.answer("b")[1:]])
    lines = compare(program, ["killed", "up", "killed"])
    for branch in (0, 2):
        (error,) = chunks(lines, branch, "branch_error")
        assert (error["error"]["code"], error["error"]["partial"]) == ("stream_interrupted", True)
        # Its own words end it, whatever it has sent.
        assert chunks(lines, branch)[-1] == error
    assert branch_text(lines, 1).startswith("a")
    assert [row["state"] for row in end(lines)["branches"]] == ["failed", "completed", "failed"]


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("nobody/model", "invalid_request"),
        ("groq/model", "auth_required"),
        ({"model": "m", "provider": "nobody"}, "unknown_provider"),
        ({"model": "m", "base_url": "http://provider.test", "api_key": "sk-made-up"}, "invalid_request"),
        ({"model": "m", "options": {"fallbacks": "no-such-chain"}}, "invalid_request"),
    ],
)
def test_a_branch_that_cannot_even_be_asked_fails_alone(
    program: Program, provider: Provider, model: Any, code: str
) -> None:
    provider.play("up", ANTHROPIC.answer("fine"))
    lines = program.stream(program.send("compare", compare_params([model, "anthropic/up"])))
    (error,) = chunks(lines, 0, "branch_error")
    assert error["error"]["code"] == code
    assert branch_text(lines, 1) == "fine"


def test_a_branch_that_waits_for_its_turn_can_be_cancelled(program: Program, provider: Provider) -> None:
    gate = provider.gate()
    provider.play("one", [*ANTHROPIC.begun("a"), gate, *ANTHROPIC.answer("b")[1:]])
    request = start(program, ["one"] * 3, concurrency=1)
    provider.call("one")
    assert program.ask("cancel", {"id": request, "branch": 2})["data"] == {"found": True}
    gate.open()
    rows = end(program.stream(request))["branches"]
    assert [row["state"] for row in rows] == ["completed", "completed", "cancelled"]
    assert rows[2]["cost"] == {"usd": "0", "unpriced": 0}
    assert len(provider.calls("one")) == 2


def test_a_branch_that_has_ended_cannot_be_cancelled_any_more(program: Program, provider: Provider) -> None:
    provider.play("quick", ANTHROPIC.answer("fine"))
    provider.play("slow", [*ANTHROPIC.begun("a"), Pause(2), *ANTHROPIC.answer("b")[1:]])
    request = start(program, ["quick", "slow"])
    program.let_pass(1)
    assert program.ask("cancel", {"id": request, "branch": 0})["data"] == {"found": False}
    assert end(program.stream(request))["branches"][0]["state"] == "completed"


def test_a_chat_has_no_branches_to_cancel(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun("a"), Pause(2), *ANTHROPIC.answer("b")[1:]])
    params = {"model": "slow", "messages": [{"role": "user", "content": "Hi"}]}
    request = program.send("stream_chat", params, provider="anthropic")
    provider.call("slow")
    assert program.ask("cancel", {"id": request, "branch": 0})["data"] == {"found": False}
    assert end(program.stream(request))["finish_reason"] == "stop"


def test_a_request_is_cancelled_while_the_judge_thinks(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer("fine"))
    provider.play("judge", [*ANTHROPIC.begun("Well"), STALL])
    request = start(program, ["one"] * 2, choose=JUDGED)
    provider.call("judge", 1)
    program.ask("cancel", {"id": request})
    assert program.reply(request)["error"]["code"] == "cancelled"
    provider.hung_up("judge", 2)


def test_a_judge_that_is_too_slow_costs_no_answer(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer("fine"))
    provider.play("judge", [*ANTHROPIC.begun("Well"), STALL])
    params = compare_params(["one"] * 2, choose=JUDGED)
    done = end(program.stream(program.send("compare", params, provider="anthropic", timeout=3000)))
    assert (done["chosen"], done["why"]) == (None, "deadline")
    assert [row["state"] for row in done["branches"]] == ["completed"] * 2
    assert [row["error"]["code"] for row in done["judge"]] == ["timeout"] * 2
    assert done["cost"]["unpriced"] == 4


def test_a_judge_is_shown_calls_of_tools_too(program: Program, provider: Provider) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"word": "sidecar"}}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [call]}
    usage = {"input_tokens": 10, "output_tokens": 5}
    provider.play("one", document(message | {"stop_reason": "tool_use", "stop_sequence": None, "usage": usage}))
    provider.play("judge", ANTHROPIC.answer("[[A]]"))
    options = {"tools": [{"name": "look_up"}]}
    done = end(compare(program, ["one"] * 2, options=options, choose=JUDGED))
    assert done["why"] == "judge_tie"
    (first, _) = provider.calls("judge")
    assert "[calls look_up with" in str(first.json["messages"])
    assert "tools" not in first.json


def test_the_budget_of_a_day_admits_some_branches(tmp_path: Path, provider: Provider) -> None:
    gate = provider.gate()
    provider.play("dear", [*ANTHROPIC.begun("a"), gate, *ANTHROPIC.answer("b")[1:]])
    with comparing(tmp_path, provider, more="[budgets]\nday_usd = 3\n") as program:
        # Each is expected to cost 2 USD.
        request = start(program, ["dear"] * 3)
        provider.call("dear", 1)
        gate.open()
        rows = end(program.stream(request))["branches"]
        assert sorted(row["state"] for row in rows) == ["completed", "completed", "failed"]
        (refused,) = (row["error"] for row in rows if row["state"] == "failed")
        assert (refused["code"], refused["reason"]) == ("quota_exceeded", "budget_day")


def test_a_budget_of_nothing_asks_nobody(program: Program, provider: Provider) -> None:
    error = compare(program, ["cheap"] * 2, budget_usd=0)[-1].data["error"]
    assert (error["code"], error["reason"], error["param"]) == ("quota_exceeded", "budget_usd", "params.budget_usd")
    assert not provider.calls("cheap")


def test_answers_too_long_for_one_line_fail_as_branches(
    program: Program, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "MAX_ANSWERS_BYTES", 3000)
    provider.play("one", ANTHROPIC.answer("x" * 1000))
    (line,) = compare(program, ["one"] * 3, stream=False, concurrency=1)
    rows = line.data["data"]["branches"]
    assert [row["state"] for row in rows] == ["completed", "failed", "failed"]
    assert {row["error"]["reason"] for row in rows[1:]} == {"event_too_large"}


def test_a_long_partial_answer_is_not_repeated(program: Program, provider: Provider) -> None:
    provider.play("long", ANTHROPIC.begun("x" * (1024 * 1024 + 1), RESET))
    provider.play("up", ANTHROPIC.answer("fine"))
    (error,) = chunks(compare(program, ["long", "up"]), 0, "branch_error")
    assert (error["error"]["partial"], "partial_message" in error["error"]) == (True, False)


def test_one_line_is_one_line_however_long_it_takes(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun("a"), Pause(40), *ANTHROPIC.answer("b")[1:]])
    lines = program.stream(start(program, ["slow"] * 2, stream=False), seconds=60)
    assert len(lines) == 1


def test_a_long_silence_of_all_branches_is_told_of(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun("a"), Pause(40), *ANTHROPIC.answer("b")[1:]])
    lines = program.stream(start(program, ["slow"] * 2), seconds=60)
    heartbeats = [line.data["data"] for line in lines if "silent_ms" in line.data["data"]]
    assert len(heartbeats) == 2
    assert all("branch" not in each for each in heartbeats)
