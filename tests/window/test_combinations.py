"""What is left out of a conversation, and tasks, beside the other things that stand around an answer."""

import msgspec
import pytest

from sidecar.tokens import vocabularies
from tests.support.lines import Object
from tests.window.test_shorten import REPLY, TURNS, Encoding, ask, running

TASKS: Object = {"ask": {"prompt": "Answer: $question", "input": {"question": "text"}, "model": "lab/large"}}
ASK: Object = {"task": "ask", "input": {"question": "Why?"}}
REUSE: Object = {"reuse": {"scope": "tests"}}
TOOLS = [{"name": "look_up", "parameters": {"type": "object", "properties": {}}}]


@pytest.fixture(autouse=True)
def _small_vocabularies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabularies, "load", lambda _: Encoding())


async def test_a_task_is_not_paid_for_twice() -> None:
    async with running(tasks=TASKS) as host:
        host.http.answer_with(REPLY)
        first = await host.ask("generate", ASK | {"options": REUSE})
        again = await host.ask("generate", ASK | {"options": REUSE})
        assert len(host.http.asked) == 1
        assert again["data"]["message"] == first["data"]["message"]
        host.http.answer_with(REPLY)
        await host.ask("generate", ASK | {"input": {"question": "When?"}, "options": REUSE})
        assert len(host.http.asked) == 2


async def test_what_is_left_out_is_no_part_of_what_is_used_again() -> None:
    async with running() as host:
        host.http.answer_with(REPLY)
        options = REUSE | {"overflow": "drop_oldest"}
        first = await host.ask("generate", {"model": "lab/small", "messages": TURNS, "options": options})
        assert first["data"]["shortened"]["dropped"]
        short = [TURNS[0], TURNS[3]]
        again = await host.ask("generate", {"model": "lab/small", "messages": short, "options": options})
        assert len(host.http.asked) == 1
        assert "shortened" not in again["data"]
        assert again["data"]["message"] == first["data"]["message"]


async def test_a_tool_loop_goes_on_from_what_was_left() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    calling = REPLY | {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    async with running() as host:
        host.http.answer_with(calling)
        host.http.answer_with(REPLY)
        options = {"overflow": "drop_oldest", "compact": True, "tools": TOOLS, "tool_loop": {}}
        chat = host.send("stream_chat", {"model": "lab/small", "messages": TURNS, "options": options})
        while not any(line.get("data", {}).get("type") == "tool_round" for line in host.lines):
            await host.wait_for_lines()
        await host.ask("tool_result", {"id": chat, "results": [{"id": "c1", "content": "It is."}]})
        lines = await host.read_reply(chat)
        sent = [msgspec.json.decode(each.request.body)["messages"] for each in host.http.asked]
        assert [[each["role"] for each in messages] for messages in sent] == [
            ["system", "user"],
            ["system", "user", "assistant", "tool"],
        ]
        told = [line["data"]["shortened"] for line in lines if "shortened" in line["data"]]
        assert told == [lines[0]["data"]["shortened"]] * 2


async def test_a_hedge_gets_what_was_left() -> None:
    async with running(limits={"max_attempts": 1}) as host:
        host.http.answer_with({"error": {"message": "Overloaded."}}, status=503)
        options = {"overflow": "drop_oldest", "hedge": {"after_ms": 60_000, "models": ["lab/large"]}}
        line, sent = await ask(host, options)
        assert line["data"]["model"] == "m"
        assert len(sent) == 2
        assert line["data"]["shortened"]["dropped"]
