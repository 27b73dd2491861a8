"""What a host gets and returns survives in a language whose integers end at 2^53."""

import json
from typing import Any

import msgspec
import pytest

from protocol.messages import Message, OpaquePart, Part, ReasoningPart, State, TextPart, ToolCallPart
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import open_state
from sidecar.core.message_content import make_portable
from sidecar.wires.shared.tool_calls import get_arguments
from tests.support import app
from tests.support.lines import Object

pytestmark = pytest.mark.long

BIG = 2**53 + 1
STATE = State(provider="p", wire="w", model="m", data={"id": BIG, "huge": 10**30})


def test_a_state_goes_out_as_one_string_and_comes_back_whole() -> None:
    parts: list[Part] = [TextPart("a", state=STATE), ReasoningPart("b", state=STATE), OpaquePart(kind="k", state=STATE)]
    sent = msgspec.json.decode(msgspec.json.encode(make_portable(Message(role="assistant", content=parts))))
    assert all(isinstance(part["state"], str) for part in sent["content"])
    # As a language does whose numbers are all doubles.
    read = json.loads(json.dumps(sent), parse_int=lambda digits: int(float(digits)))
    returned = msgspec.convert(read, Message)
    assert [open_state(part.state) for part in returned.content] == [STATE] * 3  # type: ignore[union-attr]
    assert make_portable(returned) == returned


@pytest.mark.parametrize("state", ["", "{", '{"provider":1}', "null", "[" * 5000])
def test_a_state_that_was_altered_is_refused_with_what_to_do(state: str) -> None:
    with pytest.raises(SidecarError, match="unchanged") as caught:
        open_state(state)
    assert (caught.value.body.code, caught.value.body.param) == ("invalid_request", "params.messages")


@pytest.mark.parametrize(
    ("arguments", "text", "given"),
    [
        ({"id": 2**53}, None, {"id": 2**53}),
        ({"id": BIG}, None, None),
        ({"id": BIG}, '{"id":9007199254740993}', None),
        ({"a": [{"b": -BIG}]}, '{"a":[{"b":-9007199254740993}]}', None),
        ({"id": str(BIG)}, '{"id":"9007199254740993"}', {"id": str(BIG)}),
        ({"x": 1e300, "y": True}, None, {"x": 1e300, "y": True}),
    ],
)
def test_arguments_with_a_big_integer_go_out_as_their_text_alone(
    arguments: Object, text: str | None, given: Any
) -> None:
    part = ToolCallPart(id="1", name="f", arguments=arguments, arguments_text=text)
    made = make_portable(Message(role="assistant", content=[part])).content[0]
    assert isinstance(made, ToolCallPart)
    assert (made.arguments, made.arguments_text) == (given, text)


def test_the_text_of_the_arguments_wins_over_the_arguments() -> None:
    text = '{"id":9007199254740993}'
    assert get_arguments(ToolCallPart(id="1", name="f", arguments={"id": 7}, arguments_text=text)) == {"id": BIG}
    assert get_arguments(ToolCallPart(id="1", name="f", arguments={"id": 7}, arguments_text=" ")) == {"id": 7}
    assert get_arguments(ToolCallPart(id="1", name="f", arguments={"id": 7})) == {"id": 7}


@pytest.mark.parametrize("case", ["anthropic_messages/thinking", "openai_responses/reasoning"])
@pytest.mark.parametrize("action", ["stream_chat", "generate"])
async def test_every_state_of_an_answer_is_a_string_that_may_be_sent_back(action: str, case: str) -> None:
    async with app.running() as host:
        ask: Object = {"model": case, "messages": [{"role": "user", "content": "Hi"}]}
        done = (await host.ask(action, ask, provider="replay"))["data"]
        states = list_states(done["message"])
        assert states
        assert all(isinstance(state, str) for state in states)
        ask["messages"] += [done["message"], {"role": "user", "content": "Go on"}]
        assert (await host.ask(action, ask, provider="replay"))["success"]


def list_states(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [state for each in value for state in list_states(each)]
    if not isinstance(value, dict):
        return []
    own = [value["state"]] if value.get("state") is not None else []
    return own + [state for each in value.values() for state in list_states(each)]
