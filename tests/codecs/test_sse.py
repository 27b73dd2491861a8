"""`text/event-stream`: the events of the specification, at any split, within bounds and in linear time."""

import re
import time
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.codecs import sse
from sidecar.codecs.sse import MAX_EVENT_BYTES, MAX_STRAY_BYTES, Codec
from sidecar.core.errors import SidecarError

pytestmark = pytest.mark.long

Frames = list[tuple[str, bytes]]


def frames(*pieces: bytes) -> Frames:
    codec = Codec()
    return [frame for piece in pieces for frame in codec.feed(piece)]


def reference(stream: bytes) -> Frames:
    """Return the events of *stream* as section 9.2.6 of the HTML standard dispatches them, on bytes."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    # What follows the last line end is no line yet: it would be discarded with the block that it stands in.
    lines = re.split(rb"\r\n|\r|\n", stream)[:-1]
    events: Frames = []
    data, event = b"", b""
    for line in lines:
        if not line:
            if data:
                events.append((event.decode("utf-8", "replace"), data.removesuffix(b"\n")))
            data, event = b"", b""
            continue
        if line.startswith(b":"):
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            event = value
        elif name == b"data":
            data += value + b"\n"
    return events


LINES = st.sampled_from(
    [
        b"",
        b"data: one",
        b"data:two",
        b"data:  two spaces",
        b"data",
        b"data:",
        b"data: with: colon",
        b"data: \xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80",
        b"Data: not the field",
        b" data: not the field either",
        b"event: ping",
        b"event:message_stop",
        b"event",
        b"event: \xff",
        b": a comment",
        b":",
        b"id: 7",
        b"retry: 1000",
        b"unknown: field",
        b'{"error":"stray"}',
        b"\xef\xbb\xbfdata: a mark within",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r", b"\r\n\n", b"\n\r\n", b"\n\r"])
STREAMS = st.one_of(
    st.builds(
        lambda bom, lines, tail: bom + b"".join(line + end for line, end in lines) + tail,
        st.sampled_from([b"", b"", b"\xef\xbb\xbf"]),
        st.lists(st.tuples(LINES, ENDS), max_size=12),
        st.one_of(st.just(b""), LINES),
    ),
    st.binary(max_size=60),
    st.lists(
        st.sampled_from([b"d", b"data:", b":", b" ", b"\r", b"\n", b"x", b"\xef", b"\xbb", b"\xbf"]), max_size=40
    ).map(b"".join),
)


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


@settings(max_examples=150)
@given(STREAMS)
def test_the_events_are_those_of_the_specification(stream: bytes) -> None:
    assert frames(stream) == reference(stream)


@settings(max_examples=150)
@given(STREAMS, st.lists(st.integers(0, 1000), max_size=12))
def test_any_split_gives_the_same_events(stream: bytes, places: list[int]) -> None:
    whole, split, bytewise = Codec(), Codec(), Codec()
    expected = whole.feed(stream)
    assert [frame for piece in cut(stream, places) for frame in split.feed(piece)] == expected
    assert [frame for at in range(len(stream)) for frame in bytewise.feed(stream[at : at + 1])] == expected
    assert (split.stray, split.comments, split.pending) == (whole.stray, whole.comments, whole.pending)
    assert (bytewise.stray, bytewise.comments, bytewise.pending) == (whole.stray, whole.comments, whole.pending)
    assert split.finish() == bytewise.finish() == whole.finish()


@settings(max_examples=60)
@given(st.lists(LINES, max_size=12))
def test_the_three_line_ends_mean_the_same(lines: list[bytes]) -> None:
    lf, crlf, cr = (frames(b"".join(line + end for line in lines)) for end in (b"\n", b"\r\n", b"\r"))
    assert lf == crlf == cr


@settings(max_examples=60)
@given(STREAMS)
def test_finish_adds_at_most_the_event_that_lacks_its_blank_line(stream: bytes) -> None:
    codec = Codec()
    before = codec.feed(stream)
    assert before + codec.finish() in (reference(stream), reference(stream + b"\n\n"))


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: a\n\n", [("", b"a")], id="plain"),
        pytest.param(b"event: e\ndata: a\n\n", [("e", b"a")], id="named"),
        pytest.param(b"data: a\nevent: e\n\n", [("e", b"a")], id="name after data"),
        pytest.param(b"data: a\ndata:b\ndata\ndata:\n\n", [("", b"a\nb\n\n")], id="several data lines"),
        pytest.param(b"data:\n\n", [("", b"")], id="empty data is an event"),
        pytest.param(b"event: e\n\ndata: a\n\n", [("", b"a")], id="a name without data is forgotten"),
        pytest.param(b"data: a\nid: 1\nretry: 5\n\n", [("", b"a")], id="id and retry"),
        pytest.param(b": hello\n\n:\n\ndata: a\n: between\n\n", [("", b"a")], id="comments"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [("", b"a")], id="byte order mark"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [], id="only one mark is taken away"),
        pytest.param(b"data: a", [], id="without any line end"),
        pytest.param(b"data: a\n", [], id="without its blank line"),
        pytest.param(b"data: a\r\n\ndata: b\n\r\n", [("", b"a"), ("", b"b")], id="mixed line ends"),
        pytest.param(b"data: a\r\r\n\n", [("", b"a")], id="CR, CRLF, LF"),
        pytest.param(
            "data: \u2028\u2029\x85\x0b\x0c\n\n".encode(),
            [("", "\u2028\u2029\x85\x0b\x0c".encode())],
            id="no line ends",
        ),
        pytest.param(b"data: a\x00b\n\n", [("", b"a\x00b")], id="NUL"),
    ],
)
def test_events(stream: bytes, expected: Frames) -> None:
    assert frames(stream) == reference(stream) == expected
    assert frames(*(stream[at : at + 1] for at in range(len(stream)))) == expected


@pytest.mark.parametrize("tail", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r", b"data: [DONE]\r\n"])
def test_finish_gives_an_event_that_lacks_its_blank_line(tail: bytes) -> None:
    codec = Codec()
    assert codec.feed(b"data: a\n\n" + tail) == [("", b"a")]
    assert codec.pending
    assert codec.finish() == [("", b"[DONE]")]
    assert codec.finish() == []


def test_finish_of_a_whole_stream_gives_nothing() -> None:
    codec = Codec()
    assert codec.feed(b"data: a\n\n: bye\n\n") == [("", b"a")]
    assert not codec.pending
    assert codec.finish() == []


def test_lines_that_are_not_fields_are_kept_as_stray_up_to_a_bound() -> None:
    codec = Codec()
    assert codec.feed(b'data: a\n\n{\n "error": {"code": 400}\n}\n') == [("", b"a")]
    assert codec.stray == b'{\n "error": {"code": 400}\n}'
    for _ in range(100):
        codec.feed(b"x" * 4096 + b"\n")
    assert MAX_STRAY_BYTES <= len(codec.stray) <= 2 * MAX_STRAY_BYTES


def test_comments_are_counted_as_signs_of_life() -> None:
    codec = Codec()
    codec.feed(b": keep-alive\n\n:\n: OPENROUTER PROCESSING\n\n")
    assert codec.comments == 3


@pytest.mark.parametrize(
    "line",
    [pytest.param(b"x" * 65536, id="one line"), pytest.param(b"data: " + b"x" * 65000 + b"\n", id="many data lines")],
)
def test_an_event_without_end_is_refused_and_not_stored(line: bytes) -> None:
    codec = Codec()
    codec.feed(b"data: ")
    fed = 0

    def feed_on() -> None:
        nonlocal fed
        while fed < 2 * MAX_EVENT_BYTES:
            fed += len(line)
            assert codec.feed(line) == []

    with pytest.raises(SidecarError) as caught:
        feed_on()
    assert caught.value.body.code == "provider_error"
    assert caught.value.body.reason == "event_too_large"
    assert fed <= MAX_EVENT_BYTES + 2 * len(line)


def test_an_event_within_the_bound_is_whole_however_it_comes() -> None:
    payload = b"x" * (10 * 1024 * 1024)
    stream = b"data: " + payload + b"\n\n"
    assert frames(stream) == [("", payload)]
    assert frames(*(stream[at : at + 65536] for at in range(0, len(stream), 65536))) == [("", payload)]


def test_many_events_in_one_piece_are_not_a_long_event() -> None:
    stream = b"data: " + b"x" * 1000 + b"\n\n"
    assert len(frames(stream * 20_000)) == 20_000


def _seconds(stream: bytes, piece: int) -> float:
    best = 60.0
    for _ in range(3):
        codec = Codec()
        started = time.thread_time()
        for at in range(0, len(stream), piece):
            codec.feed(stream[at : at + piece])
        best = min(best, time.thread_time() - started)
    return best


@pytest.mark.parametrize(
    "unit",
    [
        pytest.param(b"data: " + b"x" * 90 + b"\n\n", id="small events"),
        pytest.param(b"data: " + b"x" * 90 + b"\n", id="one event of many lines"),
        pytest.param(b"x" * 96, id="one line"),
        pytest.param(b"data: " + b"x" * 90 + b"\r\n\r\n", id="CRLF"),
    ],
)
def test_time_is_linear_in_the_stream(unit: bytes) -> None:
    small = unit * (1_000_000 // len(unit))
    # Ten times the bytes may take ten times the time, and as much again for a busy machine.
    assert _seconds(small * 10, 1024) < 20 * max(_seconds(small, 1024), 0.005)


def test_the_bounds_are_those_that_are_documented() -> None:
    assert sse.MAX_EVENT_BYTES == 16 * 1024 * 1024
    assert sse.MAX_STRAY_BYTES == 64 * 1024


def test_an_event_of_short_lines_counts_for_the_memory_that_it_takes() -> None:
    codec, line_count = Codec(), MAX_EVENT_BYTES // 40
    codec.feed(b"data:\n" * line_count)
    with pytest.raises(SidecarError) as caught:
        codec.feed(b"data:\n")
    assert caught.value.body.reason == "event_too_large"
