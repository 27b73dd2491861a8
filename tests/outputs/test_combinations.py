"""Files and rounds together with what else stands around an answer: branches, hedges, fallbacks, tasks, counts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.generation.test_tool_loop import TOOLS, calling, give, wait_for_round
from tests.outputs.streams import WHOLE, params
from tests.support.comparing import chunks, compare, comparing, end, start
from tests.support.fake_provider import RESET, STALL, Pause, Provider
from tests.support.in_process import InProcess
from tests.support.lines import Line, Object
from tests.support.program import Program, write_home
from tests.support.reply_scripts import ANTHROPIC, OPENAI, at_once, document

FILES = {"type": "files"}
OPENED = "a.py\n```python\nx = 1\n"


@pytest.fixture
def program(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    with comparing(tmp_path, provider) as started:
        yield started


def begin(program: Program, model: str, **options: Any) -> Any:
    """Send a chat and return its id."""
    asked = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "options": options}
    return program.send("stream_chat", asked, provider=None if model == "auto" else "anthropic")


def files_of(lines: list[Line], branch: int) -> list[tuple[int, str, bool]]:
    """Return the number, path and completeness of the files that ended in a branch, each having begun once."""
    begun = [each["file"] for each in chunks(lines, branch, "file_start")]
    ends = chunks(lines, branch, "file_end")
    assert sorted(each["file"] for each in ends) == begun == [*range(len(begun))]
    return [(each["file"], each["path"], each["complete"]) for each in ends]


def test_each_branch_has_files_of_its_own(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer(WHOLE))
    provider.play("two", ANTHROPIC.answer(OPENED))
    lines = compare(program, ["one", "two"], options={"output": FILES}, choose={"by": "first_valid"})
    assert files_of(lines, 0) == [(0, "a.py", True), (1, "b/c.py", True)]
    assert files_of(lines, 1) == [(0, "a.py", False)]
    assert end(lines)["chosen"] == 0
    (done,) = chunks(lines, 0, "branch_done")
    assert [row["path"] for row in done["files"]] == ["a.py", "b/c.py"]


def test_a_branch_that_breaks_off_or_is_cancelled_ends_its_file(program: Program, provider: Provider) -> None:
    provider.play("broken", [*ANTHROPIC.begun(OPENED), RESET])
    provider.play("stuck", [*ANTHROPIC.begun(OPENED), STALL])
    provider.play("one", [Pause(1), *ANTHROPIC.answer(WHOLE)])
    request_id = start(program, ["one", "broken", "stuck"], options={"output": FILES})
    program.let_pass(2)
    assert program.ask("cancel", {"id": request_id, "branch": 2})["data"]["found"]
    lines = program.stream(request_id)
    for branch in (1, 2):
        assert files_of(lines, branch) == [(0, "a.py", False)]
        assert chunks(lines, branch)[-1]["type"] == "branch_error"
    assert len(files_of(lines, 0)) == 2


def test_a_comparison_that_is_cancelled_ends_the_files_of_all_branches(program: Program, provider: Provider) -> None:
    provider.play("one", [*ANTHROPIC.begun(OPENED), STALL])
    provider.play("two", [*ANTHROPIC.begun(WHOLE), STALL])
    request_id = start(program, ["one", "two", "one"], options={"output": FILES})
    program.let_pass(1)
    program.ask("cancel", {"id": request_id})
    lines = program.stream(request_id)
    assert [files_of(lines, branch) for branch in range(3)] == [
        [(0, "a.py", False)],
        [(0, "a.py", True), (1, "b/c.py", True)],
        [(0, "a.py", False)],
    ]


def test_one_line_has_the_files_of_every_branch(program: Program, provider: Provider) -> None:
    provider.play("one", ANTHROPIC.answer(WHOLE))
    data = compare(program, ["one", "one"], options={"output": FILES}, stream=False)[-1].data["data"]
    assert [len(row["answer"]["files"]) for row in data["branches"]] == [2, 2]


def test_a_hedge_brings_the_files_of_the_winner_alone(program: Program, provider: Provider) -> None:
    provider.play("slow", [Pause(5), *ANTHROPIC.answer(OPENED)])
    provider.play("spare", ANTHROPIC.answer(WHOLE))
    hedge = {"after_ms": 500, "models": ["anthropic/spare"]}
    lines = program.stream(begin(program, "slow", output=FILES, hedge=hedge))
    done = lines[-1].data["data"]
    assert [(row["path"], row["files"]) for row in done["files"]] == [("a.py", [0]), ("b/c.py", [1])]


def test_a_fallback_brings_files(program: Program, provider: Provider) -> None:
    provider.play("down", document({"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}}, 529))
    provider.play("gpt-x", OPENAI.answer(WHOLE))
    request_id = begin(program, "down", output=FILES, fallbacks=["openai/gpt-x"], wire=None)
    done = program.stream(request_id)[-1].data["data"]
    assert (done["provider"], len(done["files"])) == ("openai", 2)


def test_a_later_round_may_fall_back(program: Program, provider: Provider) -> None:
    busy = document({"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}}, 529)
    provider.play_in_turn("m", calling("a"), busy)
    provider.play("spare", ANTHROPIC.answer("Done."))
    request_id = begin(program, "m", tools=TOOLS, tool_loop={}, fallbacks=["anthropic/spare"])
    wait_for_round(program, request_id)
    give(program, request_id, "a")
    done = program.stream(request_id)[-1].data["data"]
    assert [each.get("code") for each in done["attempts"]] == [None, "provider_overloaded", None]
    assert [each["role"] for each in done["messages"]] == ["assistant", "tool", "assistant"]


def test_each_round_may_be_hedged(program: Program, provider: Provider) -> None:
    provider.play_in_turn("m", calling("a"), [STALL])
    provider.play("spare", ANTHROPIC.answer("Done."))
    hedge = {"after_ms": 500, "models": ["anthropic/spare"]}
    request_id = begin(program, "m", tools=TOOLS, tool_loop={}, hedge=hedge)
    wait_for_round(program, request_id)
    give(program, request_id, "a")
    done = program.stream(request_id)[-1].data["data"]
    assert [each["role"] for each in done["messages"]] == ["assistant", "tool", "assistant"]
    assert len(done["rounds"]) == 2
    assert [each.get("code") for each in done["attempts"]] == [None, "cancelled", None]


def test_a_branch_has_no_rounds(program: Program, provider: Provider) -> None:
    asked: Object = {"models": ["one", "one"], "messages": [{"role": "user", "content": "Hi"}]}
    error = program.ask("compare", asked | {"options": {"tool_loop": {}}}, provider="anthropic")["error"]
    assert error["code"] == "invalid_request"
    assert error["param"].endswith("options.tool_loop")
    assert provider.calls("one") == []


def test_an_answer_that_is_used_again_has_its_files_again(program: Program, provider: Provider) -> None:
    provider.play("m", ANTHROPIC.answer(*[WHOLE[at : at + 7] for at in range(0, len(WHOLE), 7)]))
    first, second = (program.stream(begin(program, "m", output=FILES, reuse={"scope": "ws:1"})) for _ in range(2))
    assert len(provider.calls("m")) == 1
    assert "reused" in second[0].data["data"]
    assert [line.data["data"] for line in second[1:-1]] == [line.data["data"] for line in first[1:-1]]
    assert second[-1].data["data"]["files"] == first[-1].data["data"]["files"] != []


def test_a_loop_goes_on_with_the_model_that_was_chosen_for_it(program: Program, provider: Provider) -> None:
    provider.play_in_turn("cheap", calling("a"), ANTHROPIC.answer("Done."))
    route = {"models": ["anthropic/dear", "anthropic/cheap"], "prefer": "cost"}
    request_id = begin(program, "auto", route=route, tools=TOOLS, tool_loop={})
    wait_for_round(program, request_id)
    give(program, request_id, "a")
    done = program.stream(request_id)[-1].data["data"]
    assert [each["role"] for each in done["messages"]] == ["assistant", "tool", "assistant"]
    assert (len(provider.calls("cheap")), provider.calls("dear")) == (2, [])


def test_a_task_brings_files_in_every_branch(program: Program, provider: Provider) -> None:
    """The built-in task teaches its format; what a model writes instead is read as well as it can be."""
    provider.play("one", ANTHROPIC.answer("I would rather not."))
    provider.play("two", ANTHROPIC.answer("Neither would I."))
    phase = {"name": "Greet", "description": "Greets.", "files": [{"path": "a.py", "purpose": "Greets."}]}
    asked = {"models": ["one", "two"], "task": "implement_phase", "input": {"phase": phase | {"is_last_phase": True}}}
    lines = program.stream(program.send("compare", asked, provider="anthropic"))
    for branch in (0, 1):
        (done,) = chunks(lines, branch, "branch_done")
        assert done["files"] == []
    assert "<<<< file" in str(provider.call("one").json["system"])


PRESETS = """
[models.files]
model = "m"
provider = "anthropic"
options = {{ output = {{ type = "files" }} }}

[models.loop]
model = "m"
provider = "anthropic"
options = {{ tool_loop = {{}}, token_limit = 10 }}

[providers.anthropic]
base_url = "{url}"
api_key = "sk-ant-made-up"
"""


@pytest.fixture
def preset(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    home, arguments = write_home(tmp_path, PRESETS.format(url=provider.url))
    with InProcess(home, provider, arguments=arguments) as program:
        yield program


@pytest.mark.parametrize(
    ("action", "models"), [("stream_chat", {"model": "files"}), ("compare", {"models": ["files", "files"]})]
)
def test_a_preset_may_ask_for_files(preset: Program, provider: Provider, action: str, models: Object) -> None:
    provider.play("m", [*ANTHROPIC.begun(OPENED, "y = 2\n"), STALL])
    request_id = preset.send(action, models | {"messages": [{"role": "user", "content": "Hi"}]})
    preset.let_pass(1)
    preset.ask("cancel", {"id": request_id})
    ends = [line.data["data"] for line in preset.stream(request_id) if "file_end" in str(line.data)]
    assert [each["path"] for each in ends] == ["a.py"] * len(models.get("models", [1]))


def test_a_preset_may_ask_for_rounds_that_share_its_limits(preset: Program, provider: Provider) -> None:
    provider.play("m", calling("a"))
    asked = {"model": "loop", "messages": [{"role": "user", "content": "Hi"}], "options": {"tools": TOOLS}}
    request_id = preset.send("stream_chat", asked)
    wait_for_round(preset, request_id)
    give(preset, request_id, "a")
    assert preset.stream(request_id)[-1].data["data"]["provider_finish_reason"] == "token_limit"


@pytest.mark.long
def test_the_instructions_count(sidecar: Program) -> None:
    def tokens(**output: Any) -> int:
        messages = [{"role": "user", "content": "Hi"}]
        asked = {"model": "openai/gpt-6", "messages": messages, "options": {"output": FILES | output}}
        found: int = sidecar.ask("count_tokens", asked)["data"]["tokens"]
        return found

    assert 200 < tokens(instruct=True) - tokens() < 500


def test_a_failure_after_the_end_of_an_answer_loses_no_file(sidecar: Program, provider: Provider) -> None:
    """What breaks is the connection that a finished answer came on, while a worker thread places edits."""
    edit = "a.py\n<<<<<<< SEARCH\nline 7\n=======\nseven\n>>>>>>> REPLACE\n"
    steps = ANTHROPIC.answer(edit)
    provider.play("m", [*at_once(steps[:-1]), Pause(0.1), RESET])
    old = "".join(f"line {at}\n" for at in range(40_000))
    asked = params(sidecar, "m", FILES | {"existing": {"a.py": old}})
    done = sidecar.stream(sidecar.send("stream_chat", asked, provider="anthropic"))[-1].data["data"]
    assert done["files"][0]["complete"]
