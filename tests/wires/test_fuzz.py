"""Recorded bytes, corrupted: whatever comes on stdin or from a provider is read or refused, in linear time."""

import json
import random
import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.requests import PARAMS
from sidecar.codecs.registry import make_codec
from sidecar.core.errors import SidecarError
from sidecar.server.framing import LineDecoder, TooLong, decode_envelope, decode_params, sniff_id
from sidecar.wires import registry
from tests.support import fixtures, recorded_replies
from tests.support.recorded_replies import Recorded, played

pytestmark = pytest.mark.long

CODECS = ("sse", "ndjson", "aws_eventstream")

LONGEST_BYTES = 20_000

STREAMS = [
    each
    for each in recorded_replies.of_fixtures() + recorded_replies.of_corpus()
    if not each.is_document and len(each.body) <= LONGEST_BYTES
]

WORDS = (
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"data:", b"data: [DONE]\n\n", b"event: error\n", b": \n", b"\xef\xbb\xbf"),
    *(b"\x00", b"\x00\x00\x00\x10", b"\xff\xff\xff\xff", b"\xff", b"\xed\xa0\x80", b"{", b"}", b"[" * 2000, b'"'),
    *(b"\\ud800", b"null", b"1e999", b"9" * 5000, b"-", b",", b":", b'"error":{}', b'{"error":null}\n'),
)
"""Bytes that are most likely to do harm in a stream."""

CORRUPTIONS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "double", "drop", "insert", "splice"]),
        st.integers(0, 2**20),
        st.integers(0, 2**20),
    ),
    min_size=1,
    max_size=8,
)

Change = tuple[str, int, int]


def corrupt(body: bytes, changes: list[Change], other: bytes) -> bytes:
    """Return *body* with *changes*, some of which insert parts of *other*."""
    for what, where, how in changes:
        at = where % (len(body) + 1)
        end = min(len(body), at + how % 64 + 1)
        match what:
            case "flip":
                body = body[:at] + bytes(each ^ 1 << how % 8 for each in body[at : at + 1]) + body[at + 1 :]
            case "cut":
                body = body[:at]
            case "double":
                body = body[:end] + body[at:]
            case "drop":
                body = body[:at] + body[end:]
            case "insert":
                body = body[:at] + WORDS[how % len(WORDS)] + body[at:]
            case _:
                begin = how % (len(other) + 1)
                body = body[:at] + other[begin : begin + 200] + body[at:]
    return body


def split(body: bytes, seed: int) -> list[bytes]:
    """Return *body* in pieces, some of which are empty."""
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(12)))
    return [body[a:b] for a, b in pairwise([0, *cuts, len(body)])]


# --- codecs ----------------------------------------------------------------------------------


def read(name: str, pieces: list[bytes]) -> tuple[list[Any], str | None]:
    """Return the frames in *pieces*, and the code of the error that ended them."""
    reader, found = make_codec(name), list[Any]()
    try:
        for piece in pieces:
            found += reader.feed(piece)
        found += reader.finish()
    except SidecarError as error:
        return found, error.body.code
    return found, None


@cache
def of_codec(name: str) -> list[bytes]:
    return [each.body for each in STREAMS if name == registry.load(each.wire).CODEC]


def check_codec(name: str, data: Any) -> None:
    bodies = of_codec(name)
    body, other = data.draw(st.sampled_from(bodies)), data.draw(st.sampled_from(bodies))
    stream = corrupt(body, data.draw(CORRUPTIONS), other)
    frames, error = read(name, [stream])
    assert error in (None, "provider_error", "stream_interrupted")
    assert sum(len(payload) for _, payload in frames) <= len(stream)
    pieces, their_error = read(name, split(stream, data.draw(st.integers(0, 2**16))))
    assert their_error == error
    # What one piece holds is given out together, or not at all once something in it is wrong.
    assert pieces == frames if error is None else pieces[: len(frames)] == frames[: len(pieces)]


@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=500)
@given(data=st.data())
def test_a_codec_reads_or_refuses_corrupted_bytes(name: str, data: Any) -> None:
    check_codec(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=10_000)
@given(data=st.data())
def test_a_codec_reads_or_refuses_corrupted_bytes_for_long(name: str, data: Any) -> None:
    check_codec(name, data)


def check_reply(reply: Recorded, changes: list[Change], seed: int) -> None:
    body = corrupt(reply.body, changes, reply.body)
    whole, in_pieces = played(reply, [body]), played(reply, split(body, seed))
    assert (whole.outcome is None) != (whole.error is None)
    assert (in_pieces.outcome is None) == (whole.outcome is None)
    if whole.error and in_pieces.error:
        assert whole.error.code == in_pieces.error.code


@pytest.mark.longest
@settings(max_examples=1500)
@given(st.sampled_from(STREAMS), CORRUPTIONS, st.integers(0, 2**16))
def test_a_wire_reads_or_refuses_corrupted_replies(reply: Recorded, changes: list[Change], seed: int) -> None:
    check_reply(reply, changes, seed)


@pytest.mark.slow
@settings(max_examples=20_000)
@given(st.sampled_from(STREAMS), CORRUPTIONS, st.integers(0, 2**16))
def test_a_wire_reads_or_refuses_corrupted_replies_for_long(reply: Recorded, changes: list[Change], seed: int) -> None:
    check_reply(reply, changes, seed)


# --- lines -----------------------------------------------------------------------------------


@cache
def requests() -> list[bytes]:
    """Return a line for each call of the fixtures, and one for each action."""
    chats = [case.call for case in fixtures.cases()]
    asked = [
        {"id": number, "action": "stream_chat", "provider": call["provider"], "params": call["params"]}
        for number, call in enumerate(chats)
    ]
    lines = asked + [{"id": action, "action": action, "params": {}, "timeout": 5} for action in PARAMS]
    return [json.dumps(line).encode() + b"\n" for line in lines]


def check_lines(data: Any) -> None:
    first, second, third = (data.draw(st.sampled_from(requests())) for _ in range(3))
    stream = corrupt(first + second, data.draw(CORRUPTIONS), third)
    limit = data.draw(st.sampled_from([16, 300, 2**25]))
    found = [list(cut_into_lines(pieces, limit)) for pieces in ([stream], split(stream, data.draw(st.integers(0, 99))))]
    # How much is kept of a line that is too long, to look for its id, is all that a split may change.
    alike = [[TooLong if isinstance(line, TooLong) else line for line in each] for each in found]
    assert alike[0] == alike[1]
    for line in found[0] + found[1]:
        if isinstance(line, TooLong):
            sniff_id(line.head)
        else:
            assert b"\n" not in line
            assert len(line) <= limit
            decode(line)


def cut_into_lines(pieces: list[bytes], limit: int) -> list[bytes | TooLong]:
    decoder, lines = LineDecoder(limit), list[bytes | TooLong]()
    for piece in pieces:
        lines += decoder.feed(piece)
    return [*lines, *decoder.end()]


def decode(line: bytes) -> None:
    try:
        envelope = decode_envelope(line)
        if envelope.action in PARAMS:
            decode_params(envelope.params, PARAMS[envelope.action])
    except SidecarError as error:
        assert error.body.code in ("parse_error", "invalid_request")  # noqa: PT017 - either is right


@settings(max_examples=300)
@given(st.data())
def test_requests_are_read_or_refused_when_corrupted(data: Any) -> None:
    check_lines(data)


@pytest.mark.slow
@settings(max_examples=20_000)
@given(st.data())
def test_requests_are_read_or_refused_when_corrupted_for_long(data: Any) -> None:
    check_lines(data)


# --- time ------------------------------------------------------------------------------------


def seconds(run: Callable[[], object]) -> float:
    """Return the best of three."""
    best = 60.0
    for _ in range(3):
        started = time.thread_time()
        run()
        best = min(best, time.thread_time() - started)
    return best


@pytest.mark.parametrize("piece", [1000, 2**20], ids=["small pieces", "large pieces"])
@pytest.mark.parametrize("name", CODECS)
def test_ten_times_the_stream_takes_ten_times_the_time(name: str, piece: int) -> None:
    """For streams that real providers have sent, and for one event that never ends."""
    unit = max(of_codec(name), key=len)
    endless = (1000).to_bytes(4) * 2 if name == "aws_eventstream" else b"data: "
    for some in (unit * (400_000 // len(unit)), endless + b"x" * 400_000):

        def run(stream: bytes) -> Callable[[], object]:
            return lambda: read(name, [stream[at : at + piece] for at in range(0, len(stream), piece)])

        assert seconds(run(some * 10)) < 25 * max(seconds(run(some)), 0.003)
