"""Branches side by side: each has its chunks, its end and its row, whatever becomes of the others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.comparing import branch_text, chunks, compare, comparing, end, start
from tests.support.fake_provider import CLOSE, STALL, Provider
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI, document


@pytest.fixture
def program(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    with comparing(tmp_path, provider) as started:
        yield started


def test_each_branch_has_its_chunks_and_its_end(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer("Hel", "lo"))
    provider.play("two", OPENAI.answer("Good ", "day"))
    two = {"model": "two", "provider": "openai", "options": {"wire": "openai_chat"}}
    lines = compare(program, ["one", two])
    assert (branch_text(lines, 0), branch_text(lines, 1)) == ("Hello", "Good day")
    assert [line.data["seq"] for line in lines] == list(range(len(lines)))
    for branch, name in enumerate(("anthropic", "openai")):
        kinds = [each["type"] for each in chunks(lines, branch)]
        assert kinds == ["status", "status", "start", "content", "content", "status", "branch_done"]
        states = [each["state"] for each in chunks(lines, branch, "status")]
        assert states == ["pending", "generating", "completed"]
        (done,) = chunks(lines, branch, "branch_done")
        assert (done["provider"], done["finish_reason"], done["usage"]["output_tokens"]) == (name, "stop", 7)
    done = end(lines)
    assert (done["chosen"], done["why"]) == (None, "host_chooses")
    assert [(row["branch"], row["state"], row["provider"]) for row in done["branches"]] == [
        (0, "completed", "anthropic"),
        (1, "completed", "openai"),
    ]
    assert (done["usage"]["input_tokens"], done["usage"]["output_tokens"]) == (20, 14)


def test_a_branch_that_fails_ends_no_other(program: Program, provider: Provider) -> None:
    provider.play("down", document({"error": {"message": "No."}}, 503))
    provider.play("broken", [*ANTHROPIC.begun("half"), CLOSE])
    provider.play("up", ANTHROPIC.answer("fine"))
    lines = compare(program, ["down", "broken", "up"])
    down, broken = (chunks(lines, branch, "branch_error")[0]["error"] for branch in (0, 1))
    assert (down["code"], down["partial"], down["model"]) == ("provider_overloaded", False, "down")
    assert (broken["code"], broken["partial"]) == ("stream_interrupted", True)
    assert broken["partial_message"]["content"][0]["text"] == "half"
    assert broken["resume"]["method"]
    assert branch_text(lines, 2) == "fine"
    rows = end(lines)["branches"]
    assert [row["state"] for row in rows] == ["failed", "failed", "completed"]
    assert "partial_message" not in rows[1]["error"]


def test_all_failed_is_one_error_with_every_branch(program: Program, provider: Provider) -> None:
    provider.play("down", document({"error": {"message": "No."}}, 503))
    lines = compare(program, ["down", "unheard-of"])
    error = lines[-1].data["error"]
    assert (error["code"], error["model"], error["retryable"]) == ("provider_overloaded", "down", True)
    assert [row["error"]["code"] for row in error["branches"]] == ["provider_overloaded", "model_not_found"]
    assert error["attempts"] == 2


def test_the_same_model_may_answer_several_times(program: Program, provider: Provider) -> None:
    provider.play_in_turn("one", ANTHROPIC.answer("Heads"), ANTHROPIC.answer("Tails"))
    lines = compare(program, ["one", "one"])
    assert {branch_text(lines, 0), branch_text(lines, 1)} == {"Heads", "Tails"}


def test_a_cancelled_branch_hangs_up_and_the_others_go_on(program: Program, provider: Provider) -> None:
    gate = provider.gate()
    provider.play("slow", [*ANTHROPIC.begun("so far"), STALL])
    provider.play("other", [*ANTHROPIC.begun("a"), gate, *ANTHROPIC.answer("b")[1:]])
    request = start(program, ["slow", "other"])
    call = provider.call("slow")
    program.let_pass(0.1)
    assert program.ask("cancel", {"id": request, "branch": 0})["data"] == {"found": True}
    cancelled_at = program.lines[-1].at
    assert provider.closed(call) - cancelled_at < 0.25
    program.let_pass(0.1)
    assert program.ask("cancel", {"id": request, "branch": 0})["data"] == {"found": False}
    assert program.ask("cancel", {"id": request, "branch": 7})["data"] == {"found": False}
    gate.open()
    lines = program.stream(request)
    (error,) = chunks(lines, 0, "branch_error")
    assert error["error"]["code"] == "cancelled"
    assert "partial_message" not in error["error"]
    rows = end(lines)["branches"]
    assert [row["state"] for row in rows] == ["cancelled", "completed"]
    (attempt,) = rows[0]["attempts"]
    assert (attempt["code"], attempt["cost"]) == ("cancelled", {"usd": None, "reason": "model_unknown"})
    assert rows[0]["cost"] == {"usd": None, "unpriced": 1}


def test_cancelling_the_request_cancels_all_branches(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun("so far"), STALL])
    request = start(program, ["slow"] * 3, concurrency=2)
    provider.call("slow", 1)
    program.let_pass(0.1)
    program.ask("cancel", {"id": request})
    assert program.reply(request)["error"]["code"] == "cancelled"
    provider.hung_up("slow", 2)
    rows = program.ask("usage_report", {"by": ["kind", "outcome", "code"]})["data"]["rows"]
    assert [(row["group"], row["requests"]) for row in rows] == [
        ({"kind": "branch", "outcome": "cancelled", "code": "cancelled"}, 2)
    ]
    assert len(provider.calls("slow")) == 2


def test_cancelling_every_branch_is_a_request_of_which_all_failed(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun("so far"), STALL])
    request = start(program, ["slow"] * 3, concurrency=2)
    provider.call("slow", 1)
    for branch in (2, 1, 0):
        assert program.ask("cancel", {"id": request, "branch": branch})["data"]["found"]
    error = program.reply(request)["error"]
    assert (error["code"], error["retryable"]) == ("cancelled", False)
    assert [row["state"] for row in error["branches"]] == ["cancelled"] * 3


def test_no_more_branches_are_asked_at_once_than_the_host_wants(program: Program, provider: Provider) -> None:
    gate = provider.gate()
    provider.play("one", [*ANTHROPIC.begun("a"), gate, *ANTHROPIC.answer("b")[1:]])
    request = start(program, ["one"] * 5, concurrency=2)
    provider.call("one", 1)
    program.let_pass(5)
    assert len(provider.calls("one")) == 2
    states = [line.data["data"].get("state") for line in program.lines_of(request)]
    assert (states.count("pending"), states.count("generating")) == (5, 2)
    gate.open()
    assert [row["state"] for row in end(program.stream(request))["branches"]] == ["completed"] * 5


def test_a_branch_falls_back_alone(program: Program, provider: Provider) -> None:
    provider.play("down", document({"error": {"message": "No."}}, 503))
    provider.play("up", ANTHROPIC.answer("fine"))
    provider.play("spare", ANTHROPIC.answer("spare"))
    own = {"model": "down", "options": {"fallbacks": ["anthropic/spare"]}}
    lines = compare(program, [own, "up"])
    assert (branch_text(lines, 0), branch_text(lines, 1)) == ("spare", "fine")
    (row, _) = end(lines)["branches"]
    assert [(each["model"], each.get("code")) for each in row["attempts"]] == [
        ("down", "provider_overloaded"),
        ("spare", None),
    ]
    assert "falling_back" in [each["state"] for each in chunks(lines, 0, "status")]


def test_a_branch_has_a_time_limit_of_its_own(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun("so far"), STALL])
    provider.play("up", ANTHROPIC.answer("fine"))
    lines = compare(program, [{"model": "slow", "options": {"timeouts": {"total_ms": 3000}}}, "up"])
    (error,) = chunks(lines, 0, "branch_error")
    assert (error["error"]["code"], error["error"]["reason"]) == ("timeout", "deadline")
    assert end(lines)["branches"][1]["state"] == "completed"


def test_at_the_deadline_the_answers_that_are_there_count(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun("so far"), STALL])
    provider.play("up", ANTHROPIC.answer("fine"))
    params = {"models": ["slow", "up"], "messages": [{"role": "user", "content": "Hi"}]}
    for choose, verdict in (({}, (None, "deadline")), ({"by": "first_valid"}, (1, "first_valid"))):
        request = program.send("compare", params | {"choose": choose}, provider="anthropic", timeout=4000)
        done = end(program.stream(request))
        assert (done["chosen"], done["why"]) == verdict
        assert [row["state"] for row in done["branches"]] == ["failed", "completed"]
        assert done["branches"][0]["error"]["code"] == "timeout"


def test_at_the_deadline_without_any_answer_the_request_fails(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun("so far"), STALL])
    params = {"models": ["slow", "slow"], "messages": [{"role": "user", "content": "Hi"}]}
    error = program.ask("compare", params, provider="anthropic", timeout=4000)["error"]
    assert (error["code"], error["reason"], error["partial"]) == ("timeout", "deadline", True)
    assert [row["error"]["code"] for row in error["branches"]] == ["timeout", "timeout"]


def test_one_line_has_every_answer(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer("Hel", "lo"))
    provider.play("down", document({"error": {"message": "No."}}, 503))
    (line,) = compare(program, ["one", "down"], stream=False)
    assert "streaming" not in line.data
    data = line.data["data"]
    assert "type" not in data
    assert data["branches"][0]["answer"]["content"] == "Hello"
    assert data["branches"][1]["error"]["code"] == "provider_overloaded"
    assert (data["chosen"], data["why"]) == (None, "host_chooses")
