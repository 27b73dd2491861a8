"""The Messages wire beyond its fixtures: corrupted streams, what goes back, and what may be sent."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given

from protocol.messages import Message
from protocol.options import Options
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.wires import anthropic_messages as wire
from sidecar.wires.shared.types import Outcome, Route
from tests.support import fixtures, mangled
from tests.support.fixtures import Case
from tests.support.sdk_types import accepted

ROUTE = Route(provider="mylab", wire="anthropic_messages", model="m", base_url="https://provider.test")
CASES = [pytest.param(case, id=case.name) for case in fixtures.cases("anthropic_messages")]


def case(name: str) -> Case:
    return Case(fixtures.ROOT / "anthropic_messages" / name)


def body(messages: list[Message], route: Route, options: Options | None = None) -> dict[str, Any]:
    encoded = wire.encode(Chat(model="m", messages=messages, options=options or Options()), route)
    decoded: dict[str, Any] = json.loads(encoded.request.body)
    return decoded


@pytest.mark.long
@given(mangled.mangled("anthropic_messages"))
def test_any_stream_gives_chunks_or_a_sidecar_error(stream: tuple[Route, list[bytes]]) -> None:
    assert isinstance(mangled.outcome("anthropic_messages", stream), Outcome | SidecarError)


ASKED = Message(role="user", content="Go on.")


@pytest.mark.long
@pytest.mark.parametrize("name", ["thinking", "redacted_thinking", "citations", "server_tools", "compaction"])
def test_the_message_of_an_answer_goes_back_as_the_blocks_that_it_came_in(name: str) -> None:
    answer, own = case(name), fixtures.route(case(name))
    message = msgspec.convert(fixtures.chunks(answer, [answer.body])[-1]["message"], Message)
    _, turn = body([ASKED, message], own)["messages"]
    assert turn["content"] == blocks(answer)

    foreign = msgspec.structs.replace(own, provider="another")
    for block in body([ASKED, message], foreign)["messages"][1]["content"]:
        assert block["type"] in {"text", "tool_use"}
        assert "citations" not in block


def blocks(answer: Case) -> list[dict[str, Any]]:
    """Return the blocks of a stream as the SDK accumulates them, without empty fields."""
    from anthropic.lib.streaming._beta_messages import accumulate_event
    from httpx2 import Headers

    message: Any = None
    buffers: dict[int, bytes] = {}
    for event in mangled.events(answer):
        message = accumulate_event(event=event, current_snapshot=message, json_bufs=buffers, request_headers=Headers())
    dumped: list[dict[str, Any]] = [block.to_dict() for block in message.content]
    return [{key: value for key, value in block.items() if value not in ([], None)} for block in dumped]


@pytest.mark.parametrize("data", [7, "x", None, [], {}, {"signature": None}, {"signature": ""}])
def test_a_changed_state_is_left_out(data: object) -> None:
    state = {"provider": "mylab", "wire": "anthropic_messages", "data": data}
    parts = [
        {"type": "reasoning", "content": "Hm.", "state": state},
        {"type": "opaque", "kind": "server_tool_use", "state": state | {"provider": "another"}},
        {"type": "text", "text": "Hello."},
    ]
    message = msgspec.convert({"role": "assistant", "content": parts}, Message)
    assert body([ASKED, message], ROUTE)["messages"][1]["content"] == [{"type": "text", "text": "Hello."}]


def test_a_conversation_that_the_assistant_begins_gets_a_turn_before_it() -> None:
    turns = body([Message(role="assistant", content="Hello."), ASKED], ROUTE)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"] == [{"type": "text", "text": "."}]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}}, "rate_limited"),
        ({"type": "error", "error": {"type": "api_error", "message": "It failed."}}, "provider_error"),
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "No."}}, "invalid_request"),
        ({"type": "error", "error": {}}, "provider_error"),
        ({"type": "error", "message": "It failed."}, "provider_error"),
        ({"type": "error"}, "provider_error"),
        ({"error": {"type": "overloaded_error"}}, "provider_overloaded"),
    ],
)
def test_an_error_inside_a_stream_is_classified_by_its_type(event: dict[str, Any], expected: str) -> None:
    with pytest.raises(SidecarError) as caught:
        wire.Decoder(ROUTE).feed(("", json.dumps(event).encode()), [])
    assert caught.value.body.code == expected
    assert caught.value.body.provider_status is None


def test_the_name_of_an_event_stands_in_for_its_type() -> None:
    decoder = wire.Decoder(ROUTE)
    decoder.feed(("message_stop", b"{}"), [])
    assert decoder.finished


@pytest.mark.parametrize("document", [b"[]", b'{"type":"list"}', b'{"type":"message","content":7}', b"{"])
def test_a_document_that_is_not_a_message_is_refused(document: bytes) -> None:
    with pytest.raises(SidecarError) as caught:
        wire.decode_whole(document, ROUTE)
    assert caught.value.body.reason == "unexpected_content_type"


@pytest.mark.parametrize("document", [b"", b"<html>502</html>", b"null", b"[1]", b'{"error":[1]}', b'{"message":[]}'])
def test_any_body_of_an_error_is_classified(document: bytes) -> None:
    assert wire.classify(502, {}, document).body.code == "provider_error"


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_encoding_twice_gives_the_same_bytes(case: Case) -> None:
    chat, route = msgspec.convert(case.call["params"], Chat), fixtures.route(case)
    assert wire.encode(chat, route) == wire.encode(chat, route)
    assert msgspec.to_builtins(chat) == msgspec.to_builtins(msgspec.convert(case.call["params"], Chat))


@pytest.mark.long
def test_every_request_is_one_that_the_sdk_has_types_for() -> None:
    from anthropic.types.message_create_params import MessageCreateParamsStreaming

    # Sampling options, which only the old version of the API takes, and a version in the body are not in its types.
    beside = {"temperature", "top_p", "anthropic_version"}
    for each in fixtures.cases("anthropic_messages"):
        sent = {key: value for key, value in each.expected_request["body"].items() if key not in beside}
        sent.setdefault("model", "in the address")
        assert accepted(MessageCreateParamsStreaming, sent) == sent, each.name
