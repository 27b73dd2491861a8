"""The message of a cut stream, on every wire: as much as came, and only whole calls."""

from contextlib import suppress

import msgspec
import pytest

from protocol.messages import Message, ReasoningPart, TextPart, ToolCallPart
from protocol.replies import Chunk, Content, Reasoning, ToolCallChunk
from sidecar.core.errors import SidecarError
from sidecar.generation.response_stream import ResponseStream
from sidecar.wires import registry
from tests.support import recorded_replies
from tests.support.recorded_replies import Recorded

pytestmark = pytest.mark.long

REPLIES = recorded_replies.of_fixtures() + recorded_replies.of_corpus()

CUTS = 40


def _text(message: Message) -> tuple[str, str]:
    assert isinstance(message.content, list)
    text = "".join(part.text for part in message.content if isinstance(part, TextPart))
    return text, "".join(part.content for part in message.content if isinstance(part, ReasoningPart))


def _sent(out: list[Chunk]) -> tuple[str, str]:
    text = "".join(chunk.content for chunk in out if isinstance(chunk, Content))
    return text, "".join(chunk.content for chunk in out if isinstance(chunk, Reasoning))


@pytest.mark.parametrize("case", REPLIES, ids=lambda case: case.name)
def test_the_partial_message_has_what_came_wherever_the_stream_is_cut(case: Recorded) -> None:
    reply, out, body = ResponseStream(registry.load(case.wire), case.route, case.headers), list[Chunk](), case.body
    step = max(1, len(body) // CUTS)
    for start in range(0, len(body), step):
        with suppress(SidecarError):
            reply.feed(body[start : start + step], out)
        message = reply.build_partial()
        assert _text(message) == _sent(out)
        whole = {chunk.tool_call.id for chunk in out if isinstance(chunk, ToolCallChunk)}
        calls = [part for part in message.content if isinstance(part, ToolCallPart)]
        assert {call.id for call in calls} <= whole
        assert all(call.arguments is not None for call in calls)
        # It can be sent again as it is.
        assert msgspec.convert(msgspec.to_builtins(message), Message) == message
        if reply.finished:
            break


def test_every_wire_is_covered() -> None:
    assert {case.wire for case in REPLIES} == set(registry.list_names())
