"""Every recorded reply, cut at every byte: what came stays valid, and no half is taken for the whole."""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from protocol.replies import Content, Reasoning
from sidecar.core.json_values import parse_json
from tests.codecs.test_sse import reference
from tests.support import recorded_replies
from tests.support.recorded_replies import Played, Recorded, played

pytestmark = pytest.mark.long

SMALL_BYTES = 4096
"""The longest reply that is cut at every byte; a longer one is cut around its line ends and at random."""

SAMPLED_BYTES = 3_000_000
LEAST_CUTS = 40
"""How many bytes all cuts of a longer reply may decode, and the fewest cuts of a reply of any size."""

FIXTURES = recorded_replies.of_fixtures()
CORPUS = recorded_replies.of_corpus()
BY_REPLY = pytest.mark.parametrize("reply", [pytest.param(each, id=each.name) for each in FIXTURES + CORPUS])


# --- the marker, read without the wire's own decoder -----------------------------------------


def _finish_reason(payload: bytes) -> bool:
    chunk = parse_json(payload)
    return isinstance(chunk, dict) and any(choice.get("finish_reason") for choice in chunk.get("choices") or ())


def _type(*names: str) -> Callable[[Recorded, bytes], bool]:
    def is_one(reply: Recorded, payload: bytes) -> bool:  # noqa: ARG001 - the shape of a marker
        event = parse_json(payload)
        return isinstance(event, dict) and event.get("type") in names

    return is_one


def _done_marker(reply: Recorded, payload: bytes) -> bool:
    return payload.strip() == b"[DONE]" or (not reply.route.quirks.done_marker and _finish_reason(payload))


def _done_line(reply: Recorded, payload: bytes) -> bool:  # noqa: ARG001 - the shape of a marker
    line = parse_json(payload)
    return isinstance(line, dict) and line.get("done") is True


_NO_REASON = (None, "", "FINISH_REASON_UNSPECIFIED")


def _candidate_ended(reply: Recorded, payload: bytes) -> bool:  # noqa: ARG001 - the shape of a marker
    chunk = parse_json(payload)
    if not isinstance(chunk, dict):
        return False
    blocked = (chunk.get("promptFeedback") or {}).get("blockReason")
    first = (each for each in chunk.get("candidates") or () if each and not each.get("index"))
    return bool(blocked) or any(each.get("finishReason") not in _NO_REASON for each in first)


def _message_stop(reply: Recorded, payload: bytes) -> bool:  # noqa: ARG001 - the shape of a marker
    return b"messageStop" in payload


MARKERS: dict[str, Callable[[Recorded, bytes], bool]] = {
    "anthropic_messages": _type("message_stop"),
    "openai_chat": _done_marker,
    "openai_responses": _type("response.completed", "response.incomplete"),
    "bedrock_converse": _message_stop,
    "cloudflare": _done_marker,
    "gemini": _candidate_ended,
    "ollama": _done_line,
}
"""By wire: whether the payload of an event says that the reply is complete."""

OPEN_ENDED = {"gemini"}
"""Wires on which more may follow the marker, so that only the end of the connection is the end."""

BINARY = {"bedrock_converse"}
"""Wires whose events have no line ends."""


def payloads(reply: Recorded, body: bytes) -> list[bytes]:
    """Return the payloads of the whole events in *body*; the last one counts without its line end."""
    if reply.wire == "ollama":
        return body.split(b"\n")
    if reply.wire == "bedrock_converse":
        return whole_frames(body)
    return [data for _, data in reference(body + b"\n\n")]


def whole_frames(body: bytes) -> list[bytes]:
    """Return the whole frames of an AWS event stream, each of which begins with its size."""
    frames, at = [], 0
    while 0 < (size := int.from_bytes(body[at : at + 4])) <= len(body) - at:
        frames.append(body[at : at + size])
        at += size
    return frames


@cache
def marked_from(reply: Recorded) -> int | None:
    """Return how many bytes of the reply hold its whole terminal marker, or None when it has none."""
    body = reply.body
    if reply.is_document:
        return len(body.rstrip()) if parse_json(body) is not None else None
    is_marker = MARKERS[reply.wire]
    if not any(is_marker(reply, payload) for payload in payloads(reply, body)):
        return None
    least, most = 0, len(body)
    while least < most:
        middle = (least + most) // 2
        if any(is_marker(reply, payload) for payload in payloads(reply, body[:middle])):
            most = middle
        else:
            least = middle + 1
    return least


# --- cuts ------------------------------------------------------------------------------------


@cache
def whole(reply: Recorded) -> Played:
    return played(reply, [reply.body])


def places(body: bytes) -> list[int]:
    """Return where to cut *body*."""
    if len(body) <= SMALL_BYTES:
        return list(range(len(body)))
    chance = random.Random(len(body))
    count = max(LEAST_CUTS, SAMPLED_BYTES // len(body))
    ends = [at for at, byte in enumerate(body) if byte == 10]
    around = [at + step for at in chance.sample(ends, min(len(ends), count // 8)) for step in (-1, 0, 1, 2)]
    last = range(len(body) - 4, len(body))
    return sorted({at for at in (*around, *last, *chance.sample(range(len(body)), count)) if 0 <= at < len(body)})


def said(chunks: list[Any], kind: type[Content | Reasoning]) -> str:
    return "".join(chunk.content for chunk in chunks if isinstance(chunk, kind))


@BY_REPLY
def test_a_cut_reply_is_never_taken_for_a_whole_one(reply: Recorded) -> None:
    body, full, marked_at = reply.body, whole(reply), marked_from(reply)
    text = {kind: said(full.chunks, kind) for kind in (Content, Reasoning)}
    for at in places(body):
        cut = played(reply, [body[:at]])
        assert cut.chunks == full.chunks[: len(cut.chunks)], at
        assert all(text[kind].startswith(said(cut.chunks, kind)) for kind in text), at
        assert (cut.outcome is None) != (cut.error is None), at
        is_marked = marked_at is not None and at >= marked_at
        if cut.outcome is None:
            assert cut.error is not None
            assert not is_marked or full.outcome is None, at
            assert cut.error.code in ("stream_interrupted", "provider_error") or cut.error == full.error, at
        else:
            assert is_marked, at
            if reply.wire not in OPEN_ENDED:
                assert full.outcome is not None, at
                assert cut.outcome.finish_reason == full.outcome.finish_reason, at
                assert cut.outcome.message == full.outcome.message, at


@BY_REPLY
def test_a_marker_without_its_line_end_counts(reply: Recorded) -> None:
    full, marked_at = whole(reply), marked_from(reply)
    if full.outcome is not None and marked_at is not None and reply.wire not in BINARY:
        assert played(reply, [reply.body.rstrip()]).outcome == full.outcome


def test_every_wire_is_cut() -> None:
    assert {each.wire for each in FIXTURES if whole(each).outcome and not each.is_document} == set(MARKERS)
    assert all(len(places(each.body)) >= LEAST_CUTS or len(each.body) < LEAST_CUTS for each in FIXTURES + CORPUS)


# --- what follows the end --------------------------------------------------------------------

END_MARKERS = (b"[DONE]", b'"type":"message_stop"', b'"type":"response.completed"', b'"type":"response.incomplete"')

MARKED = [
    each
    for each in FIXTURES
    if each.wire != "gemini" and any(marker in each.body.rstrip().rpartition(b"\n")[2] for marker in END_MARKERS)
]


@pytest.mark.parametrize("reply", [pytest.param(each, id=each.name) for each in MARKED])
def test_what_follows_the_end_marker_is_not_read(reply: Recorded) -> None:
    as_sent = played(reply, [reply.body])
    too_deep = b"data: " + b"[" * 5000 + b"\n\n"
    for pieces in ([reply.body, b"\n\n", too_deep], [reply.body + b"\n\n" + too_deep]):
        assert played(reply, pieces) == as_sent
