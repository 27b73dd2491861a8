"""`application/vnd.amazon.eventstream` → frames. [sans-IO]

Knows preludes, checksums, headers and the three kinds of messages. Must not know the meaning of an
event. Source: botocore 1.44.5 `eventstream.py`, read 2026-11.

The name of a frame is its `:event-type`. The name of an exception is `exception:<its type>`. The name
of an error is `error:<its code>`; it has no payload, so the error's message takes its place.
"""

import struct
import zlib
from typing import NamedTuple
from uuid import UUID

from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import read_text

MAX_HEADERS_BYTES = 128 * 1024
MAX_PAYLOAD_BYTES = 24 * 1024 * 1024
"""The largest header block and payload that AWS's own client takes."""

_PRELUDE = struct.Struct(">III")
"""The size of the whole frame, the size of its headers, and the CRC-32 of both."""
_CRC = struct.Struct(">I")
_OVERHEAD_BYTES = _PRELUDE.size + _CRC.size

HeaderValue = bool | int | bytes | str | UUID

_NUMBERS = {
    2: struct.Struct(">b"),
    3: struct.Struct(">h"),
    4: struct.Struct(">i"),
    5: struct.Struct(">q"),
    8: struct.Struct(">q"),
}
"""The header types that are numbers of a fixed size. Type 8 is a time in milliseconds since 1970."""
_LENGTH = struct.Struct(">H")


class _Head(NamedTuple):
    """What the headers of a frame say."""

    event: str
    """The name of the frame."""
    error_message: bytes | None
    """What an error has in place of a payload."""


class Codec:
    """One stream. It reads nothing beyond a frame with a wrong checksum."""

    SNIFF_DOCUMENT = True
    """A reply that begins like a JSON document is one: a frame begins with a byte of 0 or 1."""

    stray = b""
    """All bytes belong to frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed_bytes = _PRELUDE.size
        self._failure: SidecarError | None = None
        self._last_headers = b""
        self._last_head = _Head("", None)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that *data* completes.

        Raises: SidecarError `stream_interrupted` for a wrong checksum or size, and `provider_error` for a frame that
        is too large or has invalid headers. When whole frames came before it, the next call raises.
        """
        if self._failure is not None:
            raise self._failure
        if len(self._buffer) + len(data) < self._needed_bytes:
            self._buffer += data
            return []
        if self._buffer:
            data = bytes(self._buffer) + data
        frames: list[Frame] = []
        try:
            rest = self._split_frames(data, frames)
        except SidecarError as error:
            self._failure = error
            if not frames:
                raise
            return frames
        self._buffer = bytearray(data[rest:])
        return frames

    def finish(self) -> list[Frame]:
        """Return nothing: a frame that was cut short is not a frame.

        Raises: SidecarError as `feed` does.
        """
        if self._failure is not None:
            raise self._failure
        return []

    def _split_frames(self, data: bytes, frames: list[Frame]) -> int:
        """Append the whole frames in *data* to *frames*, and return where the rest begins."""
        view = memoryview(data)
        at = 0
        while True:
            if len(data) - at < _PRELUDE.size:
                self._needed_bytes = _PRELUDE.size
                return at
            total_bytes, headers_bytes = _read_prelude(view[at : at + _PRELUDE.size])
            end = at + total_bytes
            if end > len(data):
                self._needed_bytes = total_bytes
                return at
            if zlib.crc32(view[at : end - _CRC.size]) != _CRC.unpack_from(data, end - _CRC.size)[0]:
                raise _make_damage_error()
            payload_at = at + _PRELUDE.size + headers_bytes
            head = self._read_head(data[at + _PRELUDE.size : payload_at])
            payload = data[payload_at : end - _CRC.size] if head.error_message is None else head.error_message
            frames.append((head.event, payload))
            at = end

    def _read_head(self, headers: bytes) -> _Head:
        # Most frames have exactly the same headers as the frame before.
        if headers != self._last_headers:
            self._last_head = _make_head(parse_headers(headers))
            self._last_headers = headers
        return self._last_head


def _read_prelude(prelude: memoryview) -> tuple[int, int]:
    """Return the size of the frame and the size of its headers, in bytes."""
    total_bytes, headers_bytes, checksum = _PRELUDE.unpack(prelude)
    if zlib.crc32(prelude[:8]) != checksum or total_bytes < headers_bytes + _OVERHEAD_BYTES:
        raise _make_damage_error()
    if headers_bytes > MAX_HEADERS_BYTES or total_bytes - headers_bytes - _OVERHEAD_BYTES > MAX_PAYLOAD_BYTES:
        raise SidecarError("provider_error", "The provider sent a frame that is too large.", reason="event_too_large")
    return total_bytes, headers_bytes


def _make_head(headers: dict[str, HeaderValue]) -> _Head:
    kind = headers.get(":message-type", "event")
    if kind == "exception":
        return _Head(f"exception:{read_text(headers.get(':exception-type'))}", None)
    if kind == "error":
        return _Head(
            f"error:{read_text(headers.get(':error-code'))}", read_text(headers.get(":error-message")).encode()
        )
    return _Head(read_text(headers.get(":event-type")), None)


def parse_headers(block: bytes) -> dict[str, HeaderValue]:
    """Return the headers in *block* by name. A time is in milliseconds since 1970.

    Raises: SidecarError `provider_error` when they cannot be read.
    """
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name = block[at + 1 : name_end].decode()
            headers[name], at = _parse_value(block, name_end + 1, block[name_end])
    except (IndexError, ValueError, struct.error):
        raise SidecarError(
            "provider_error", "The provider sent an event that cannot be read.", reason="bad_event"
        ) from None
    return headers


def _parse_value(block: bytes, at: int, kind: int) -> tuple[HeaderValue, int]:
    """Return the value of type *kind* that begins at *at*, and where it ends."""
    if kind in (0, 1):
        return kind == 0, at
    if (number := _NUMBERS.get(kind)) is not None:
        return number.unpack_from(block, at)[0], at + number.size
    if kind in (6, 7):
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(block, at)[0]
        if end > len(block):
            raise ValueError
        return block[start:end].decode() if kind == 7 else block[start:end], end
    if kind == 9:
        return UUID(bytes=block[at : at + 16]), at + 16
    raise ValueError


def _make_damage_error() -> SidecarError:
    return SidecarError(
        "stream_interrupted", "The stream was damaged on its way: a checksum is wrong.", reason="bad_crc"
    )
