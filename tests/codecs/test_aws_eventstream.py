"""The event stream codec: compared with AWS's own reader, at every split, and with damaged bytes."""

import random
import struct
import zlib
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.codecs.aws_eventstream import MAX_HEADERS_BYTES, MAX_PAYLOAD_BYTES, Codec, parse_headers
from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError


def header(name: str, value: str) -> bytes:
    text = value.encode()
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(text)) + text


def frame(payload: bytes, headers: bytes = b"", **named: str) -> bytes:
    """Return a frame: `frame(b"{}", event_type="metadata")` has the header `:event-type`."""
    block = headers + b"".join(header(f":{name.replace('_', '-')}", value) for name, value in named.items())
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + payload
    return body + struct.pack(">I", zlib.crc32(body))


def event(name: str, payload: bytes) -> bytes:
    """Return a frame as Bedrock sends them."""
    return frame(payload, event_type=name, content_type="application/json", message_type="event")


STREAM = b"".join(
    (
        event("messageStart", b'{"role":"assistant"}'),
        event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"a"},"p":"abc"}'),
        event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"b"},"p":"abcdef"}'),
        event("empty", b""),
        frame(b'{"message":"slow down"}', message_type="exception", exception_type="throttlingException"),
        frame(b"", message_type="error", error_code="InternalError", error_message="it broke: ä"),
    )
)
FRAMES: list[Frame] = [
    ("messageStart", b'{"role":"assistant"}'),
    ("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"a"},"p":"abc"}'),
    ("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"b"},"p":"abcdef"}'),
    ("empty", b""),
    ("exception:throttlingException", b'{"message":"slow down"}'),
    ("error:InternalError", "it broke: ä".encode()),
]


def read(pieces: list[bytes]) -> list[Frame]:
    codec, frames = Codec(), list[Frame]()
    for piece in pieces:
        frames += codec.feed(piece)
    return frames + codec.finish()


def read_until_error(pieces: list[bytes]) -> tuple[list[Frame], SidecarError | None]:
    codec, frames = Codec(), list[Frame]()
    try:
        for piece in pieces:
            frames += codec.feed(piece)
        frames += codec.finish()
    except SidecarError as error:
        return frames, error
    return frames, None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


def test_frames_are_named_by_their_kind_of_message() -> None:
    assert read([STREAM]) == FRAMES


def test_one_byte_at_a_time_makes_no_difference() -> None:
    assert read([STREAM[i : i + 1] for i in range(len(STREAM))]) == FRAMES


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_no_split_makes_a_difference(places: list[int]) -> None:
    assert read(cut(STREAM, places)) == FRAMES


@given(
    st.lists(st.tuples(st.text(max_size=40), st.binary(max_size=300)), max_size=8),
    st.lists(st.integers(0, 4000), max_size=12),
)
def test_what_awss_own_reader_reads_we_read(messages: list[tuple[str, bytes]], places: list[int]) -> None:
    from botocore.eventstream import EventStreamBuffer

    data = b"".join(event(name, payload) for name, payload in messages)
    oracle = EventStreamBuffer()
    oracle.add_data(data)
    assert read(cut(data, places)) == [(each.headers[":event-type"], each.payload) for each in oracle]


ALL_TYPES: list[tuple[bytes, Any]] = [
    (b"\x00", True),
    (b"\x01", False),
    (b"\x02\xfe", -2),
    (b"\x03\xff\xfe", -2),
    (b"\x04\x00\x01\x00\x00", 65536),
    (b"\x05\xff\xff\xff\xff\xff\xff\xff\xff", -1),
    (b"\x06\x00\x03a\x00b", b"a\x00b"),
    (b"\x07\x00\x03\xc3\xa4b", "äb"),
    (b"\x08\x00\x00\x01\x8b\xcf\xe5\x68\x00", 0x18BCFE56800),
    (b"\x09" + bytes(range(16)), UUID(bytes=bytes(range(16)))),
]


def test_headers_of_every_type_are_read() -> None:
    block = b"".join(bytes([1, 97 + at]) + value for at, (value, _) in enumerate(ALL_TYPES))
    assert list(parse_headers(block).values()) == [value for _, value in ALL_TYPES]
    assert read([frame(b"x", block, event_type="named")]) == [("named", b"x")]


def test_headers_of_every_type_are_those_that_awss_own_reader_reads() -> None:
    from botocore.eventstream import EventStreamBuffer

    block = b"".join(bytes([1, 97 + at]) + value for at, (value, _) in enumerate(ALL_TYPES))
    oracle = EventStreamBuffer()
    oracle.add_data(frame(b"", block))
    theirs = next(oracle).headers
    ours = parse_headers(block)
    assert {name: value.bytes if isinstance(value, UUID) else value for name, value in ours.items()} == theirs


@pytest.mark.parametrize(
    "block", [b"\x05ab", b"\x01a", b"\x01a\x0a", b"\x01a\x07\x00\x09abc", b"\x01a\x04\x00", b"\x01\xff\x00"]
)
def test_invalid_headers_are_a_provider_error(block: bytes) -> None:
    with pytest.raises(SidecarError) as caught:
        Codec().feed(frame(b"", block))
    assert (caught.value.body.code, caught.value.body.reason) == ("provider_error", "bad_event")


def test_a_stream_that_is_cut_short_yields_its_whole_frames() -> None:
    for end in range(len(STREAM)):
        frames = read([STREAM[:end]])
        assert frames == FRAMES[: len(frames)]
        assert len(frames) < len(FRAMES)


def test_damage_is_found_wherever_it_is_and_what_came_before_it_stays_good() -> None:
    for at in range(len(STREAM)):
        damaged = bytearray(STREAM)
        damaged[at] ^= 0x20
        frames, error = read_until_error(cut(bytes(damaged), random.Random(at).sample(range(len(STREAM)), 5)))
        assert error is not None
        assert (error.body.code, error.body.reason) == ("stream_interrupted", "bad_crc")
        assert frames == FRAMES[: len(frames)]


def test_damage_after_a_whole_frame_is_reported_after_that_frame() -> None:
    codec = Codec()
    assert codec.feed(event("first", b"{}") + b"\xff" * 40) == [("first", b"{}")]
    for read_on in (codec.finish, lambda: codec.feed(b"")):
        with pytest.raises(SidecarError) as caught:
            read_on()
        assert caught.value.body.reason == "bad_crc"


def test_nothing_is_read_after_damage() -> None:
    codec = Codec()
    with pytest.raises(SidecarError):
        codec.feed(b"\xff" * 40)
    with pytest.raises(SidecarError):
        codec.feed(event("first", b"{}"))


def prelude(total_bytes: int, headers_bytes: int) -> bytes:
    sizes = struct.pack(">II", total_bytes, headers_bytes)
    return sizes + struct.pack(">I", zlib.crc32(sizes))


@pytest.mark.parametrize(
    ("total_bytes", "headers_bytes", "code", "reason"),
    [
        (15, 0, "stream_interrupted", "bad_crc"),
        (0, 0, "stream_interrupted", "bad_crc"),
        (40, 25, "stream_interrupted", "bad_crc"),
        (16 + MAX_PAYLOAD_BYTES + 1, 0, "provider_error", "event_too_large"),
        (16 + MAX_HEADERS_BYTES + 1, MAX_HEADERS_BYTES + 1, "provider_error", "event_too_large"),
        (2**32 - 1, 0, "provider_error", "event_too_large"),
    ],
)
def test_impossible_sizes_are_refused_before_anything_is_kept(
    total_bytes: int, headers_bytes: int, code: str, reason: str
) -> None:
    with pytest.raises(SidecarError) as caught:
        Codec().feed(prelude(total_bytes, headers_bytes))
    assert (caught.value.body.code, caught.value.body.reason) == (code, reason)


def test_the_largest_frame_is_read() -> None:
    data = event("large", bytes(MAX_PAYLOAD_BYTES))
    assert read([data[i : i + 65536] for i in range(0, len(data), 65536)]) == [("large", bytes(MAX_PAYLOAD_BYTES))]


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_give_frames_or_a_sidecar_error(data: bytes, place: int) -> None:
    _, error = read_until_error(cut(data, [place]))
    assert error is None or error.body.code in ("stream_interrupted", "provider_error")
