"""Tasks whose answer is code or files: what the model is asked for, and what comes out."""

import re
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorBody
from protocol.requests import Chat
from sidecar.config import task_rows
from sidecar.config.task_rows import TaskRow
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.tasks.expand import expand
from sidecar.tasks.table import TaskTable
from tests.tasks.test_tasks import REPLY, ask, described, refuse, running

PHASE = {"name": "Speed up", "description": "Double it.", "files": [{"path": "a.py", "purpose": "The only one."}]}
GIVEN = {"phase": PHASE, "files": {"a.py": "x = 1\ny = 1\n"}}
IMPLEMENT = {"model": "lab/m", "task": "implement_phase", "input": GIVEN}
CODE = {"language": "python", "complexity": "basic", "description": "Add."}


def answering(text: str) -> Any:
    """Return the answer of a provider that says *text*."""
    message = {"role": "assistant", "content": text}
    return REPLY | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


async def test_files_of_the_input_are_those_that_the_answer_changes() -> None:
    async with running() as host:
        _, body = await ask(host, IMPLEMENT)
        prompt = "\n".join(each["content"] for each in body["messages"])
        assert "a.py\n```\nx = 1\ny = 1\n```" in prompt
        (nonce,) = set(re.findall(r"<<<< edit (\w+)", prompt))
        edit = f"<<<< edit {nonce} a.py\n<<<< search {nonce}\nx = 1\n==== {nonce}\nx = 2\n>>>> search {nonce}\n"
        host.http.answer_with(answering(f"{edit}>>>> edit {nonce}\n"))
        data = (await host.ask("generate", IMPLEMENT))["data"]
        (row,) = data["files"]
        assert (row["path"], row["complete"], row["content"]) == ("a.py", True, "x = 2\ny = 1\n")


async def test_files_that_are_cut_in_the_prompt_are_whole_where_edits_are_applied() -> None:
    long = "x = 1\n" + "# more\n" * 100
    async with running(tasks={"implement_phase": {"max_file_chars": 100}}) as host:
        params = IMPLEMENT | {"input": GIVEN | {"files": {"a.py": long}}}
        line, body = await ask(host, params)
        assert [warning["code"] for warning in line["data"]["warnings"]][:1] == ["input_cut"]
        prompt = "\n".join(each["content"] for each in body["messages"])
        (nonce,) = set(re.findall(r"<<<< edit (\w+)", prompt))
        edit = f"<<<< edit {nonce} a.py\n<<<< search {nonce}\nx = 1\n==== {nonce}\nx = 2\n>>>> search {nonce}\n"
        host.http.answer_with(answering(f"{edit}>>>> edit {nonce}\n"))
        (row,) = (await host.ask("generate", params))["data"]["files"]
        assert row["content"] == "x = 2\n" + long[6:]


async def test_without_files_a_phase_creates_them() -> None:
    async with running() as host:
        line, body = await ask(host, IMPLEMENT | {"input": {"phase": PHASE}})
        assert line["data"]["files"] == []
        assert "(none)" in "\n".join(each["content"] for each in body["messages"])


async def test_code_comes_out_in_the_language_of_the_input() -> None:
    async with running() as host:
        host.http.answer_with(answering("```go\nvar x int\n```\n```python\nx = 1\n```\n"))
        data = (await host.ask("generate", {"model": "lab/m", "task": "generate_code", "input": CODE}))["data"]
        assert (data["code"]["language"], data["code"]["code"]) == ("python", "x = 1\n")


async def test_a_request_may_ask_for_another_shape() -> None:
    async with running() as host:
        params = {"model": "lab/m", "task": "generate_code", "input": CODE}
        line, _ = await ask(host, params | {"options": {"output": {"type": "text"}}})
        assert "code" not in line["data"]
        line, body = await ask(host, params | {"options": {"response_format": {"type": "json"}}})
        assert "code" not in line["data"]
        assert body["response_format"] == {"type": "json_object"}


async def test_an_input_that_no_shape_takes_is_named() -> None:
    async with running() as host:
        given = CODE | {"language": "a\nb"}
        error = await refuse(host, {"model": "lab/m", "task": "generate_code", "input": given})
        assert error["param"] == "params.input.language"
        assert "`language` of `params.options.output`" in error["message"]


async def test_a_fallback_answers_a_task_with_files() -> None:
    tasks = {"implement_phase": {"models": ["lab/down", "lab/up"]}}
    async with running(tasks=tasks, limits={"max_attempts": 1}) as host:
        host.http.answer_with({"error": {"message": "Overloaded."}}, status=503)
        line, body = await ask(host, {"task": "implement_phase", "input": GIVEN})
        assert [attempt["model"] for attempt in line["data"]["attempts"]] == ["down", "up"]
        assert "".join(str(each["content"]) for each in body["messages"]).count("x = 1") == 1


async def test_the_shape_of_the_answer_is_told() -> None:
    async with running() as host:
        line = await host.ask("list_tasks")
        assert described(line, "implement_phase")["output"] == {
            "type": "files",
            "existing": "$files",
            "instruct": True,
        }
        assert described(line, "title")["output"] is None


@pytest.mark.long
async def test_the_tokens_of_a_task_are_those_of_its_prompt_and_its_instructions() -> None:
    async with running() as host:
        counted = (await host.ask("count_tokens", IMPLEMENT))["data"]["tokens"]
        _, body = await ask(host, IMPLEMENT)
        same = (await host.ask("count_tokens", {"model": "lab/m", "messages": body["messages"]}))["data"]["tokens"]
        assert counted == same > 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "name", "url", "a"]), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(task_rows.read_built_in())), st.data())
def test_whatever_a_host_sends_as_input_is_taken_or_named(name: str, data: st.DataObject) -> None:
    row = msgspec.convert(task_rows.read_built_in()[name], TaskRow)
    sent = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys([*row.input, "other"], JSON)))
    asked = Chat(model="lab/m", task=name, input=sent)
    refused = list[ErrorBody]()
    try:
        chat, _ = anyio.run(expand, TaskTable(Config(path="")), None, asked)
    except SidecarError as error:
        refused.append(error.body)
        chat = asked
    assert all(each.code == "invalid_request" for each in refused)
    assert all((each.param or "").startswith(("params.input.", "params.messages")) for each in refused)
    assert refused or (chat.messages and not chat.input)
