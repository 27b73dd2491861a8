"""`fit`, `overflow` and `compact` as a host uses them: what is planned, what is sent, what is said of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from sidecar.catalogue.overlay import make_correction
from sidecar.tokens import vocabularies
from tests.support import app
from tests.support.app import Host
from tests.support.lines import CANARY, Object

REPLY = {
    "id": "c-1",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": '{"a": 1}'}, "finish_reason": "stop"}],
}
WORDS = "word " * 99 + "word"
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": WORDS},
    {"role": "assistant", "content": WORDS},
    {"role": "user", "content": "And now?"},
]


class Encoding:
    """Counts the words of a text."""

    def encode_ordinary(self, text: str) -> list[int]:
        return [0] * len(text.split())


@pytest.fixture(autouse=True)
def _small_vocabularies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabularies, "load", lambda _: Encoding())


@asynccontextmanager
async def running(**config: Any) -> AsyncIterator[Host]:
    """Run an app whose user has a provider `lab`, with a small model and a large one."""
    lab = {"lab": {"wire": "openai_chat", "base_url": "https://lab.example/v1", "api_key": CANARY}}
    rows = {"small": {"context_length": 240}, "large": {"context_length": 10**6}}
    corrections = {"lab": {name: make_correction(row) for name, row in rows.items()}}
    async with app.running(providers=lab, corrections=corrections, **config) as host:
        yield host


async def ask(host: Host, options: Object, model: str = "lab/small", **params: Any) -> tuple[Object, list[Object]]:
    """Return the answer to a chat, and the messages that the provider got."""
    host.http.answer_with(REPLY)
    line = await host.ask("generate", {"model": model, "messages": TURNS, "options": options} | params)
    sent = msgspec.json.decode(host.http.asked[-1].request.body)["messages"] if host.http.asked else []
    return line, sent


# --- fit -------------------------------------------------------------------------------------


async def test_a_conversation_that_is_too_long_gets_a_plan_and_nothing_is_sent() -> None:
    async with running() as host:
        plan = (await host.ask("fit", {"model": "lab/small", "messages": TURNS, "reserve_output": 40}))["data"]
        assert (plan["fits"], plan["limit"], plan["fits_after"]) == (False, 200, True)
        assert plan["drop"] == [{"first": 1, "last": 2, "tokens": plan["tokens"] - plan["tokens_after"]}]
        assert (plan["cache_lost_from"], plan["clear_tool_results"]) == (1, [])
        assert 200 < plan["tokens"] < 350
        assert not host.http.asked


async def test_a_conversation_that_fits_is_left_as_it_is() -> None:
    async with running() as host:
        plan = (await host.ask("fit", {"model": "lab/large", "messages": TURNS}))["data"]
        assert (plan["fits"], plan["drop"], plan["cache_lost_from"]) == (True, [], None)
        assert plan["limit"] == 10**6 - 32_000


@pytest.mark.parametrize(
    ("params", "limit"),
    [({}, 180), ({"options": {"max_tokens": 100}}, 140), ({"reserve_output": 0, "options": {"max_tokens": 9}}, 240)],
)
async def test_room_for_the_answer_is_kept_free(params: Object, limit: int) -> None:
    async with running() as host:
        plan = (await host.ask("fit", {"model": "lab/small", "messages": TURNS} | params))["data"]
        assert plan["limit"] == limit


async def test_without_a_known_limit_nothing_is_planned() -> None:
    async with running() as host:
        plan = (await host.ask("fit", {"model": "lab/unknown", "messages": TURNS}))["data"]
        assert (plan["fits"], plan["limit"], plan["fits_after"], plan["drop"]) == (None, None, None, [])


async def test_what_must_stay_may_be_too_long() -> None:
    async with running() as host:
        params = {"model": "lab/small", "messages": TURNS, "keep": ["system", "first_turn"]}
        plan = (await host.ask("fit", params))["data"]
        assert (plan["fits_after"], plan["drop"]) == (False, [])


async def test_tools_are_part_of_the_prompt() -> None:
    async with running() as host:
        params = {"model": "lab/small", "messages": TURNS}
        plain = (await host.ask("fit", params))["data"]["tokens"]
        tools = [{"name": "look_up", "description": WORDS}]
        assert (await host.ask("fit", params | {"options": {"tools": tools}}))["data"]["tokens"] > plain + 50


async def test_a_route_has_no_window() -> None:
    async with running() as host:
        error = (await host.ask("fit", {"model": "auto", "messages": TURNS}))["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.model")


async def test_without_a_vocabulary_the_plan_goes_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Encoding:
        raise vocabularies.VocabularyError(name)

    monkeypatch.setattr(vocabularies, "load", fail)
    async with running() as host:
        plan = (await host.ask("fit", {"model": "lab/small", "messages": TURNS}))["data"]
        assert (plan["error_band_pct"], plan["drop"][0]["first"]) == (60, 1)


# --- overflow --------------------------------------------------------------------------------


async def test_what_does_not_fit_is_left_out_and_told() -> None:
    async with running() as host:
        line, sent = await ask(host, {"overflow": "drop_oldest"})
        assert [each["content"] for each in sent] == ["Be brief.", "And now?"]
        plan = (await host.ask("fit", {"model": "lab/small", "messages": TURNS}))["data"]
        assert line["data"]["shortened"] == {
            "dropped": plan["drop"],
            "tokens": plan["tokens"],
            "tokens_after": plan["tokens_after"],
            "limit": 180,
            "cache_lost_from": 1,
        }


async def test_a_stream_tells_it_in_its_first_and_its_last_chunk() -> None:
    async with running() as host:
        host.http.answer_with(REPLY)
        params = {"model": "lab/small", "messages": TURNS, "options": {"overflow": "drop_oldest", "compact": True}}
        first, *between, last = await host.read_reply(host.send("stream_chat", params))
        assert first["data"]["shortened"] == last["data"]["shortened"]
        assert first["data"]["shortened"]["dropped"][0]["first"] == 1
        assert first["data"]["shortened"]["compacted_chars"] == 0
        assert all("shortened" not in each["data"] for each in between)


async def test_nothing_is_said_where_nothing_is_left_out() -> None:
    async with running() as host:
        line, sent = await ask(host, {"overflow": "drop_oldest"}, model="lab/large")
        assert "shortened" not in line["data"]
        assert len(sent) == len(TURNS)


async def test_results_of_tools_are_cleared_first_if_the_host_says_so() -> None:
    call = {"type": "tool_call", "id": "c1", "name": "f", "arguments": {}, "arguments_text": "{}"}
    result = {"type": "tool_result", "id": "c1", "content": WORDS}
    messages = [TURNS[1], {"role": "assistant", "content": [call]}, {"role": "tool", "content": [result]}, *TURNS[3:]]
    async with running() as host:
        line, sent = await ask(host, {"overflow": "clear_tool_results"}, messages=messages)
        assert [each["message"] for each in line["data"]["shortened"]["cleared"]] == [2]
        assert sent[2]["content"] == "[This result was removed to save space.]"


async def test_a_limit_that_is_not_known_is_told() -> None:
    async with running() as host:
        line, sent = await ask(host, {"overflow": "drop_oldest"}, model="lab/unknown")
        (warning,) = line["data"]["warnings"]
        assert (warning["code"], warning["param"]) == ("option_left_out", "params.options.overflow")
        assert len(sent) == len(TURNS)


async def test_overflow_does_not_go_with_a_route() -> None:
    async with running() as host:
        error = (await ask(host, {"overflow": "drop_oldest"}, model="auto"))[0]["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.options.overflow")


# --- together --------------------------------------------------------------------------------


async def test_the_prompt_of_a_task_is_never_left_out() -> None:
    tasks = {"ask": {"prompt": "Answer: $question", "input": {"question": "text"}}}
    async with running(tasks=tasks) as host:
        more: Object = {"task": "ask", "input": {"question": "Why?"}, "messages": TURNS[1:]}
        line, sent = await ask(host, {"overflow": "drop_oldest"}, **more)
        assert [each["content"] for each in sent] == ["Answer: Why?", "And now?"]
        assert line["data"]["shortened"]["dropped"][0]["first"] == 1


async def test_a_fallback_gets_what_fits_into_the_first_model() -> None:
    async with running(limits={"max_attempts": 1}) as host:
        host.http.answer_with({"error": {"message": "Overloaded."}}, status=503)
        line, sent = await ask(host, {"overflow": "drop_oldest", "fallbacks": ["lab/large"]})
        assert [attempt["model"] for attempt in line["data"]["attempts"]] == ["small", "large"]
        assert len(sent) == 2
        assert line["data"]["shortened"]["dropped"]


async def test_compact_goes_with_json() -> None:
    async with running() as host:
        content = "Give  me   \n\n\n\nJSON:\n```\n{ }  \n```\n"
        options = {"compact": True, "response_format": {"type": "json"}}
        line, sent = await ask(host, options, messages=[{"role": "user", "content": content}])
        assert sent[-1]["content"] == "Give  me\n\nJSON:\n```\n{ }  \n```\n"
        assert line["data"]["shortened"] == {"compacted_chars": 5}
        assert line["data"]["structured"]["value"] == {"a": 1}


async def test_compact_goes_with_files_whose_texts_it_leaves_alone() -> None:
    given = {"phase": {"name": "N", "description": "D  \n\n\n\nE"}, "files": {"a.py": "x = 1  \n\n\n\n"}}
    async with running() as host:
        params = {"task": "implement_phase", "input": given}
        host.http.answer_with(REPLY)
        await host.ask("generate", {"model": "lab/large", "options": {"compact": True}} | params)
        sent = msgspec.json.decode(host.http.asked[-1].request.body)["messages"]
        prompt = "\n".join(each["content"] for each in sent)
        assert "D\n\nE" in prompt
        assert "a.py\n```\nx = 1  \n\n\n\n```" in prompt


async def test_a_preset_may_ask_for_it() -> None:
    tidy = {"model": "small", "provider": "lab", "options": {"compact": True, "overflow": "drop_oldest"}}
    async with running(models={"tidy": tidy}) as host:
        line, sent = await ask(host, {}, model="tidy", messages=[*TURNS[:3], {"role": "user", "content": "a  \nb"}])
        assert [each["content"] for each in sent] == ["Be brief.", "a\nb"]
        assert line["data"]["shortened"]["compacted_chars"] == 2
        line, sent = await ask(host, {"overflow": "clear_tool_results"}, model="tidy", messages=TURNS[-1:])
        assert line["data"]["shortened"] == {"compacted_chars": 0}


async def test_each_branch_leaves_out_what_its_own_model_cannot_take() -> None:
    async with running() as host:
        for _ in range(2):
            host.http.answer_with(REPLY)
        params = {"models": ["lab/small", "lab/large"], "messages": TURNS, "options": {"overflow": "drop_oldest"}}
        line = await host.ask("compare", params | {"stream": False, "concurrency": 1})
        assert [len(msgspec.json.decode(each.request.body)["messages"]) for each in host.http.asked] == [2, 4]
        assert line["success"]


async def test_the_prompt_of_a_task_stays_in_every_branch() -> None:
    tasks = {"ask": {"prompt": "Answer: $question", "input": {"question": "text"}}}
    async with running(tasks=tasks) as host:
        for _ in range(2):
            host.http.answer_with(REPLY)
        params = {"models": ["lab/small"] * 2, "task": "ask", "input": {"question": "Why?"}, "messages": TURNS[1:]}
        await host.ask("compare", params | {"stream": False, "options": {"overflow": "drop_oldest"}})
        for each in host.http.asked:
            sent = msgspec.json.decode(each.request.body)["messages"]
            assert [message["content"] for message in sent] == ["Answer: Why?", "And now?"]
