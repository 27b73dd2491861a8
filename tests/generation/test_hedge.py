"""A hedge: the next model is asked when the first is slow, whoever delivers first answers, and both cost something."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.comparing import branch_text, compare, comparing
from tests.support.comparing import end as end_of_comparison
from tests.support.fake_provider import CLOSE, STALL, Pause, Provider, Step
from tests.support.lines import Line, Object, text
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, document

pytestmark = pytest.mark.long

AFTER_MS = 1500


@pytest.fixture
def program(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    with comparing(tmp_path, provider) as started:
        yield started


def hedged(*models: str, **options: Any) -> Object:
    return {"hedge": {"after_ms": AFTER_MS, "models": [*models]}} | options


def ask(program: Program, model: str, options: Object, action: str = "stream_chat", **more: Any) -> list[Line]:
    """Return the lines of a chat."""
    params = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "options": options} | more
    return program.stream(program.send(action, params, provider="anthropic"))


def end(lines: list[Line]) -> Object:
    data: Object = lines[-1].data["data"]
    assert data["type"] == "done"
    return data


def late(seconds: float, *pieces: str) -> list[Step]:
    """Return an answer that comes so late."""
    return [Pause(seconds), *ANTHROPIC.answer(*pieces)]


def states(lines: list[Line]) -> list[str]:
    return [line.data["data"]["state"] for line in lines if line.data.get("data", {}).get("type") == "status"]


def kinds(program: Program) -> dict[tuple[str, str], int]:
    rows = program.ask("usage_report", {"by": ["kind", "outcome"]})["data"]["rows"]
    return {(row["group"]["kind"], row["group"]["outcome"]): row["requests"] for row in rows}


def test_a_model_that_is_quick_enough_is_alone(program: Program, provider: Provider) -> None:
    provider.play("quick", ANTHROPIC.answer("quick"))
    lines = ask(program, "quick", hedged("anthropic/spare"))
    assert text(lines) == "quick"
    assert len(end(lines)["attempts"]) == 1
    assert states(lines) == []
    assert not provider.calls("spare")


def test_the_next_model_answers_where_the_first_is_slow(program: Program, provider: Provider) -> None:
    provider.play("cheap", [*ANTHROPIC.begun(), STALL])
    provider.play("spare", ANTHROPIC.answer("spare"))
    lines = ask(program, "cheap", hedged("anthropic/spare"))
    assert text(lines) == "spare"
    done = end(lines)
    assert done["timings"]["first_chunk_ms"] == pytest.approx(AFTER_MS, abs=50)
    assert [(each["model"], each.get("code")) for each in done["attempts"]] == [("cheap", "cancelled"), ("spare", None)]
    assert (states(lines), done["model"]) == (["hedging"], "claude-x")
    assert provider.closed(provider.call("cheap")) - provider.call("spare").at < 0.25
    assert kinds(program) == {("chat", "cancelled"): 1, ("hedge", "ok"): 1}


def test_the_first_model_may_still_be_first(program: Program, provider: Provider) -> None:
    provider.play("slow", late(3, "slow"))
    provider.play("spare", [*ANTHROPIC.begun(), STALL])
    lines = ask(program, "slow", hedged("anthropic/spare"))
    assert text(lines) == "slow"
    assert [(each["model"], each.get("code")) for each in end(lines)["attempts"]] == [
        ("spare", "cancelled"),
        ("slow", None),
    ]
    provider.hung_up("spare", 1)
    assert kinds(program) == {("chat", "ok"): 1, ("hedge", "cancelled"): 1}


@pytest.mark.parametrize("offset", [-0.001, 0, 0.001])
def test_two_that_come_at_once_are_one_answer(program: Program, provider: Provider, offset: float) -> None:
    provider.play("slow", late(AFTER_MS / 1000 + offset, "slow"))
    provider.play("spare", ANTHROPIC.answer("spare"))
    lines = ask(program, "slow", hedged("anthropic/spare"))
    attempts = end(lines)["attempts"]
    assert [each.get("code") for each in attempts[:-1]] == ["cancelled"] * (len(attempts) - 1)
    assert text(lines) == attempts[-1]["model"]
    assert "code" not in attempts[-1]


def test_a_cancelled_attempt_costs_its_prompt_or_says_that_nobody_knows(program: Program, provider: Provider) -> None:
    provider.play("cheap", [STALL])
    provider.play("unknown", [STALL])
    provider.play("spare", late(2, "spare"))
    first, second, _ = end(ask(program, "cheap", hedged("anthropic/unknown", "anthropic/spare")))["attempts"]
    assert first["usage"]["estimated"]
    assert (first["cost"]["source"], float(first["cost"]["usd"]) > 0) == ("estimate", True)
    assert second["cost"] == {"usd": None, "reason": "model_unknown"}


def test_each_further_model_is_asked_after_the_same_time(program: Program, provider: Provider) -> None:
    for name in ("slow", "slower"):
        provider.play(name, [*ANTHROPIC.begun(), STALL])
    provider.play("spare", ANTHROPIC.answer("spare"))
    lines = ask(program, "slow", hedged("anthropic/slower", "anthropic/spare"))
    assert end(lines)["timings"]["first_chunk_ms"] == pytest.approx(2 * AFTER_MS, abs=50)
    assert provider.call("slower").at - provider.call("slow").at == pytest.approx(AFTER_MS / 1000, abs=0.05)


def test_the_next_model_is_asked_at_once_where_the_first_is_down(program: Program, provider: Provider) -> None:
    provider.play("down", document({"error": {"message": "No."}}, 503))
    provider.play("spare", ANTHROPIC.answer("spare"))
    done = end(ask(program, "down", hedged("anthropic/spare")))
    assert done["timings"]["first_chunk_ms"] < AFTER_MS / 2
    assert [each.get("code") for each in done["attempts"]] == ["provider_overloaded", None]


def test_no_other_model_is_asked_what_is_wrong_everywhere(program: Program, provider: Provider) -> None:
    provider.play("strict", document({"error": {"type": "invalid_request_error", "message": "No."}}, 400))
    error = ask(program, "strict", hedged("anthropic/spare"))[-1].data["error"]
    assert (error["code"], error["model"]) == ("invalid_request", "strict")
    assert not provider.calls("spare")


def test_when_all_fail_the_failure_of_the_first_is_told(program: Program, provider: Provider) -> None:
    provider.play("slow", [Pause(2), *document({"error": {"message": "No."}}, 503)])
    provider.play("spare", [Pause(2), *document({"error": {"message": "No."}}, 529)])
    error = ask(program, "slow", hedged("anthropic/spare"))[-1].data["error"]
    assert (error["code"], error["model"], error["attempts"]) == ("provider_overloaded", "slow", 2)
    assert error["provider_status"] == 503


def test_an_answer_that_breaks_off_is_no_reason_to_begin_another(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun(), STALL])
    provider.play("spare", [*ANTHROPIC.begun("half"), CLOSE])
    error = ask(program, "slow", hedged("anthropic/spare"))[-1].data["error"]
    assert (error["code"], error["model"], error["partial"]) == ("stream_interrupted", "spare", True)
    assert error["partial_message"]["content"][0]["text"] == "half"
    provider.hung_up("slow", 1)


def test_a_fallback_stands_in_for_the_first_model_alone(program: Program, provider: Provider) -> None:
    provider.play("down", document({"error": {"message": "No."}}, 503))
    provider.play("up", late(1, "up"))
    lines = ask(program, "down", hedged("anthropic/spare", fallbacks=["anthropic/up"]))
    assert text(lines) == "up"
    assert not provider.calls("spare")


def test_a_hedge_does_not_get_the_key_of_the_request(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun(), STALL])
    provider.play("spare", ANTHROPIC.answer("spare"))
    ask(program, "slow", hedged("anthropic/spare"), api_key="sk-ant-of-the-request")
    keys = [provider.call(name).headers["authorization"] for name in ("slow", "spare")]
    assert keys == ["Bearer sk-ant-of-the-request", "Bearer sk-ant-made-up"]


def test_cancelling_the_chat_cancels_every_model(program: Program, provider: Provider) -> None:
    for name in ("slow", "spare"):
        provider.play(name, [*ANTHROPIC.begun(), STALL])
    params = {"model": "slow", "messages": [{"role": "user", "content": "Hi"}], "options": hedged("anthropic/spare")}
    request = program.send("stream_chat", params, provider="anthropic")
    provider.call("spare")
    program.ask("cancel", {"id": request})
    assert program.reply(request)["error"]["code"] == "cancelled"
    for name in ("slow", "spare"):
        provider.hung_up(name, 1)
    assert kinds(program) == {("chat", "cancelled"): 1, ("hedge", "cancelled"): 1}


def test_the_deadline_is_that_of_the_request(program: Program, provider: Provider) -> None:
    for name in ("slow", "spare"):
        provider.play(name, [*ANTHROPIC.begun(), STALL])
    error = ask(program, "slow", hedged("anthropic/spare", timeouts={"total_ms": 4000}))[-1].data["error"]
    assert (error["code"], error["reason"]) == ("timeout", "deadline")


def test_one_line_is_hedged_too(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun(), STALL])
    provider.play("spare", ANTHROPIC.answer("spare"))
    (line,) = ask(program, "slow", hedged("anthropic/spare"), action="generate")
    assert (line.data["data"]["content"], len(line.data["data"]["attempts"])) == ("spare", 2)


def test_a_budget_is_for_all_models_together(program: Program, provider: Provider) -> None:
    provider.play("dear", [STALL])
    provider.play("spare", ANTHROPIC.answer("spare"))
    message = {"role": "user", "content": "word " * 300}
    slow = hedged("anthropic/dear", budget_usd="0.05", timeouts={"total_ms": 5000})
    error = ask(program, "dear", slow, messages=[message])[-1].data["error"]
    # A second prompt would cost more than is left.
    assert (error["code"], len(provider.calls("dear"))) == ("timeout", 1)


@pytest.mark.parametrize(
    ("provider_options", "is_refused"),
    [
        ({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, True),
        ({"mcp_servers": [{"type": "url", "url": "https://mcp.example"}]}, True),
        ({"tools": [{"codeExecution": {}}]}, True),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, False),
        ({"tools": []}, False),
        ({"metadata": {"user_id": "u"}}, False),
    ],
)
def test_what_acts_at_the_provider_is_not_done_twice(
    program: Program, provider: Provider, provider_options: Object, *, is_refused: bool
) -> None:
    provider.play("quick", ANTHROPIC.answer("quick"))
    line = ask(program, "quick", hedged("anthropic/spare", provider_options=provider_options))[-1].data
    assert ("error" in line) == is_refused
    if is_refused:
        assert (line["error"]["code"], line["error"]["param"]) == ("invalid_request", "params.options.hedge")
        assert not provider.calls("quick")


def test_a_hedge_that_does_not_fit_is_told_of(program: Program, provider: Provider) -> None:
    provider.play("slow", late(2, "slow"))
    image = {"type": "image", "data": "iVBORw0KGgo=", "media_type": "image/png"}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Hi"}, image]}]
    lines = ask(program, "slow", hedged("openai/gpt-4"), messages=messages)
    (begun,) = (line.data["data"] for line in lines if line.data["data"]["type"] == "start")
    assert [(each["code"], each["param"]) for each in begun["warnings"]] == [
        ("hedge_skipped", "params.options.hedge.models[0]")
    ]
    assert end(lines)["warnings"] == begun["warnings"]


def test_a_hedge_without_a_provider_is_told_of(program: Program, provider: Provider) -> None:
    provider.play("quick", ANTHROPIC.answer("fine"))
    warnings = end(ask(program, "quick", hedged("nowhere/m")))["warnings"]
    assert [(each["code"], each["param"]) for each in warnings] == [("hedge_skipped", "params.options.hedge.models[0]")]


def test_each_round_of_a_loop_is_hedged_for_itself(program: Program, provider: Provider) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}
    round_one = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [call]}
    usage = {"input_tokens": 10, "output_tokens": 5}
    tools = document(round_one | {"stop_reason": "tool_use", "stop_sequence": None, "usage": usage})
    provider.play_in_turn("slow", [*ANTHROPIC.begun(), STALL], late(1, "It is noon."))
    provider.play("spare", tools)
    options = hedged("anthropic/spare", tools=[{"name": "now"}], tool_loop={"max_rounds": 3})
    params = {"model": "slow", "messages": [{"role": "user", "content": "Hi"}], "options": options}
    request = program.send("stream_chat", params, provider="anthropic")
    provider.call("spare")
    program.let_pass(0.5)
    result = {"id": request, "results": [{"id": "toolu_1", "content": "12:00"}]}
    assert program.ask("tool_result", result)["data"] == {"missing": []}
    lines = program.stream(request)
    assert text(lines) == "It is noon."
    assert [each["model"] for each in end(lines)["rounds"]] == ["claude-x", "claude-x"]
    codes = [(each["model"], each.get("code")) for each in end(lines)["attempts"]]
    assert codes == [("slow", "cancelled"), ("spare", None), ("slow", None)]
    assert len(provider.calls("spare")) == 1


def test_files_are_those_of_the_model_that_answers(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun(), STALL])
    provider.play("spare", ANTHROPIC.answer("```python src/b.py\na = 1\n", "```\n"))
    lines = ask(program, "slow", hedged("anthropic/spare", output={"type": "files", "format": "fences"}))
    kinds = [line.data["data"]["type"] for line in lines]
    assert (kinds.count("file_start"), kinds.count("file_end")) == (1, 1)
    (file,) = end(lines)["files"]
    assert (file["path"], file["content"]) == ("src/b.py", "a = 1\n")


def test_a_branch_may_be_hedged(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun(), STALL])
    provider.play("up", ANTHROPIC.answer("up"))
    provider.play("spare", ANTHROPIC.answer("spare"))
    lines = compare(program, [{"model": "slow", "options": hedged("anthropic/spare")}, "up"])
    assert (branch_text(lines, 0), branch_text(lines, 1)) == ("spare", "up")
    row, _ = end_of_comparison(lines)["branches"]
    assert [each.get("code") for each in row["attempts"]] == ["cancelled", None]
    assert kinds(program) == {("branch", "cancelled"): 1, ("branch", "ok"): 1, ("hedge", "ok"): 1}


def test_a_branch_that_is_cancelled_ends_its_hedge_too(program: Program, provider: Provider) -> None:
    for name in ("slow", "spare"):
        provider.play(name, [*ANTHROPIC.begun(), STALL])
    provider.play("up", late(5, "up"))
    slow = {"model": "slow", "options": hedged("anthropic/spare")}
    params = {"models": [slow, "up"], "messages": [{"role": "user", "content": "Hi"}]}
    request = program.send("compare", params, provider="anthropic")
    provider.call("spare")
    assert program.ask("cancel", {"id": request, "branch": 0})["data"]["found"]
    done = end_of_comparison(program.stream(request))
    assert [row["state"] for row in done["branches"]] == ["cancelled", "completed"]
    assert sorted(each["model"] for each in done["branches"][0]["attempts"]) == ["slow", "spare"]
    assert done["branches"][0]["cost"] == {"usd": None, "unpriced": 2}
    for name in ("slow", "spare"):
        provider.hung_up(name, 1)
