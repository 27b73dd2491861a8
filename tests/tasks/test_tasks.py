"""Tasks as a host uses them: what a request becomes, whose word counts, and what is refused."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import app
from tests.support.app import Host
from tests.support.lines import CANARY, Object

URL = "https://lab.example/v1"
REPLY = {
    "id": "c-1",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Done."}, "finish_reason": "stop"}],
}
TITLE = {"task": "title", "input": {"text": "How do I cook $rice?"}}


@asynccontextmanager
async def running(folder: Path | None = None, **config: Any) -> AsyncIterator[Host]:
    """Run an app whose user has a provider `lab`."""
    lab = {"lab": {"wire": "openai_chat", "base_url": URL, "api_key": CANARY}}
    async with app.running(providers=lab, store_dir=folder and str(folder), **config) as host:
        yield host


async def ask(host: Host, params: Object, action: str = "generate", **envelope: Any) -> tuple[Object, Object]:
    """Return the terminal line of a chat, and the body that the provider got."""
    host.http.answer_with(REPLY)
    line = await host.ask(action, params, **envelope)
    return line, msgspec.json.decode(host.http.asked[-1].request.body) if host.http.asked else {}


async def refuse(host: Host, params: Object, **envelope: Any) -> Object:
    """Return the error of a chat that no provider hears of."""
    asked = len(host.http.asked)
    error: Object = (await host.ask("generate", params, **envelope))["error"]
    assert error["code"] == "invalid_request"
    assert len(host.http.asked) == asked
    return error


def described(line: Object, task: str) -> Object:
    """Return what `list_tasks` says of *task*."""
    return next(each for each in line["data"]["tasks"] if each["task"] == task)


# --- what a request becomes ------------------------------------------------------------------


async def test_a_task_becomes_its_messages_with_the_inputs_put_in_once() -> None:
    async with running() as host:
        line, body = await ask(host, TITLE | {"model": "lab/m"})
        assert line["data"]["content"] == "Done."
        system, user = body["messages"]
        assert (system["role"], user["role"]) == ("system", "user")
        assert "How do I cook $rice?" in user["content"]


async def test_a_value_that_looks_like_a_template_stays_what_it_is() -> None:
    async with running() as host:
        given = {"language": "$description", "complexity": "basic", "description": "${language} $$ $"}
        _, body = await ask(host, {"model": "lab/m", "task": "generate_code", "input": given})
        assert "Write code in $description that" in body["messages"][1]["content"]
        assert "\n${language} $$ $\n" in body["messages"][1]["content"]


async def test_the_messages_of_the_request_follow() -> None:
    async with running() as host:
        messages = [{"role": "user", "content": "Hi"}]
        _, body = await ask(host, {"model": "lab/m", "task": "converse", "messages": messages})
        assert [each["role"] for each in body["messages"]] == ["system", "user"]
        assert body["messages"][1]["content"] == "Hi"
        _, body = await ask(host, TITLE | {"model": "lab/m", "messages": messages})
        assert [each["role"] for each in body["messages"]] == ["system", "user", "user"]


async def test_an_image_follows_the_prompt() -> None:
    async with running() as host:
        given = {"screenshot": {"data": "iVBORw0KGgo=", "media_type": "image/png"}}
        _, body = await ask(host, {"model": "lab/m", "task": "analyze_screenshot", "input": given})
        assert [part["type"] for part in body["messages"][1]["content"]] == ["text", "image_url"]


async def test_an_answer_in_json_has_the_schema_of_its_row() -> None:
    async with running() as host:
        params = {"model": "lab/m", "task": "design_phase", "input": {"description": "A clock."}}
        line, body = await ask(host, params)
        assert body["response_format"]["json_schema"]["name"] == "design_phase"
        assert line["data"]["structured"]["valid"] is False
        _, body = await ask(host, params | {"options": {"response_format": {"type": "text"}}})
        assert "json_schema" not in str(body)


async def test_what_is_cut_is_told_in_the_answer() -> None:
    async with running(tasks={"title": {"max_chars": 100}}) as host:
        line, body = await ask(host, {"model": "lab/m", "task": "title", "input": {"text": "x" * 150}})
        (warning,) = line["data"]["warnings"]
        assert (warning["code"], warning["param"]) == ("input_cut", "params.input.text")
        assert "[Cut: these are the first 100 of 150 characters.]" in body["messages"][1]["content"]


async def test_the_stream_of_a_task_tells_it_in_start() -> None:
    async with running(tasks={"title": {"max_chars": 100}}) as host:
        host.http.answer_with(REPLY)
        params = {"model": "lab/m", "task": "title", "input": {"text": "x" * 150}}
        first, *_, last = await host.read_reply(host.send("stream_chat", params))
        assert first["data"]["warnings"] == last["data"]["warnings"]
        assert first["data"]["warnings"][0]["code"] == "input_cut"


@pytest.mark.long
async def test_the_tokens_of_a_task_are_those_of_its_chat() -> None:
    async with running() as host:
        counted = (await host.ask("count_tokens", TITLE | {"model": "lab/m"}))["data"]["tokens"]
        _, body = await ask(host, TITLE | {"model": "lab/m"})
        same = (await host.ask("count_tokens", {"model": "lab/m", "messages": body["messages"]}))["data"]["tokens"]
        assert counted == same > 30
        both = await host.ask("count_tokens", TITLE | {"model": "lab/m", "text": "x"})
        assert both["error"]["param"] == "params.messages"


async def test_an_answer_to_a_task_can_be_resumed() -> None:
    async with running() as host:
        message = {"role": "assistant", "content": "Cooking "}
        params = TITLE | {"model": "lab/m", "method": "continue_prompt", "partial_message": message}
        line, body = await ask(host, params, action="resume")
        assert line["data"]["message"]["content"][0]["text"] == "Cooking Done."
        assert [each["role"] for each in body["messages"]] == ["system", "user", "assistant", "user"]


# --- whose word counts -----------------------------------------------------------------------


async def test_the_request_comes_before_set_task_that_before_the_configuration_that_before_the_row(
    tmp_path: Path,
) -> None:
    options = {"max_tokens": 1, "temperature": 0.1, "top_p": 0.1}
    tasks = {"title": {"model": "lab/configured", "options": options}}
    async with running(tmp_path, tasks=tasks, task_model="lab/default") as host:
        _, body = await ask(host, TITLE)
        assert (body["model"], body["temperature"], body["top_p"]) == ("configured", 0.1, 0.1)
        await host.ask("set_task", {"task": "title", "model": "lab/set", "options": {"temperature": 0.2, "top_p": 0.2}})
        _, body = await ask(host, TITLE)
        assert (body["model"], body["temperature"], body["top_p"]) == ("set", 0.2, 0.2)
        _, body = await ask(host, TITLE | {"model": "lab/asked", "options": {"top_p": 0.3}})
        assert (body["model"], body["temperature"], body["top_p"]) == ("asked", 0.2, 0.3)
        assert body["max_tokens"] == 1
        title = described(await host.ask("list_tasks"), "title")
        assert title["sources"] == {
            "prompt": "built_in",
            "model": "set_task",
            "options.max_tokens": "configuration",
            "options.temperature": "set_task",
            "options.top_p": "set_task",
        }
        assert (title["model"], title["options"]) == ("lab/set", {"max_tokens": 1, "temperature": 0.2, "top_p": 0.2})


async def test_a_task_without_a_model_takes_the_default() -> None:
    async with running(task_model="lab/default") as host:
        _, body = await ask(host, TITLE)
        assert body["model"] == "default"
        title = described(await host.ask("list_tasks"), "title")
        assert (title["model"], title["sources"]["model"]) == ("lab/default", "default")


async def test_a_list_of_models_or_a_chain_is_a_model_and_its_fallbacks() -> None:
    tasks = {"title": {"models": ["lab/a", "lab/b"]}, "plan": {"chain": "careful"}}
    async with running(tasks=tasks, chains={"careful": ["lab/c", "lab/d", "lab/e"]}) as host:
        line = await host.ask("list_tasks")
        assert [described(line, "title")[key] for key in ("model", "fallbacks")] == ["lab/a", ["lab/b"]]
        assert [described(line, "plan")[key] for key in ("model", "fallbacks")] == ["lab/c", ["lab/d", "lab/e"]]
        assert described(line, "plan")["sources"]["fallbacks"] == "configuration"


async def test_a_fallback_of_the_task_answers_when_its_model_does_not() -> None:
    tasks = {"title": {"models": ["lab/down", "lab/up"]}}
    async with running(tasks=tasks, limits={"max_attempts": 1}) as host:
        host.http.answer_with({"error": {"message": "Overloaded."}}, status=503)
        line, body = await ask(host, TITLE)
        assert [attempt["model"] for attempt in line["data"]["attempts"]] == ["down", "up"]
        assert body["messages"][1]["content"].count("$rice") == 1


async def test_a_task_of_the_users_own_is_one_like_any_other() -> None:
    own = {"input": {"word": "text"}, "prompt": "What is $word? It costs $$5.", "model": "lab/m"}
    async with running(tasks={"define": own}) as host:
        _, body = await ask(host, {"task": "define", "input": {"word": "rain"}})
        assert [each["content"] for each in body["messages"]] == ["What is rain? It costs $5."]
        assert described(await host.ask("list_tasks"), "define")["sources"]["prompt"] == "configuration"


# --- set_task and list_tasks -----------------------------------------------------------------


async def test_what_is_set_is_told_lasts_and_can_be_reset(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        params = {"task": "title", "model": "lab/set", "fallbacks": ["lab/next"], "options": {"max_tokens": 9}}
        data = (await host.ask("set_task", params))["data"]
        assert (data["storage"], data["task"]["model"], data["task"]["fallbacks"]) == ("file", "lab/set", ["lab/next"])
        data = (await host.ask("set_task", {"task": "title", "model": "lab/other"}))["data"]
        assert (data["task"]["fallbacks"], data["task"]["options"]) == (["lab/next"], {"max_tokens": 9})
    async with running(tmp_path) as host:
        assert described(await host.ask("list_tasks"), "title")["model"] == "lab/other"
        data = (await host.ask("set_task", {"task": "title", "reset": True}))["data"]
        assert (data["task"]["model"], data["task"]["fallbacks"], data["task"]["options"]) == (None, [], {})


async def test_a_list_that_is_too_long_for_the_host_comes_in_pages() -> None:
    async with running() as host:
        whole = (await host.ask("list_tasks"))["data"]["tasks"]
        await host.ask("initialize", {"max_line_bytes": 16384})
        page = (await host.ask("list_tasks"))["data"]
        assert 0 < page["next_offset"] < len(whole)
        rest = (await host.ask("list_tasks", {"offset": page["next_offset"]}))["data"]
        assert "next_offset" not in rest
        assert page["tasks"] + rest["tasks"] == whole


async def test_the_ledger_knows_the_task(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    async with running(ledger_path=str(ledger)) as host:
        await ask(host, TITLE | {"model": "lab/m"})
        await ask(host, {"model": "lab/m", "messages": [{"role": "user", "content": "Hi"}]})
        await host.app.upstream.ledger.flush()
    with closing(sqlite3.connect(ledger)) as database:
        assert database.execute("SELECT task FROM attempts ORDER BY rowid").fetchall() == [("title",), (None,)]


async def test_a_task_may_take_a_route(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        options = {"route": {"models": ["lab/one"]}}
        data = (await host.ask("set_task", {"task": "title", "model": "auto", "options": options}))["data"]
        assert data["task"]["model"] == "auto"
        line, body = await ask(host, TITLE)
        assert (body["model"], line["data"]["route"]["why"]) == ("one", "only_one")
        error = (await host.ask("set_task", {"task": "title", "fallbacks": ["auto"]}))["error"]
        assert error["param"] == "params.fallbacks[0]"


async def test_fallbacks_among_the_options_are_the_fallbacks() -> None:
    async with running() as host:
        params = {"task": "title", "options": {"fallbacks": ["lab/a"], "max_tokens": 2}}
        task = (await host.ask("set_task", params))["data"]["task"]
        assert (task["fallbacks"], task["options"]) == (["lab/a"], {"max_tokens": 2})
        assert task["sources"]["fallbacks"] == "set_task"


async def test_without_a_folder_it_is_kept_in_memory_and_says_so() -> None:
    async with running() as host:
        data = (await host.ask("set_task", {"task": "title", "model": "lab/set"}))["data"]
        assert (data["storage"], [each["code"] for each in data["warnings"]]) == ("memory", ["tasks_not_kept"])
        _, body = await ask(host, TITLE)
        assert body["model"] == "set"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"task": "titel", "model": "lab/m"}, "params.task"),
        ({"task": "title", "model": "nobody/m"}, "params.model"),
        ({"task": "title", "fallbacks": ["lab/m", "m"]}, "params.fallbacks[1]"),
        ({"task": "title", "options": {"temperature": 3}}, "params.options.temperature"),
        ({"task": "No Task"}, "params.task"),
    ],
)
async def test_what_could_not_be_run_is_not_set(tmp_path: Path, params: Object, param: str) -> None:
    async with running(tmp_path) as host:
        assert (await host.ask("set_task", params))["error"]["param"] == param
        assert described(await host.ask("list_tasks"), "title")["sources"] == {"prompt": "built_in"}


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "param", "words"),
    [
        ({"task": "titel"}, "params.task", "`title`"),
        ({"task": "zzz"}, "params.task", "`list_tasks`"),
        ({"task": "title"}, "params.input.text", ""),
        ({"task": "title", "input": {"text": "x", "txet": "y"}}, "params.input.txet", "`params.input.text`"),
        ({"task": "title", "input": {"text": "x"}}, "params.model", "`[tasks] default`"),
        ({"task": "converse", "model": "lab/m"}, "params.messages", ""),
        ({"model": "lab/m", "messages": [{"role": "user", "content": "x"}], "input": {"a": 1}}, "params.input", ""),
        ({"model": "lab/m", "task": "title", "input": []}, "params.input.text", ""),
        ({"model": "lab/m", "task": "title", "input": {"text": "x"}, "messages": []}, "params.messages", ""),
    ],
)
async def test_a_request_that_cannot_be_run_says_what_to_do(params: Object, param: str, words: str) -> None:
    async with running() as host:
        error = await refuse(host, params)
        assert error["param"] == param
        assert words in error.get("hint", "")


@pytest.mark.parametrize(
    ("envelope", "more", "param"),
    [
        ({"provider": "openai"}, {}, "provider"),
        ({}, {"api_key": CANARY}, "params.api_key"),
        ({}, {"base_url": URL}, "params.base_url"),
        ({}, {"settings": {"region": "x"}}, "params.settings"),
    ],
)
async def test_a_key_of_the_request_never_goes_to_a_model_that_the_request_does_not_name(
    envelope: Object, more: Object, param: str
) -> None:
    async with running(task_model="lab/default") as host:
        assert (await refuse(host, TITLE | more, **envelope))["param"] == param
