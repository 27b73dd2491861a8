"""One vector, from the JSON of a provider to the JSON for the host."""

import base64
import json
import struct
from typing import Any

import msgspec
import pytest

from sidecar.retrieval.vectors import BadVectorError, read_vector

DIGITS = "0." + "1234567890" * 30


def pack(code: str, *numbers: float) -> msgspec.Raw:
    data = struct.pack(f"<{len(numbers)}{code}", *numbers)
    return msgspec.Raw(json.dumps(base64.b64encode(data).decode()).encode())


def unpack(text: bytes) -> tuple[Any, ...]:
    data = base64.b64decode(json.loads(text), validate=True)
    return struct.unpack(f"<{len(data) // 4}f", data)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (b"[0.10,-0.0,1E-7,1]", b"[0.10,-0.0,1E-7,1]"),
        (b" [ 1,\n\t2.50\r\n] ", b"[1,2.50]"),
        (f"[{DIGITS}]".encode(), f"[{DIGITS}]".encode()),
        (b"[-128,127]", b"[-128,127]"),
    ],
)
def test_numbers_keep_their_text(written: bytes, text: bytes) -> None:
    vector = read_vector(msgspec.Raw(written), "float", None)
    assert vector.text == text
    assert vector.dimensions == len(json.loads(text))


def test_numbers_are_packed_as_little_endian_float32() -> None:
    vector = read_vector(msgspec.Raw(b"[0.1, -2, 3e-3]"), "f32_base64", None)
    assert vector.dimensions == 3
    assert unpack(vector.text) == struct.unpack("<3f", struct.pack("<3f", 0.1, -2, 3e-3))


def test_packed_numbers_stay_as_they_are() -> None:
    raw = pack("f", 0.1, -2.0, 3e-3)
    assert read_vector(raw, "f32_base64", None).text == bytes(raw)
    numbers = json.loads(read_vector(raw, "float", None).text)
    assert struct.pack("<3f", *numbers) == struct.pack("<3f", 0.1, -2.0, 3e-3)


@pytest.mark.parametrize(("code", "numbers"), [("d", (0.1, -0.2)), ("b", (-128, 127, 3, 4))])
def test_another_type_is_known_by_the_length_that_was_asked_for(code: str, numbers: tuple[float, ...]) -> None:
    vector = read_vector(pack(code, *numbers), "float", len(numbers))
    assert json.loads(vector.text) == list(numbers)


def test_float64_is_known_by_what_it_would_be_as_float32() -> None:
    numbers = [0.001 * number - 0.5 for number in range(1000)]
    vector = read_vector(pack("d", *numbers), "float", None)
    assert json.loads(vector.text) == numbers
    # Numbers of half precision leave zeros in between.
    assert json.loads(read_vector(pack("d", *[0.5, -0.25] * 16), "float", None).text) == [0.5, -0.25] * 16
    assert read_vector(pack("f", *[0.001, 0.5] * 50), "float", None).dimensions == 100
    assert read_vector(pack("f", *numbers), "float", None).dimensions == 1000


BAD = {
    "missing": [b"null", b"1", b"{}", b"true", b""],
    "empty": [b"[]", b'""'],
    "no number": [b'[1,"2"]', b"[1,null]", b"[true]", b"[[1]]", b"[1e999]", b"[1" + b"0" * 400 + b"]", b'["\xff"]'],
    "base64": [b'"no base64!"', b'"AAA"', b'"\xff"'],
    "float32": [b'"AAAAAAA="'],
    "NaN": [bytes(pack("f", 1.0, float("nan"))), bytes(pack("f", float("inf"), 1.0))],
}


@pytest.mark.parametrize(("problem", "written"), [(name, each) for name, all_of in BAD.items() for each in all_of])
def test_what_is_no_vector_is_told(problem: str, written: bytes) -> None:
    with pytest.raises(BadVectorError, match=problem):
        read_vector(msgspec.Raw(written), "float", None)


def test_a_vector_that_is_not_there_is_told() -> None:
    with pytest.raises(BadVectorError, match="missing"):
        read_vector(None, "float", None)


def test_a_number_that_float32_cannot_hold_is_told() -> None:
    assert read_vector(msgspec.Raw(b"[1e39]"), "float", None).text == b"[1e39]"
    with pytest.raises(BadVectorError, match="float32"):
        read_vector(msgspec.Raw(b"[1e39]"), "f32_base64", None)
