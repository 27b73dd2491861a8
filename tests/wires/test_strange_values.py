"""Values of the wrong type in the few places where a decoder counts, calls or decodes with them."""

import json
from typing import Any

import pytest

from protocol.messages import TextPart
from protocol.replies import Chunk
from sidecar.wires import bedrock_converse
from sidecar.wires.shared.types import Route
from tests.support.decoding import play

BEDROCK = Route(provider="bedrock", wire="bedrock_converse", model="m", base_url="https://provider.test")
CLOUDFLARE = Route(provider="cloudflare", wire="cloudflare", model="m", base_url="https://provider.test")


def tell(*events: Any) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in events) + b"data: [DONE]\n\n"


STRANGE: tuple[Any, ...] = (5, True, "x", {}, [5], [None], [{"index": [], "function": 7}], [{"index": {}, "name": []}])


@pytest.mark.parametrize("calls", STRANGE, ids=str)
def test_calls_that_are_none_fail_no_answer(calls: Any) -> None:
    body = tell({"response": "It is fine."}, {"tool_calls": calls}, {"response": "", "usage": {"prompt_tokens": []}})
    outcome = play(CLOUDFLARE, 200, {}, [body], list)
    assert outcome.message.content[0] == TextPart("It is fine.")
    assert outcome.finish_reason == "stop"


@pytest.mark.parametrize("redacted", ["é", "\u202e", "AA=A", 5, None, []], ids=repr)
def test_reasoning_that_is_no_base64_fails_no_answer(redacted: Any) -> None:
    decoder, out = bedrock_converse.Decoder(BEDROCK), list[Chunk]()
    for name, event in (
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"redactedContent": redacted}}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "It is fine."}}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 4}}),
    ):
        decoder.feed((name, json.dumps(event).encode()), out)
    assert TextPart("It is fine.") in decoder.end(out).message.content
