"""Routes and stored answers together, and with what else stands around an answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.generation.test_tool_loop import TOOLS, calling, give, wait_for_round
from tests.outputs.streams import WHOLE
from tests.support.comparing import branch_text, chunks, compare, comparing
from tests.support.comparing import end as end_of_comparison
from tests.support.environment import environment
from tests.support.fake_provider import STALL, Provider
from tests.support.in_process import InProcess
from tests.support.ledgers import rows
from tests.support.lines import Object, text
from tests.support.program import Program, write_home
from tests.support.reply_scripts import ANTHROPIC

CHEAP, DEAR = "anthropic/cheap", "anthropic/dear"
ROUTE = {"models": [DEAR, CHEAP]}
SCOPE = {"scope": "ws:1"}


@pytest.fixture
def program(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    with comparing(tmp_path, provider) as started:
        yield started


def begin(program: Program, model: str = "auto", **options: Any) -> Any:
    """Send a chat and return its id."""
    asked = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "options": options}
    return program.send("stream_chat", asked, provider=None if model == "auto" else "anthropic")


def ask(program: Program, model: str = "auto", **options: Any) -> list[Object]:
    """Return the chunks of a chat, without `status`."""
    lines = program.stream(begin(program, model, **options))
    return [data for line in lines if (data := line.data["data"])["type"] != "status"]


# --- a route ---------------------------------------------------------------------------------


def test_the_chosen_models_stored_answer_is_used_again(program: Program, provider: Provider) -> None:
    provider.play("cheap", ANTHROPIC.answer("fine"))
    first, second = (ask(program, route=ROUTE, reuse=SCOPE) for _ in range(2))
    assert len(provider.calls("cheap")) == 1
    assert second[0]["route"] == first[0]["route"] | {"models": second[0]["route"]["models"]}
    assert second[0]["route"]["chosen"] == CHEAP
    assert "reused" not in first[0]
    assert "reused" in second[0]
    assert second[1:-1] == first[1:-1]
    # Who names the model asks the same.
    assert "reused" in ask(program, "cheap", reuse=SCOPE)[0]


def test_a_fallback_of_the_route_has_stored_answers_of_its_own(program: Program, provider: Provider) -> None:
    provider.play("dear", ANTHROPIC.answer("fine"))
    ask(program, "dear", reuse=SCOPE)
    answered = ask(program, route=ROUTE, reuse=SCOPE)
    assert (answered[0]["route"]["chosen"], answered[0]["route"]["why"]) == (DEAR, "fallback")
    assert "reused" in answered[0]
    assert [each["model"] for each in answered[-1]["attempts"]] == ["cheap"]


def test_rounds_of_tools_stay_with_the_model_that_has_begun(program: Program, provider: Provider) -> None:
    provider.play_in_turn("dear", calling("t1"), ANTHROPIC.answer("done"))
    going = begin(program, tools=TOOLS, tool_loop={}, route=ROUTE)
    wait_for_round(program, going)
    provider.play("cheap", ANTHROPIC.answer("from another model"))
    give(program, going, "t1")
    done = program.stream(going)[-1].data["data"]
    assert (done["route"]["chosen"], done["route"]["why"]) == (DEAR, "conversation")
    assert [each["model"] for each in done["attempts"] if "code" not in each] == ["dear", "dear"]


def test_rounds_of_a_hedged_chat_stay_with_it_too(program: Program, provider: Provider) -> None:
    provider.play_in_turn("dear", calling("t1"), ANTHROPIC.answer("done"))
    hedge = {"after_ms": 60_000, "models": ["anthropic/spare"]}
    going = begin(program, tools=TOOLS, tool_loop={}, route=ROUTE, hedge=hedge)
    wait_for_round(program, going)
    provider.play("cheap", ANTHROPIC.answer("from another model"))
    give(program, going, "t1")
    assert program.stream(going)[-1].data["data"]["route"]["chosen"] == DEAR


def test_a_hedge_runs_beside_a_route(program: Program, provider: Provider) -> None:
    provider.play("cheap", [STALL])
    provider.play("spare", ANTHROPIC.answer("spare"))
    answered = ask(program, route=ROUTE, hedge={"after_ms": 1000, "models": ["anthropic/spare"]})
    assert answered[-1]["model"] == "claude-x"
    assert answered[0]["model"] == "spare"
    assert answered[0]["warnings"] == []


def test_a_task_may_take_a_route_and_tells_the_ledger_its_name(tmp_path: Path, provider: Provider) -> None:
    config = f"""
[providers.anthropic]
base_url = "{provider.url}"
api_key = "sk-ant-made-up"
[catalogue.anthropic.cheap]
price = {{ input = 1, output = 10 }}
[route]
models = ["anthropic/cheap"]
[tasks.title]
model = "auto"
"""
    provider.play("cheap", ANTHROPIC.answer("A title"))
    home, arguments = write_home(tmp_path, config)
    asked = {"task": "title", "input": {"text": "How do I cook rice?"}}
    with InProcess(home, provider, arguments=arguments, env=environment(home)) as program:
        reply = program.ask("generate", asked)["data"]
        program.ask("usage_report")
        assert reply["route"]["chosen"] == CHEAP
        assert [each["task"] for each in rows(home)] == ["title"]


def test_a_route_leaves_out_what_is_too_long_so_overflow_is_refused(program: Program) -> None:
    error = program.stream(begin(program, route=ROUTE, overflow="drop_oldest"))[-1].data["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "params.options.overflow")


# --- stored answers --------------------------------------------------------------------------


def test_files_come_out_of_a_stored_answer_as_they_did_at_first(program: Program, provider: Provider) -> None:
    provider.play("m", ANTHROPIC.answer(*WHOLE))
    options = {"output": {"type": "files", "instruct": True}, "reuse": SCOPE}
    first, second = (ask(program, "m", **options) for _ in range(2))
    assert len(provider.calls("m")) == 1
    assert "reused" in second[0]
    assert second[1:-1] == first[1:-1]
    assert {"file_start", "file_chunk", "file_end"} <= {each["type"] for each in second}
    assert second[-1]["files"] == first[-1]["files"]
    # Another way of reading the same answer.
    as_code = ask(program, "m", output={"type": "files"}, reuse=SCOPE)
    assert "reused" not in as_code[0]


def test_branches_use_stored_answers_each_for_its_model(program: Program, provider: Provider) -> None:
    for model in ("cheap", "dear"):
        provider.play(model, ANTHROPIC.answer(model))
    ask(program, "cheap", reuse=SCOPE)
    first, second = (compare(program, ["cheap", "dear"], options={"reuse": SCOPE}) for _ in range(2))
    assert ["reused" in chunks(first, number, "start")[0] for number in (0, 1)] == [True, False]
    assert ["reused" in chunks(second, number, "start")[0] for number in (0, 1)] == [True, True]
    assert [branch_text(second, number) for number in (0, 1)] == ["cheap", "dear"]
    assert len(provider.calls("cheap")) == len(provider.calls("dear")) == 1
    assert end_of_comparison(second)["cost"]["usd"] == "0"


def test_identical_branches_are_each_asked(program: Program, provider: Provider) -> None:
    provider.play("cheap", ANTHROPIC.answer("fine"))
    compare(program, ["cheap", "cheap"], options={"reuse": SCOPE})
    assert len(provider.calls("cheap")) == 2


def test_identical_branches_in_turn_are_asked_once(program: Program, provider: Provider) -> None:
    provider.play("cheap", ANTHROPIC.answer("fine"))
    lines = compare(program, ["cheap", "cheap"], options={"reuse": SCOPE}, concurrency=1)
    assert ["reused" in chunks(lines, number, "start")[0] for number in (0, 1)] == [False, True]
    assert len(provider.calls("cheap")) == 1


def test_a_stored_answer_comes_before_a_hedge_is_due(program: Program, provider: Provider) -> None:
    provider.play("cheap", ANTHROPIC.answer("fine"))
    options = {"hedge": {"after_ms": 1000, "models": ["anthropic/spare"]}, "reuse": SCOPE}
    ask(program, "cheap", **options)
    provider.play("cheap", [STALL])
    assert "reused" in ask(program, "cheap", **options)[0]
    assert not provider.calls("spare")


def test_the_answer_of_a_hedge_is_stored_for_its_own_model(program: Program, provider: Provider) -> None:
    provider.play("cheap", [STALL])
    provider.play("spare", ANTHROPIC.answer("fine"))
    ask(program, "cheap", hedge={"after_ms": 1000, "models": ["anthropic/spare"]}, reuse=SCOPE)
    assert "reused" in ask(program, "spare", reuse=SCOPE)[0]


def test_a_loop_of_tools_is_asked_each_time(program: Program, provider: Provider) -> None:
    provider.play("m", ANTHROPIC.answer("no tool needed"))
    for _ in range(2):
        answered = ask(program, "m", tools=TOOLS, tool_loop={}, reuse=SCOPE)
        assert "not_reused" in [each["code"] for each in answered[0]["warnings"]]
    assert len(provider.calls("m")) == 2


def test_a_compacted_chat_may_use_a_stored_answer(program: Program, provider: Provider) -> None:
    provider.play("m", ANTHROPIC.answer("fine"))
    options = {"compact": True, "reuse": SCOPE}
    padded = {"model": "m", "messages": [{"role": "user", "content": "Hi   \n\n\n\n\n\nyou"}], "options": options}
    starts = []
    for _ in range(2):
        lines = program.stream(program.send("stream_chat", padded, provider="anthropic"))
        assert text(lines) == "fine"
        starts.append(lines[0].data["data"])
    assert ["reused" in each for each in starts] == [False, True]
    assert starts[0]["shortened"] == starts[1]["shortened"]
