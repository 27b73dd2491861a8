"""Newline-delimited JSON: one frame for each line, at any split, within a bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.codecs import ndjson
from sidecar.codecs.ndjson import Codec
from sidecar.core.errors import SidecarError

Frames = list[tuple[str, bytes]]


def frames(*pieces: bytes) -> Frames:
    codec = Codec()
    return [frame for piece in pieces for frame in codec.feed(piece)] + codec.finish()


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        (b"", []),
        (b"\n\n \n", []),
        (b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\r\n', [b'{"a":1}\r']),
        (b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
    ],
)
def test_each_line_that_is_not_blank_is_a_frame_without_a_name(stream: bytes, lines: list[bytes]) -> None:
    assert frames(stream) == [("", line) for line in lines]


@given(st.lists(st.sampled_from([b'{"a":', b"1}", b"\n", b"\r\n", b" ", b""]), max_size=12), st.data())
def test_the_frames_are_the_same_however_the_bytes_are_split(tokens: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(tokens)
    cut = data.draw(st.integers(0, len(stream)))
    assert frames(stream[:cut], stream[cut:]) == frames(stream)


def test_a_last_line_without_its_end_comes_out_of_finish_once() -> None:
    codec = Codec()
    assert codec.feed(b'{"a":1}') == []
    assert codec.finish() == [("", b'{"a":1}')]
    assert codec.finish() == []


def test_a_line_without_end_is_refused_and_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "MAX_LINE_BYTES", 10)
    codec = Codec()
    codec.feed(b"12345")
    codec.feed(b"67890")
    with pytest.raises(SidecarError) as caught:
        codec.feed(b"1")
    assert caught.value.body.reason == "event_too_large"
