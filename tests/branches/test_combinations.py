"""What combines with branches: a task, files, code, JSON, tools, routes; and what does not, and says so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.comparing import branch_text, chunks, compare, compare_params, comparing, end, start
from tests.support.fake_provider import STALL, Provider
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI

pytestmark = pytest.mark.long

EXISTING = {"src/a.py": "one\ntwo\n"}

EDIT = """\
src/a.py
<<<<<<< SEARCH
{}
=======
three
>>>>>>> REPLACE
"""

FILES = {"output": {"type": "files", "format": "blocks", "existing": EXISTING}}


@pytest.fixture
def program(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    with comparing(tmp_path, provider) as started:
        yield started


def test_an_answer_is_valid_whose_edits_apply(program: Program, provider: Provider) -> None:
    provider.play("wrong", ANTHROPIC.answer("Here:\n\n", EDIT.format("four")))
    provider.play("right", ANTHROPIC.answer("Here:\n\n", EDIT.format("two")))
    lines = compare(program, ["wrong", "right"], options=FILES, choose={"by": "first_valid"})
    done = end(lines)
    assert (done["chosen"], done["why"]) == (1, "first_valid")
    for branch, text in ((0, None), (1, "one\nthree\n")):
        kinds = {each["type"] for each in chunks(lines, branch)}
        assert {"file_start", "file_chunk", "file_end"} <= kinds
        (file,) = chunks(lines, branch, "branch_done")[0]["files"]
        assert file.get("content") == text


def test_a_cancelled_branch_ends_its_open_file_first(program: Program, provider: Provider) -> None:
    provider.play("slow", ANTHROPIC.begun("```python src/b.py\na = 1\n", "b = 2\n", STALL))
    provider.play("up", ANTHROPIC.answer("fine"))
    options = {"output": {"type": "files", "format": "fences"}}
    request = start(program, ["slow", "up"], options=options)
    provider.call("slow")
    program.let_pass(1)
    assert program.ask("cancel", {"id": request, "branch": 0})["data"] == {"found": True}
    kinds = [each["type"] for each in chunks(program.stream(request), 0) if each["type"] != "status"]
    assert "file_start" in kinds
    assert kinds[-2:] == ["file_end", "branch_error"]


def test_no_branch_is_valid_without_the_files_that_were_asked_for(program: Program, provider: Provider) -> None:
    provider.play("prose", ANTHROPIC.answer("I would change line two."))
    done = end(compare(program, ["prose"] * 2, options=FILES, choose={"by": "first_valid"}))
    assert (done["chosen"], done["why"]) == (None, "none_valid")


def test_code_is_valid_where_it_is_clear_which_it_is(program: Program, provider: Provider) -> None:
    provider.play("two", ANTHROPIC.answer("```python\na = 1\n```\nor\n```python\na = 2\n```\n"))
    provider.play("one", ANTHROPIC.answer("```python\na = 1\n```\n"))
    options = {"output": {"type": "code", "language": "python"}}
    assert end(compare(program, ["two", "one"], options=options, choose={"by": "first_valid"}))["chosen"] == 1


def test_a_task_may_be_done_by_several_models(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer("Add a test"))
    provider.play("two", OPENAI.answer("Add tests"))
    two = {"model": "two", "provider": "openai", "options": {"wire": "openai_chat"}}
    params = {"models": ["one", two], "task": "commit_message", "input": {"diff": "+ assert True"}}
    lines = program.stream(program.send("compare", params, provider="anthropic"))
    assert (branch_text(lines, 0), branch_text(lines, 1)) == ("Add a test", "Add tests")
    for name in ("one", "two"):
        assert "+ assert True" in str(provider.call(name).json)


def test_a_task_may_write_files_of_which_the_first_that_fits_is_chosen(program: Program, provider: Provider) -> None:
    provider.play("slow", [*ANTHROPIC.begun("Let me see."), STALL])
    provider.play("quick", ANTHROPIC.answer(EDIT.format("two")))
    phase = {"name": "Rename", "description": "Rename two.", "files": [{"path": "src/a.py", "purpose": "Numbers"}]}
    params = {
        "models": ["slow", "quick"],
        "task": "implement_phase",
        "input": {"phase": phase, "files": EXISTING},
        "choose": {"by": "first_valid", "cancel_rest": True},
    }
    lines = program.stream(program.send("compare", params, provider="anthropic"))
    assert end(lines)["chosen"] == 1
    (file,) = chunks(lines, 1, "branch_done")[0]["files"]
    assert file["content"] == "one\nthree\n"
    provider.hung_up("slow", 1)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"task": "commit_message", "input": {}}, "params.input.diff"),
        ({"task": "no_such_task"}, "params.task"),
        ({"input": {"diff": "x"}, "messages": [{"role": "user", "content": "Hi"}]}, "params.input"),
        ({}, "params.messages"),
    ],
)
def test_a_task_that_cannot_be_done_is_refused_once(program: Program, more: dict[str, Any], param: str) -> None:
    error = program.ask("compare", {"models": ["one", "two"]} | more, provider="anthropic")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)
    assert "branches" not in error


def test_a_branch_may_take_a_route(program: Program, provider: Provider) -> None:
    provider.play("cheap", ANTHROPIC.answer("cheap"))
    provider.play("dear", ANTHROPIC.answer("dear"))
    options = {"route": {"models": ["anthropic/dear", "anthropic/cheap"], "prefer": "cost"}}
    models = [{"model": "auto", "options": options}, "anthropic/dear"]
    lines = program.stream(program.send("compare", compare_params(models)))
    assert (branch_text(lines, 0), branch_text(lines, 1)) == ("cheap", "dear")
    assert chunks(lines, 0, "start")[0]["route"]["chosen"] == "anthropic/cheap"


def test_tools_are_called_in_each_branch(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer("No need."))
    lines = compare(program, ["one"] * 2, options={"tools": [{"name": "now"}]})
    assert [row["state"] for row in end(lines)["branches"]] == ["completed"] * 2
    assert all(call.json["tools"][0]["name"] == "now" for call in provider.calls("one"))


def test_a_branch_may_have_an_answer_from_before(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer("fine"))
    provider.play("two", ANTHROPIC.answer("good"))
    options = {"reuse": {"scope": "test"}, "temperature": 0}
    first, second = (compare(program, ["one", "two"], options=options) for _ in range(2))
    assert [branch_text(second, branch) for branch in (0, 1)] == [branch_text(first, branch) for branch in (0, 1)]
    assert all("reused" in chunks(second, branch, "start")[0] for branch in (0, 1))
    assert (len(provider.calls("one")), len(provider.calls("two"))) == (1, 1)
    assert end(second)["cost"]["usd"] == "0"


def test_what_is_left_out_of_a_prompt_is_told_of_in_each_branch(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer("fine"))
    message = {"role": "user", "content": "Hi   \n\n\n\n\nthere"}
    lines = compare(program, ["one"] * 2, messages=[message], options={"compact": True})
    told = [chunks(lines, branch, "start")[0]["shortened"] for branch in (0, 1)]
    assert told[0] == told[1]
    assert all("Hi\n\n" in str(call.json["messages"][0]["content"][0]["text"]) for call in provider.calls("one"))


@pytest.mark.parametrize(
    ("models", "options", "param"),
    [
        (["one", "two"], {"tool_loop": {}}, "params.options.tool_loop"),
        (["one", {"model": "two", "options": {"tool_loop": {}}}], {}, "params.models[1].options.tool_loop"),
    ],
)
def test_a_loop_of_tools_is_refused(program: Program, models: list[Any], options: Any, param: str) -> None:
    error = compare(program, models, options=options)[-1].data["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)
    assert "stream_chat" in error["message"]


def test_the_options_of_a_branch_count_before_those_of_the_request(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer("fine"))
    provider.play("two", ANTHROPIC.answer("fine"))
    own = {"model": "two", "options": {"max_tokens": 7}}
    program.stream(start(program, ["one", own], options={"max_tokens": 100, "stop": "END"}))
    sent = [provider.call(name).json for name in ("one", "two")]
    assert [(each["max_tokens"], each["stop_sequences"]) for each in sent] == [(100, ["END"]), (7, ["END"])]
