"""What holds for every wire whatever a provider sends: only the one error is raised, and no half is believed."""

import json
import random
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ErrorBody
from protocol.replies import Failed, Streamed
from sidecar import wires
from sidecar.errors import SidecarError
from sidecar.framing import encode_line
from sidecar.reply import Reply, play
from sidecar.wires import faults
from sidecar.wires.types import Outcome, Route
from tests import fixtures
from tests.codecs.test_sse import reference
from tests.fixtures import Case

CASES = [case for case in fixtures.cases() if case.has_reply and case.head["status"] == 200]
STREAMS = [case for case in CASES if case.body.lstrip()[:1] not in (b"{", b"[", b"<") or case.wire == "ollama"]
WIRES = sorted({case.wire for case in fixtures.cases()})
BY_CASE = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in STREAMS])

SMALL_BYTES = 800
"""Longest reply that is cut at every byte; a longer one is cut around its line ends and at random."""


class Played(msgspec.Struct, frozen=True):
    """What came of a reply."""

    chunks: list[Any]
    outcome: Outcome | None
    error: ErrorBody | None


@cache
def route(path: Path) -> Route:
    return fixtures.route(Case(path))


@cache
def headers(path: Path) -> dict[str, str]:
    found: dict[str, str] = Case(path).head["headers"]
    return found


@cache
def whole(path: Path) -> Played:
    return written(Case(path), [Case(path).body])


def played(case: Case, pieces: Iterable[bytes]) -> Played:
    """Return what comes of *pieces*."""
    out: list[Any] = []
    try:
        outcome = play(route(case.path), 200, headers(case.path), pieces, out.extend)
    except SidecarError as error:
        return Played(out, None, error.body)
    return Played(out, outcome, None)


def written(case: Case, pieces: Iterable[bytes]) -> Played:
    """Return what comes of *pieces*, all of which must be fit to be written to a host."""
    result = played(case, pieces)
    for seq, chunk in enumerate(result.chunks):
        encode_line(Streamed(1, True, True, seq, chunk))
    msgspec.json.encode(result.outcome)
    if result.error:
        encode_line(Failed(1, False, result.error))
    return result


# --- cut streams -----------------------------------------------------------------------------


def _finish_reason(payload: bytes) -> bool:
    chunk = faults.document(payload)
    return isinstance(chunk, dict) and any(choice.get("finish_reason") for choice in chunk.get("choices") or ())


def _type(*names: str) -> Callable[[Case, bytes], bool]:
    def is_one(case: Case, payload: bytes) -> bool:  # noqa: ARG001 - the shape of a marker
        event = faults.document(payload)
        return isinstance(event, dict) and event.get("type") in names

    return is_one


def _done_marker(case: Case, payload: bytes) -> bool:
    return payload.strip() == b"[DONE]" or (not route(case.path).quirks.done_marker and _finish_reason(payload))


def _done_line(case: Case, payload: bytes) -> bool:  # noqa: ARG001 - the shape of a marker
    line = faults.document(payload)
    return isinstance(line, dict) and line.get("done") is True


def _candidate_ended(case: Case, payload: bytes) -> bool:  # noqa: ARG001 - the shape of a marker
    chunk = faults.document(payload)
    if not isinstance(chunk, dict):
        return False
    blocked = (chunk.get("promptFeedback") or {}).get("blockReason")
    return bool(blocked) or any(each.get("finishReason") for each in chunk.get("candidates") or () if each)


def _message_stop(case: Case, payload: bytes) -> bool:  # noqa: ARG001 - the shape of a marker
    return b"messageStop" in payload


MARKERS: dict[str, Callable[[Case, bytes], bool]] = {
    "anthropic_messages": _type("message_stop"),
    "openai_chat": _done_marker,
    "openai_responses": _type("response.completed", "response.incomplete"),
    "bedrock_converse": _message_stop,
    "cloudflare": _done_marker,
    "gemini": _candidate_ended,
    "ollama": _done_line,
}
"""By wire: whether the payload of an event is the provider's word that the reply is complete."""


TRACES = {
    "anthropic_messages": rb"message_stop",
    "openai_chat": rb"\[DONE\]|finish_reason",
    "openai_responses": rb"response\.(?:completed|incomplete)",
    "bedrock_converse": rb"messageStop",
    "cloudflare": rb"\[DONE\]|finish_reason",
    "gemini": rb"finishReason|blockReason",
    "ollama": rb"done.*true",
}
"""By wire: what no reply that ends well is without, however spoilt its JSON is elsewhere."""


OPEN_ENDED = {"gemini"}
"""Wires on which more may follow the marker, so that only the end of the connection tells the end."""


def payloads(case: Case, body: bytes) -> list[bytes]:
    """Return what the whole events in *body* say; the last counts without its line end."""
    if case.wire == "ollama":
        return body.split(b"\n")
    if case.wire == "bedrock_converse":
        return whole_frames(body)
    return [data for _, data in reference(body + b"\n\n")]


def whole_frames(body: bytes) -> list[bytes]:
    """Return the whole frames of an AWS event stream, each of which begins with its size."""
    frames, at = [], 0
    while 0 < (size := int.from_bytes(body[at : at + 4])) <= len(body) - at:
        frames.append(body[at : at + size])
        at += size
    return frames


def is_marked(case: Case, body: bytes) -> bool:
    """Return whether the terminal marker stands whole in *body*, read without the wire's own decoder."""
    return any(MARKERS[case.wire](case, payload) for payload in payloads(case, body))


def places(body: bytes) -> list[int]:
    """Return where to cut *body*."""
    if len(body) <= SMALL_BYTES:
        return list(range(len(body)))
    ends = [at for at, byte in enumerate(body) if byte == 10]
    chance = random.Random(len(body))
    around = {at + step for at in ends for step in (-2, -1, 0, 1, 2)}
    return sorted({at for at in around if 0 <= at < len(body)} | {chance.randrange(len(body)) for _ in range(100)})


@BY_CASE
def test_a_cut_stream_is_never_believed_to_be_whole(case: Case) -> None:
    body, full = case.body, whole(case.path)
    for at in places(body):
        cut = played(case, [body[:at]])
        assert cut.chunks == full.chunks[: len(cut.chunks)], at
        if case.wire in MARKERS:
            assert (cut.outcome is not None) <= is_marked(case, body[:at]), at
        if cut.outcome is None:
            assert cut.error is not None
            assert cut.error.code in ("stream_interrupted", "provider_error") or cut.error == full.error, at
        elif full.outcome is not None and case.wire not in OPEN_ENDED:
            assert cut.outcome.finish_reason == full.outcome.finish_reason, at
            assert cut.outcome.message == full.outcome.message, at


@BY_CASE
def test_a_marker_without_its_line_end_counts(case: Case) -> None:
    body, full = case.body.rstrip(), whole(case.path)
    if full.outcome is not None and case.wire in MARKERS and is_marked(case, body):
        assert played(case, [body]).outcome == full.outcome


@BY_CASE
def test_what_follows_the_end_changes_nothing(case: Case) -> None:
    full = whole(case.path)
    reply = Reply(wires.load(case.wire), route(case.path), headers(case.path))
    if full.outcome is not None:
        reply.feed(case.body + b"\n\n", [])
    if reply.finished:
        after = played(case, [case.body + b"\n\n", case.body, b"data: {not json\n\n", b"<html>"])
        assert (after.chunks, after.outcome) == (full.chunks, full.outcome)


# --- spoilt streams --------------------------------------------------------------------------

SPOIL = st.lists(
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


def spoilt(lines: list[bytes], what: str, where: int, how: int) -> list[bytes]:
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
    """Return *line* with one value of its JSON replaced by one that has no business there."""
    prefix, payload = (line[:6], line[6:]) if line.startswith(b"data: ") else (b"", line)
    event = faults.document(payload)
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


TEXTS = [case for case in STREAMS if b"\x00" not in case.body]


@settings(max_examples=600)
@given(st.sampled_from(TEXTS), SPOIL)
def test_a_spoilt_stream_raises_only_the_one_error(case: Case, changes: list[tuple[str, int, int]]) -> None:
    lines = case.body.split(b"\n")
    for change in changes:
        lines = spoilt(lines, *change) or [b""]
    body = b"\n".join(lines)
    result = written(case, [body])
    assert (result.outcome is None) != (result.error is None)
    if result.outcome is not None:
        assert re.search(TRACES.get(case.wire, b""), body)


@BY_CASE
def test_every_value_may_be_another(case: Case) -> None:
    """Theirs loose: whatever stands in place of any one value, the reply is decoded or refused, and nothing else."""
    lines = case.body.split(b"\n")
    chance = random.Random(case.name)
    for at, line in enumerate(lines):
        for _ in range(6):
            written(case, [b"\n".join([*lines[:at], odd(line, chance.randrange(10**6)), *lines[at + 1 :]])])


@settings(max_examples=150)
@given(st.sampled_from(CASES), st.binary(max_size=200), st.integers(0, 10_000))
def test_random_bytes_are_no_reply(case: Case, noise: bytes, where: int) -> None:
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
def test_what_is_no_answer_at_all(name: str, body: bytes) -> None:
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
