"""Which calls of an answer reach the host: those of the tools that its request declares."""

from typing import Any

from tests.support.fake_provider import Provider
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.reply_scripts import OPENAI, stream


def call(index: int, name: str) -> bytes:
    from tests.support.reply_scripts import _choice

    function = {"name": name, "arguments": '{"a": 1}'}
    return _choice({"tool_calls": [{"index": index, "id": f"c{index}", "type": "function", "function": function}]})


def ask(sidecar: Program, provider: Provider, called: list[str], **options: Any) -> list[Object]:
    calls = [call(index, name) for index, name in enumerate(called)]
    model = provider.play("m", stream([OPENAI.opening, OPENAI.text("Let me see."), *calls, OPENAI.closing]))
    params = sidecar.params(model, OPENAI)
    params["options"] |= options
    lines = sidecar.stream(sidecar.send("stream_chat", params, provider=OPENAI.provider))
    return [line.data["data"] for line in lines]


def test_only_calls_of_declared_tools_are_tool_calls(sidecar: Program, provider: Provider) -> None:
    chunks = ask(sidecar, provider, ["x_search", "look"], tools=[{"name": "look"}])
    assert [each["tool_call"]["name"] for each in chunks if each["type"] == "tool_call"] == ["look"]
    assert [part["type"] for part in chunks[-1]["message"]["content"]] == ["text", "opaque", "tool_call"]
    assert chunks[-1]["finish_reason"] == "tool_calls"
    assert [each["code"] for each in chunks[-1]["warnings"]] == ["undeclared_tool_call"]
    assert not chunks[0]["warnings"]


def test_a_turn_that_declares_no_tools_gets_no_calls(sidecar: Program, provider: Provider) -> None:
    chunks = ask(sidecar, provider, ["look"])
    assert {each["type"] for each in chunks} == {"start", "content", "done"}
    assert chunks[-1]["finish_reason"] != "tool_calls"


def test_a_tool_in_the_provider_s_own_words_is_declared(sidecar: Program, provider: Provider) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    chunks = ask(sidecar, provider, ["look"], provider_options={"tools": tools})
    assert [each["tool_call"]["name"] for each in chunks if each["type"] == "tool_call"] == ["look"]


def test_replay_knows_the_tools_of_the_recorded_request(sidecar: Program) -> None:
    def play(model: str) -> set[str]:
        params = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        lines = sidecar.stream(sidecar.send("stream_chat", params, provider="replay"))
        return {line.data["data"]["type"] for line in lines}

    assert "tool_call" in play("openai_responses/custom_tools")
    assert "tool_call" not in play("openai_responses/server_tools")
