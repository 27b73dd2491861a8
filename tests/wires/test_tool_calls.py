"""Tool calls from other providers: their ids become unique, results follow them, and no call lacks its result."""

import re
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import Message, Part, Tool, ToolCallPart, ToolResultPart
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.core.message_content import list_parts
from sidecar.wires import registry
from sidecar.wires.shared import tool_calls
from sidecar.wires.shared.types import Route

FORBIDDEN = re.compile("[^a-z0-9_-]")


def call(call_id: str, name: str = "look") -> ToolCallPart:
    return ToolCallPart(id=call_id, name=name, arguments={})


def turn(*ids: str) -> Message:
    return Message(role="assistant", content=[call(each) for each in ids])


def answer(*ids: str) -> Message:
    return Message(role="tool", content=[ToolResultPart(each, f"of {each}") for each in ids])


def ids(messages: list[Message]) -> list[list[str]]:
    parts = [list_parts(message) for message in messages]
    return [[p.id for p in each if isinstance(p, ToolCallPart | ToolResultPart)] for each in parts]


def test_an_id_that_comes_again_gets_a_number_and_so_does_its_result() -> None:
    messages = [turn("a", "a"), answer("a", "a"), turn("a"), answer("a")]
    assert ids(tool_calls.pair_calls(messages)) == [["a", "a-2"], ["a", "a-2"], ["a-3"], ["a-3"]]


def test_an_id_that_looks_like_a_numbered_one_stays_apart_from_it() -> None:
    assert ids(tool_calls.pair_calls([turn("a", "a-2", "a"), answer("a-2", "a", "a")])) == [
        ["a", "a-2", "a-3"],
        ["a-2", "a", "a-3"],
    ]


def test_a_call_without_a_result_gets_one_after_what_the_user_said() -> None:
    said = Message(role="user", content="Never mind.")
    paired = tool_calls.pair_calls([turn("a", "b"), answer("b"), said, turn("c")])
    assert ids(paired) == [["a", "b"], ["b"], ["a"], ["c"]]
    last = list_parts(paired[2])[-1]
    assert isinstance(last, ToolResultPart)
    assert last.is_error
    assert last.content == tool_calls.NO_RESULT


@pytest.mark.parametrize("order", [1, -1], ids=["in turn", "backwards"])
def test_ids_that_all_calls_share_are_told_apart_in_linear_time(order: int) -> None:
    def seconds(count: int) -> float:
        called = [f"call_{at % 2}" for at in range(count)]
        messages = [turn(*called), answer(*called[::order])]
        began = time.thread_time()
        made = ids(tool_calls.pair_calls(messages, lambda each: tool_calls.sanitize_id(each, FORBIDDEN)))
        took = time.thread_time() - began
        assert len(set(made[0])) == len(made[0]) == count
        assert sorted(made[0]) == sorted(made[1])
        return took

    small = max(min(seconds(1000) for _ in range(3)), 0.002)
    # Twenty times as many may take twenty times as long, and as much again.
    assert min(seconds(20_000) for _ in range(2)) < 40 * small


def test_messages_without_calls_stay_as_they_are() -> None:
    messages = [Message(role="user", content="Hi"), Message(role="assistant", content="Hello")]
    assert all(after is before for after, before in zip(tool_calls.pair_calls(messages), messages, strict=True))


def test_names_of_declared_tools_stay_and_others_are_made_to_fit() -> None:
    fit = tool_calls.make_name_fit([Tool(name="fs.read")])
    assert [fit("fs.read"), fit("fs.write"), fit(""), fit("x" * 70)] == ["fs.read", "fs_write", "_", "x" * 64]


@pytest.mark.long
@given(st.lists(st.lists(st.text(max_size=80), max_size=4), max_size=5))
def test_fitted_ids_are_unique_keep_to_the_alphabet_and_stand_on_their_results(given_ids: list[list[str]]) -> None:
    messages = [each for group in given_ids for each in (turn(*group), answer(*reversed(group)))]
    made = ids(tool_calls.pair_calls(messages, lambda each: tool_calls.sanitize_id(each, FORBIDDEN)))
    asked, answered = made[::2], made[1::2]
    everything = [each for group in asked for each in group]
    assert len(set(everything)) == len(everything)
    assert all(0 < len(each) <= tool_calls.MAX_ID_CHARS and not FORBIDDEN.search(each) for each in everything)
    assert [sorted(group) for group in asked] == [sorted(group) for group in answered]


@pytest.mark.parametrize("wire", ["anthropic_messages", "bedrock_converse", "openai_chat", "ollama"])
def test_an_error_names_the_part_where_the_host_has_it(wire: str) -> None:
    image: dict[str, Any] = {"type": "image", "url": "ftp://example.test/x.png"}
    parts: list[Part] = [call("a"), call("a")]
    messages = [
        {"role": "user", "content": "Hi"},
        msgspec.to_builtins(Message(role="assistant", content=parts)),
        {"role": "user", "content": [{"type": "text", "text": "Wait."}, image]},
    ]
    chat = msgspec.convert({"model": "m", "messages": messages}, Chat)
    route = Route(provider="p", wire=wire, model="m", base_url="https://provider.test")
    with pytest.raises(SidecarError) as caught:
        registry.load(wire).encode(chat, route)
    assert (caught.value.body.param or "").startswith("params.messages[2].content[1]")
