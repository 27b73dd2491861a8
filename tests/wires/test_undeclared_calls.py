"""Calls of tools that the request does not declare: no host runs them, and the provider gets them back."""

import json
from typing import Any

import msgspec
import pytest

from protocol.messages import Message, OpaquePart, TextPart, ToolCallPart
from protocol.options import Options
from protocol.replies import Chunk
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.core.message_content import make_portable
from sidecar.server.framing import decode_params
from sidecar.wires import registry
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.types import Outcome, Route
from sidecar.wires.shared.undeclared_calls import KIND, list_tool_names
from tests.support import fixtures
from tests.support.decoding import play
from tests.support.fixtures import Case


def _calls_a_tool(case: Case) -> bool:
    return case.has_reply and any(line["type"] == "tool_call" for line in case.expected)


CALLING = [pytest.param(case, id=case.name) for case in fixtures.cases() if _calls_a_tool(case)]


def route(tools: frozenset[str] | None, wire: str = "openai_chat") -> Route:
    return Route(provider="p", wire=wire, model="m", base_url="https://provider.test", tools=tools)


def decode(case: Case, tools: frozenset[str]) -> tuple[list[Chunk], Outcome | None]:
    out: list[Chunk] = []
    to = msgspec.structs.replace(fixtures.route(case), tools=tools)
    try:
        return out, play(to, case.head["status"], case.head["headers"], [case.body], out.extend)
    except SidecarError:
        return out, None


@pytest.mark.parametrize("case", CALLING)
def test_no_call_of_an_undeclared_tool_reaches_the_host(case: Case) -> None:
    out, outcome = decode(case, frozenset())
    assert {type(chunk).__name__ for chunk in out}.isdisjoint({"ToolCallDelta", "ToolCallChunk"})
    if outcome is not None:
        assert outcome.finish_reason != "tool_calls"
        assert not [part for part in outcome.message.content if isinstance(part, ToolCallPart)]
        assert [part for part in outcome.message.content if isinstance(part, OpaquePart)]


@pytest.mark.parametrize("case", CALLING)
def test_an_undeclared_call_comes_back_to_its_provider_with_a_result(case: Case) -> None:
    _, outcome = decode(case, frozenset())
    if outcome is None:
        pytest.skip("the reply is an error")
    hidden = [part for part in outcome.message.content if isinstance(part, OpaquePart) and part.kind == KIND]
    answer = json.loads(msgspec.json.encode(make_portable(outcome.message)))
    messages = [{"role": "user", "content": "Hi"}, answer, {"role": "user", "content": "Go on."}]
    chat = decode_params(json.dumps({"model": "m", "messages": messages}).encode(), Chat)
    body = registry.load(case.wire).encode(chat, fixtures.route(case)).request.body.decode()
    assert KIND not in body
    assert body.count("There is no result of this call.") == len(hidden)


def test_a_call_named_late_is_announced_with_all_that_came_before_its_name() -> None:
    draft, out = Draft(route(frozenset({"look"}))), list[Chunk]()
    draft.begin_call(0, "c1", "", out)
    draft.add_arguments(0, '{"a"', out)
    assert out == []
    draft.name_call(0, "look", out)
    draft.add_arguments(0, ":1}", out)
    draft.end(out)
    plain: list[dict[str, Any]] = msgspec.to_builtins(out)
    assert [chunk.get("arguments_delta") for chunk in plain] == ["", '{"a"', ":1}", None]
    assert plain[-1]["tool_call"]["arguments"] == {"a": 1}


def test_declared_calls_are_numbered_without_a_gap() -> None:
    draft, out = Draft(route(frozenset({"look"}))), list[Chunk]()
    for key, name in enumerate(["made_up", "look", "made_up", "look"]):
        draft.begin_call(key, f"c{key}", name, out)
    assert [chunk["index"] for chunk in msgspec.to_builtins(out)] == [0, 1]
    assert draft.has_tool_calls


def test_a_cut_undeclared_call_is_left_out_of_the_partial_message() -> None:
    draft, out = Draft(route(frozenset())), list[Chunk]()
    draft.add_text("Hm.", out)
    draft.begin_call(0, "c1", "made_up", out)
    draft.add_arguments(0, '{"a"', out)
    assert draft.build_partial().content == [TextPart("Hm.")]


def test_tools_in_the_provider_s_own_words_are_declared_too() -> None:
    options = {
        "tools": [{"name": "plain"}],
        "provider_options": {
            "tools": [
                {"type": "custom", "name": "patch"},
                {"type": "function", "function": {"name": "nested", "parameters": {"properties": {"name": {}}}}},
                {"functionDeclarations": [{"name": "google"}]},
                {"type": "x_search"},
            ],
            "toolConfig": {"tools": [{"toolSpec": {"name": "amazon"}}]},
        },
    }
    names = frozenset({"plain", "patch", "nested", "google", "amazon"})
    assert list_tool_names(msgspec.convert(options, Options)) == names


def test_of_tools_without_a_name_every_call_is_the_host_s() -> None:
    options = {"tools": [{"name": "plain"}], "provider_options": {"tools": [{"computerUse": {"environment": "x"}}]}}
    assert list_tool_names(msgspec.convert(options, Options)) is None


@pytest.mark.parametrize("data", [None, {}, {"call": 1}, {"call": {"type": "text", "txt": ""}}])
def test_a_hidden_call_that_was_changed_is_refused(data: object) -> None:
    state = json.dumps({"provider": "p", "wire": "openai_chat", "model": "m", "data": data})
    message = Message(role="assistant", content=[OpaquePart(kind=KIND, state=state)])
    chat = Chat(model="m", messages=[message])
    with pytest.raises(SidecarError, match="Return it unchanged"):
        registry.load("openai_chat").encode(chat, route(None))
