"""`application/vnd.amazon.eventstream` → frames. [sans-IO]

Knows preludes, checksums, headers and the three kinds of messages. Must not know what an event
means. Source: botocore 1.44.5 `eventstream.py`, read 2026-11.

The name of a frame is its `:event-type`; that of an exception is `exception:<its type>`, that of
an error, which has no payload, `error:<its code>` with the error's message in place of one.
"""

import struct
import zlib
from typing import NamedTuple
from uuid import UUID

from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError

MAX_HEADERS_BYTES = 128 * 1024
MAX_PAYLOAD_BYTES = 24 * 1024 * 1024
"""The largest header block and payload that AWS's own client takes."""

_PRELUDE = struct.Struct(">III")
"""Size of the whole frame, size of its headers, CRC-32 of these two."""
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
"""The header types that are numbers of a fixed size; 8 is a time in milliseconds since 1970."""
_LENGTH = struct.Struct(">H")


class _Head(NamedTuple):
    """What the headers of a frame say: its name and, for an error, the payload that stands in them."""

    event: str
    payload: bytes | None


class Codec:
    """One stream. Nothing is read beyond a frame whose checksum is wrong."""

    SNIFF_DOCUMENT = True
    """A reply that begins like a JSON document is one: a frame begins with a byte of 0 or 1."""

    stray = b""
    """No bytes stand outside of the frames."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._needed_bytes = _PRELUDE.size
        self._failure: SidecarError | None = None
        self._last_headers = b""
        self._last_head = _Head("", None)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that *data* completes.

        Raises: SidecarError `stream_interrupted` for a wrong checksum or size and `provider_error` for a frame that
        is too large or has headers that are none; where whole frames came before it, at the next call.
        """
        if self._failure is not None:
            raise self._failure
        if len(self._kept) + len(data) < self._needed_bytes:
            self._kept += data
            return []
        if self._kept:
            data = bytes(self._kept) + data
        frames: list[Frame] = []
        try:
            rest = self._frames(data, frames)
        except SidecarError as error:
            self._failure = error
            if not frames:
                raise
            return frames
        self._kept = bytearray(data[rest:])
        return frames

    def finish(self) -> list[Frame]:
        """Return nothing: a frame that was cut short is none.

        Raises: SidecarError as `feed` does.
        """
        if self._failure is not None:
            raise self._failure
        return []

    def _frames(self, data: bytes, frames: list[Frame]) -> int:
        """Append the whole frames in *data* to *frames* and return where the rest begins."""
        view = memoryview(data)
        at = 0
        while True:
            if len(data) - at < _PRELUDE.size:
                self._needed_bytes = _PRELUDE.size
                return at
            total_bytes, headers_bytes = _sizes(view[at : at + _PRELUDE.size])
            end = at + total_bytes
            if end > len(data):
                self._needed_bytes = total_bytes
                return at
            if zlib.crc32(view[at : end - _CRC.size]) != _CRC.unpack_from(data, end - _CRC.size)[0]:
                raise _bad_frame()
            payload_at = at + _PRELUDE.size + headers_bytes
            head = self._head(data[at + _PRELUDE.size : payload_at])
            frames.append((head.event, data[payload_at : end - _CRC.size] if head.payload is None else head.payload))
            at = end

    def _head(self, headers: bytes) -> _Head:
        # Most frames of a stream have the very same headers as the one before.
        if headers != self._last_headers:
            self._last_head = _head_of(headers_of(headers))
            self._last_headers = headers
        return self._last_head


def _sizes(prelude: memoryview) -> tuple[int, int]:
    total_bytes, headers_bytes, checksum = _PRELUDE.unpack(prelude)
    if zlib.crc32(prelude[:8]) != checksum or total_bytes < headers_bytes + _OVERHEAD_BYTES:
        raise _bad_frame()
    if headers_bytes > MAX_HEADERS_BYTES or total_bytes - headers_bytes - _OVERHEAD_BYTES > MAX_PAYLOAD_BYTES:
        raise SidecarError("provider_error", "The provider sent a frame that is too large.", reason="event_too_large")
    return total_bytes, headers_bytes


def _head_of(headers: dict[str, HeaderValue]) -> _Head:
    kind = headers.get(":message-type", "event")
    if kind == "exception":
        return _Head(f"exception:{_text(headers.get(':exception-type'))}", None)
    if kind == "error":
        return _Head(f"error:{_text(headers.get(':error-code'))}", _text(headers.get(":error-message")).encode())
    return _Head(_text(headers.get(":event-type")), None)


def _text(value: HeaderValue | None) -> str:
    return value if isinstance(value, str) else ""


def headers_of(block: bytes) -> dict[str, HeaderValue]:
    """Return the headers in *block* by name; a time is in milliseconds since 1970.

    Raises: SidecarError `provider_error` when they cannot be read.
    """
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name = block[at + 1 : name_end].decode()
            headers[name], at = _value(block, name_end + 1, block[name_end])
    except (IndexError, ValueError, struct.error):
        raise SidecarError(
            "provider_error", "The provider sent an event that cannot be read.", reason="bad_event"
        ) from None
    return headers


def _value(block: bytes, at: int, kind: int) -> tuple[HeaderValue, int]:
    """Return the value of type *kind* at *at*, and where it ends."""
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


def _bad_frame() -> SidecarError:
    return SidecarError(
        "stream_interrupted", "The stream was damaged on its way: a checksum is wrong.", reason="bad_crc"
    )
