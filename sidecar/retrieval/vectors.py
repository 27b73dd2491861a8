"""One vector: from the JSON of a provider to the JSON for the host. [pure]

Numbers keep their text: a vector that the host wants as numbers is checked, and passed on as the provider wrote it.
Packed vectors are float32 in base64 as a rule; some servers pack float64 or int8.
"""

import binascii
import math
import sys
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from protocol.embeddings import VectorEncoding

_decode_numbers = msgspec.json.Decoder(list[float]).decode
_decode_text = msgspec.json.Decoder(str).decode

MAX_PLAUSIBLE = 1e6
"""No number of an embedding is larger."""

MIN_TOLD = 32
"""How many numbers it takes to tell float64 from float32 by what the numbers are."""

UPPER_RANGE = (0.01, 4.0)


class Vector(NamedTuple):
    """A vector as it is written to the host."""

    text: bytes
    """A list of numbers or a string, as JSON without white space."""
    dimensions: int


class BadVectorError(Exception):
    """A vector that cannot be passed on. The text says what is wrong with it, as the end of a sentence."""


def read_vector(raw: msgspec.Raw | None, encoding: VectorEncoding, dimensions: int | None) -> Vector:
    """Return the vector *raw* in the *encoding* for the host; *dimensions* is the length that was asked for, if any.

    Raises: BadVectorError.
    """
    written = b"" if raw is None else bytes(memoryview(raw)).strip()
    match written[:1]:
        case b"[":
            return _read_numbers(written, encoding)
        case b'"':
            return _read_packed(written, encoding, dimensions)
    raise BadVectorError("is missing")


def _read_numbers(written: bytes, encoding: VectorEncoding) -> Vector:
    try:
        numbers = _decode_numbers(written)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadVectorError("has something that is no number, or one that is out of range") from None
    if not numbers:
        raise BadVectorError("is empty")
    if encoding == "float":
        return Vector(written.translate(None, b" \t\r\n"), len(numbers))
    return _pack(numbers)


def _read_packed(written: bytes, encoding: VectorEncoding, dimensions: int | None) -> Vector:
    try:
        data = binascii.a2b_base64(_decode_text(written), strict_mode=True)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError):
        raise BadVectorError("is not packed in base64") from None
    numbers = _unpack(data, dimensions)
    if not numbers:
        raise BadVectorError("is empty")
    if _may_be_infinite(data) and not math.isfinite(sum(numbers)):
        raise BadVectorError("has NaN or infinity")
    if encoding == "float":
        return Vector(msgspec.json.encode(list(numbers)), len(numbers))
    return Vector(_quote(data), len(numbers)) if numbers.typecode == "f" else _pack(numbers)


def _may_be_infinite(data: bytes) -> bool:
    """Return whether some number in *data* may be NaN or infinite; neither survives an addition.

    The first byte of the largest numbers has all bits of its exponent, in float32 and float64. A look at these bytes
    takes a tenth of the time of an addition.
    """
    highest = data[3::4]
    return b"\x7f" in highest or b"\xff" in highest


def _unpack(data: bytes, dimensions: int | None) -> "array[float] | array[int]":
    """Return the numbers in *data*, little-endian: float32, unless only another type has that many *dimensions*."""
    if dimensions is not None and len(data) == dimensions:
        return _read_array("b", data)
    if len(data) % 4:
        raise BadVectorError("is not packed as float32")
    if dimensions is not None and len(data) == 8 * dimensions:
        return _read_array("d", data)
    numbers = _read_array("f", data)
    is_double = dimensions is None and len(data) % 8 == 0 and _seems_double(numbers)
    return _read_array("d", data) if is_double else numbers


def _seems_double(numbers: "array[float] | array[int]") -> bool:
    """Return whether *numbers* are the halves of float64 numbers, read as float32.

    The upper half of a number from 1e-16 to 1 is one from 0.01 to 4, and the lower half has any bits, or none.
    """
    if len(numbers) < MIN_TOLD:
        return False
    upper, lower = numbers[1::2], numbers[::2]
    if not all(each == 0 or UPPER_RANGE[0] <= abs(each) < UPPER_RANGE[1] for each in upper):
        return False
    return not any(lower) or not all(abs(each) <= MAX_PLAUSIBLE for each in lower)


def _read_array(typecode: str, data: bytes) -> "array[float] | array[int]":
    numbers: array[float] = array(typecode, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _pack(numbers: "Sequence[float] | array[float] | array[int]") -> Vector:
    packed = array("f", numbers)
    if not math.isfinite(sum(packed)):
        raise BadVectorError("has a number that float32 cannot hold")
    if sys.byteorder == "big":
        packed.byteswap()
    return Vector(_quote(packed.tobytes()), len(packed))


def _quote(data: bytes) -> bytes:
    """Return *data* in base64 as a JSON string."""
    return b'"%b"' % binascii.b2a_base64(data, newline=False)
