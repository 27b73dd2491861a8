"""What holds for every wire whatever a provider sends: only SidecarError is raised, and no half passes for a whole."""

import json
import random
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.replies import Failed, Streamed
from sidecar.core.json_values import parse_json
from sidecar.generation.response_stream import ResponseStream
from sidecar.server.framing import encode_line
from sidecar.wires import registry
from tests.support import recorded_replies
from tests.support.recorded_replies import Played, Recorded, played

pytestmark = pytest.mark.long

CASES = recorded_replies.of_fixtures()
STREAMS = [each for each in CASES if not each.is_document]
WIRES = sorted({each.wire for each in CASES})
BY_CASE = pytest.mark.parametrize("case", [pytest.param(each, id=each.name) for each in STREAMS])

RECORDED = [each for each in recorded_replies.of_corpus() if not each.is_document and len(each.body) < 20_000]
"""Replies of real providers that are short enough to be corrupted many times."""


@cache
def whole(case: Recorded) -> Played:
    return written(case, [case.body])


def written(case: Recorded, pieces: Iterable[bytes]) -> Played:
    """Return what *pieces* decode to, all of which must be fit to be written to a host."""
    result = played(case, pieces)
    for seq, chunk in enumerate(result.chunks):
        encode_line(Streamed(1, True, True, seq, chunk))
    msgspec.json.encode(result.outcome)
    if result.error:
        encode_line(Failed(1, False, result.error))
    return result


TRACES = {
    "anthropic_messages": rb"message_stop",
    "openai_chat": rb"\[DONE\]|finish_reason",
    "openai_responses": rb"response\.(?:completed|incomplete)",
    "bedrock_converse": rb"messageStop",
    "cloudflare": rb"\[DONE\]|finish_reason",
    "gemini": rb"finishReason|blockReason",
    "ollama": rb"done.*true",
}
"""By wire: what every complete reply contains, however corrupted it is elsewhere."""


@BY_CASE
def test_what_follows_the_end_changes_nothing(case: Recorded) -> None:
    full = whole(case)
    reply = ResponseStream(registry.load(case.wire), case.route, case.headers)
    if full.outcome is not None:
        reply.feed(case.body + b"\n\n", [])
    if reply.finished:
        after = played(case, [case.body + b"\n\n", case.body, b"data: {not json\n\n", b"<html>"])
        assert (after.chunks, after.outcome) == (full.chunks, full.outcome)


# --- corrupted streams -----------------------------------------------------------------------

CORRUPTIONS = st.lists(
    st.tuples(
        st.sampled_from(["drop", "double", "swap", "truncate", "corrupt", "insert", "value"]),
        st.integers(0, 10_000),
        st.integers(0, 10_000),
    ),
    min_size=1,
    max_size=4,
)
ODD_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    10**30,
    "",
    "x",
    "\x00\u202e😀",
    [],
    [None],
    [[]],
    {},
    {"a": None},
    "\ud83d",
]
ODD_LINES = [
    b"data:",
    b"data: null",
    b"data: []",
    b"data: 7",
    b'data: "x"',
    b"data: {}",
    b": comment",
    b"event: error",
    b"\xff\xfe",
    b"{}",
    b"null",
]


def corrupt(lines: list[bytes], what: str, where: int, how: int) -> list[bytes]:
    at, other = where % len(lines), how % len(lines)
    line, place = lines[at], how % (len(lines[at]) + 1)
    if what == "swap":
        lines = list(lines)
        lines[at], lines[other] = lines[other], line
        return lines
    instead = {
        "drop": [],
        "double": [line, line],
        "truncate": [line[:place]],
        "corrupt": [line[:place] + bytes([how % 256]) + line[place + 1 :]],
        "insert": [ODD_LINES[how % len(ODD_LINES)], line],
        "value": [odd(line, how)],
    }[what]
    return [*lines[:at], *instead, *lines[at + 1 :]]


def odd(line: bytes, how: int) -> bytes:
    """Return *line* with one value of its JSON replaced by one that does not belong there."""
    prefix, payload = (line[:6], line[6:]) if line.startswith(b"data: ") else (b"", line)
    event = parse_json(payload)
    chance = random.Random(how)
    found = list(slots(event))
    if not found:
        return line
    holder, key = chance.choice(found)
    holder[key] = chance.choice(ODD_VALUES)
    return prefix + json.dumps(event).encode()


def slots(value: Any) -> Iterable[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(items):
        yield value, key
        yield from slots(each)


TEXTS = [case for case in STREAMS + RECORDED if b"\x00" not in case.body]


@settings(max_examples=600)
@given(st.sampled_from(TEXTS), CORRUPTIONS)
def test_a_corrupted_stream_raises_only_a_sidecar_error(case: Recorded, changes: list[tuple[str, int, int]]) -> None:
    lines = case.body.split(b"\n")
    for change in changes:
        lines = corrupt(lines, *change) or [b""]
    body = b"\n".join(lines)
    result = written(case, [body])
    assert (result.outcome is None) != (result.error is None)
    if result.outcome is not None:
        assert re.search(TRACES.get(case.wire, b""), body)


@BY_CASE
def test_any_value_may_be_replaced_by_another(case: Recorded) -> None:
    """Whatever stands in place of any one value, the reply is decoded or refused, and nothing else."""
    lines = case.body.split(b"\n")
    chance = random.Random(case.name)
    for at, line in enumerate(lines):
        for _ in range(6):
            written(case, [b"\n".join([*lines[:at], odd(line, chance.randrange(10**6)), *lines[at + 1 :]])])


@settings(max_examples=150)
@given(st.sampled_from(CASES), st.binary(max_size=200), st.integers(0, 10_000))
def test_random_bytes_are_not_a_reply(case: Recorded, noise: bytes, where: int) -> None:
    body = case.body
    place = where % (len(body) + 1)
    for spoiled in (noise, body[:place] + noise, body[:place] + noise + body[place:]):
        written(case, [spoiled])


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n\n\n", id="blank lines"),
        pytest.param(b"\xef\xbb\xbf", id="byte order mark"),
        pytest.param(b"<!DOCTYPE html><title>Log in to the hotel</title>", id="captive portal"),
        pytest.param(b"{}", id="empty object"),
        pytest.param(b"[]", id="empty list"),
        pytest.param(b"{", id="half an object"),
        pytest.param(b"null", id="null"),
        pytest.param(b": keep-alive\n\n" * 100, id="comments"),
        pytest.param(b"data: [DONE]\n", id="nothing but the end, cut"),
        pytest.param(b'{"error":{"message":"no","type":"api_error"}}', id="an error as a document"),
        pytest.param(b"[" * 10_000, id="deep"),
        pytest.param(b"\x00" * 64, id="zeros"),
        pytest.param(b"\xff" * 64, id="ones"),
    ],
)
def test_a_body_that_is_not_an_answer_is_an_error(name: str, body: bytes) -> None:
    case = next((each for each in CASES if each.wire == name), None)
    if case is None:
        pytest.skip("no exchange of this wire")
    for pieces in ([body], [body[at : at + 1] for at in range(len(body))]):
        result = written(case, pieces)
        if body.startswith(b"data: [DONE]"):
            continue
        assert result.outcome is None
        assert result.error is not None
        assert result.chunks == []
