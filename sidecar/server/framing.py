"""Bytes to lines, lines to envelopes, structs to lines. [sans-IO]

Knows NDJSON and its bounds. Must not know descriptors, what an action means, or providers.
Memory and time are linear in the input: a partial line is kept in the pieces in which it arrived.
"""

import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from protocol.requests import Envelope
from protocol.values import Id
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import find_lone_surrogate, is_too_deep, make_validation_error, require_memory

MAX_LINE_BYTES = 32 * 1024 * 1024
"""The longest request line: room for a few images. A longer one is refused and skipped, never kept."""

ID_TYPE: Any = Id
"""The type of an id as a value, for msgspec."""

LARGE_LINE_BYTES = 1024 * 1024
"""A part of a line that is longer than this is let go of when memory is short."""

SNIFF_BYTES = 64 * 1024
"""How much of an overlong line is searched for its `id`."""

_BOM = b"\xef\xbb\xbf"


T = TypeVar("T", bound=msgspec.Struct)


class TooLong(msgspec.Struct, frozen=True):
    """A line over the limit, or one that there is not enough memory for. *head* is its beginning."""

    head: bytes
    no_memory: bool = False


class LineDecoder:
    """Splits a byte stream at LF. Call `feed` with what arrives, and `end` once at the end of input."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._skipping = False
        self._at_start = True

    def feed(self, data: bytes) -> Iterator[bytes | TooLong]:
        """Yield each line that *data* completes, without its line end. Blank lines are skipped."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            try:
                line = self._finish(data[start:end])
            except MemoryError:
                line = None if self._skipping else self._refuse(no_memory=True)
                self._skipping = False
            start = end + 1
            if line:
                yield line
        if start < len(data):
            try:
                too_long = self._keep(data[start:] if start else data)
            except MemoryError:
                too_long = self._skip(no_memory=True)
            if too_long:
                yield too_long

    def give_up(self) -> TooLong | None:
        """Return the line that is not complete, if it takes much memory, and skip the rest of it; else None."""
        if self._size_bytes <= LARGE_LINE_BYTES:
            return None
        return self._skip(no_memory=True)

    def end(self) -> Iterator[bytes | TooLong]:
        """Yield the last line if it has no LF."""
        if line := self._finish(b""):
            yield line

    def _keep(self, piece: bytes) -> TooLong | None:
        if self._skipping:
            return None
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        if self._size_bytes <= self._max_line_bytes:
            return None
        return self._skip()

    def _skip(self, *, no_memory: bool = False) -> TooLong:
        self._skipping = True
        return self._refuse(no_memory=no_memory)

    def _finish(self, tail: bytes) -> bytes | TooLong | None:
        if self._skipping:
            self._skipping = False
            return None
        if self._size_bytes + len(tail) > self._max_line_bytes:
            self._pieces.append(tail)
            return self._refuse()
        line = b"".join((*self._pieces, tail)) if self._pieces else tail
        self._pieces.clear()
        self._size_bytes = 0
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        return line.strip(b" \t\r")

    def _refuse(self, *, no_memory: bool = False) -> TooLong:
        pieces, self._pieces = self._pieces, []
        self._size_bytes = 0
        self._at_start = False
        # All that is not the beginning goes first: there may be no memory for a copy before.
        size_bytes = count = 0
        while count < len(pieces) and size_bytes < SNIFF_BYTES:
            size_bytes += len(pieces[count])
            count += 1
        del pieces[count:]
        return TooLong(b"".join(pieces)[:SNIFF_BYTES], no_memory)


_envelope = msgspec.json.Decoder(Envelope)


class _OpenEnvelope(Envelope, frozen=True, forbid_unknown_fields=False, kw_only=True):
    """An envelope that may have other fields."""


_open_envelope = msgspec.json.Decoder(_OpenEnvelope)
_HUGE_EXPONENT = re.compile(rb"\d[eE]\+?\d{3}")

MAX_NUMBER_CHECK_BYTES = 1024 * 1024
"""The longest line that is checked for numbers out of range in fields that are not read. They do no harm there, and
checking a longer line would delay every other request."""

MAX_DEPTH = 1000
"""How deeply a line may be nested: where the stack of Python before 3.12 ends, so that all versions refuse the same."""


def _decoder_bounds_depth() -> bool:
    try:
        msgspec.json.decode(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    except RecursionError:
        return True
    return False


_DECODER_BOUNDS_DEPTH = _decoder_bounds_depth()


def decode_envelope(line: bytes, unknown: list[str] | None = None) -> Envelope:
    """Return the envelope of one line, and add the keys that it should not have to *unknown*.

    Raises: SidecarError `parse_error` if the line is not JSON in UTF-8, `invalid_request` if it is JSON but not a
    request. The message names the field and never its value.
    """
    require_memory(line)
    try:
        if not line.isascii():
            line.decode()
        if not _DECODER_BOUNDS_DEPTH and is_too_deep(line, MAX_DEPTH):
            raise RecursionError  # noqa: TRY301 - as the decoder of an older Python does
        if len(line) <= MAX_NUMBER_CHECK_BYTES and _HUGE_EXPONENT.search(line):
            msgspec.json.decode(line)
        try:
            return _envelope.decode(line)
        except msgspec.ValidationError as error:
            if "unknown field" not in str(error):
                raise
            return _decode_open_envelope(line, [] if unknown is None else unknown)
    except msgspec.ValidationError as error:
        raise _make_envelope_error(error, line) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise make_parse_error(error, line) from None


def _decode_open_envelope(line: bytes, unknown: list[str]) -> Envelope:
    # Most hosts never need it.
    from sidecar.server import lenient

    envelope = _open_envelope.decode(line)
    unknown += lenient.find_unknown_keys(line, Envelope)
    return envelope


def decode_params(raw: bytes | msgspec.Raw, kind: type[T], unknown: list[str] | None = None) -> T:
    """Return *raw* as a struct of *kind*, and add the paths of the fields that it does not have to *unknown*.

    Raises: SidecarError `parse_error`, or `invalid_request` whose path begins with `params`.
    """
    require_memory(raw)
    try:
        try:
            return _find_decoder(kind).decode(raw)
        except msgspec.ValidationError as error:
            # Most hosts never need it.
            from sidecar.server import lenient

            if not lenient.may_help(raw, error):
                raise
            return lenient.convert_params(raw, kind, [] if unknown is None else unknown)
    except msgspec.ValidationError as error:
        raise make_validation_error(error, "params", kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise make_parse_error(error, raw, "params") from None


_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def _find_decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    return decoder


ONE_LINE = "A request is one JSON object on one line. `jq -c` writes one so, and `sidecar --help` shows one."


def make_parse_error(error: Exception, encoded: bytes | msgspec.Raw = b"", root: str = "") -> SidecarError:
    """Return the `parse_error` of a line that is not JSON. It says where the mistake is, and not what is there."""
    if isinstance(error, RecursionError):
        return SidecarError("parse_error", f"The line is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(error, UnicodeDecodeError):
        return SidecarError("parse_error", f"The line is not UTF-8 (byte {error.start}).")
    if (path := find_lone_surrogate(encoded, root)) is not None:
        return SidecarError("parse_error", f"`{path}` has half of a surrogate pair, which is no character.", param=path)
    detail = str(error)
    place = match[0] if (match := re.search(r"\(byte \d+\)", detail)) else ""
    return SidecarError("parse_error", f"The line is not valid JSON {place}".strip() + ".", hint=ONE_LINE)


def _make_envelope_error(error: msgspec.ValidationError, line: bytes) -> SidecarError:
    # A wrong type early in the line hides broken JSON after it, which is the better thing to report.
    try:
        msgspec.json.decode(line)
    except msgspec.ValidationError:
        return SidecarError("parse_error", "The line holds a number that is out of range.")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        return make_parse_error(broken)
    return make_validation_error(error, "", Envelope)


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[{}\[\]:,]|[^\s{}\[\]:,"]++')


def sniff_id(head: bytes) -> int | str | None:
    """Return the top-level `id` in *head*, the beginning of a line that was too long to parse, or None."""
    depth = 0
    previous: list[bytes] = [b"", b""]
    for match in _TOKEN.finditer(head):
        token = match[0]
        if depth == 1 and previous == [b'"id"', b":"]:
            # The head may end in the middle of the id.
            return _parse_id(token) if match.end() < len(head) else None
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
        previous = [previous[1], token]
    return None


def _parse_id(token: bytes) -> int | str | None:
    try:
        request_id: int | str = msgspec.json.decode(token, type=ID_TYPE)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return None
    return request_id


encoder = msgspec.json.Encoder()

_LINE_BREAKERS = re.compile(b"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf")
"""DEL, the C1 controls, U+2028, U+2029 and U+FEFF in UTF-8."""


def encode_line(line: msgspec.Struct) -> bytearray:
    """Return *line* as one line of compact JSON with its LF, in one buffer: a second copy may be too much."""
    encoded = bytearray()
    encoder.encode_into(line, encoded)
    if not encoded.isascii() or b"\x7f" in encoded:
        encoded[:] = escape_line_breaks(encoded)
    encoded += b"\n"
    return encoded


def escape_line_breaks(lines: bytes | bytearray) -> bytes:
    """Return JSON *lines* with every character escaped that JSON allows in a string and some hosts take for a line end.

    Node's `readline` and Python's `splitlines` do so, and terminals obey C1 controls.
    """
    if lines.isascii() and b"\x7f" not in lines:
        return bytes(lines)
    return _LINE_BREAKERS.sub(_escape, lines)


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode())
