"""Images and documents: size and pages, read off the first bytes, and what they cost in tokens. [pure]

Images are never decoded: only as much of the base64 text is decoded as the header needs. The formulas
are those that the vendors give for their models (Anthropic "Vision", OpenAI "Images and vision", Google
"Image understanding"), read 2026-11.
"""

import binascii
import math
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

HEADER_CHARS = 4096
"""The beginning of the base64 text that holds the size, in every format but JPEG."""

SLICE_CHARS = 1024 * 1024
"""The part of a document that is decoded or searched at once, so that other threads get their turn."""

MAX_MATCH_BYTES = 256
"""The longest mark of a page or of their number."""

BYTES_PER_PAGE = 64 * 1024
"""For a document that does not say how many pages it has."""


class Size(NamedTuple):
    """The size of an image in pixels."""

    width: int
    height: int


class ImageRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an image costs a family of models."""

    by: Literal["area", "patches", "tiles", "crops", "fixed"]
    """`area`: one token for `unit` pixels. `patches`: `unit` for each square of 32 pixels. `tiles`: `base`, and `unit`
    for each square of 512 pixels. `crops`: `unit` for each square of 2/3 of the shorter edge. `fixed`: `unit`."""
    unit: float
    base: int = 0
    max_edge: int = 2048
    """A larger image is scaled down to this edge."""
    most: int | None = None
    """The most tokens (`area`) or squares (`patches`): a larger image is scaled down to it."""
    unknown: int = 1000
    """The tokens of an image of unknown size."""


def count_image_tokens(rule: ImageRule, size: Size | None, *, low: bool = False) -> int:
    """Return the tokens of an image of that *size*; *low* when the request asks for low detail."""
    if low and rule.by == "tiles":
        return rule.base
    if size is None or rule.by == "fixed":
        return round(rule.unit) if rule.by == "fixed" else rule.unknown
    return _RULES[rule.by](rule, _scale(size, rule.max_edge))


def _scale(size: Size, max_edge: float) -> Size:
    scale = min(1.0, max_edge / max(size))
    return Size(max(1, int(size.width * scale)), max(1, int(size.height * scale)))


def _count_by_area(rule: ImageRule, size: Size) -> int:
    tokens = math.ceil(size.width * size.height / rule.unit)
    return min(tokens, rule.most or tokens)


def _count_by_patches(rule: ImageRule, size: Size) -> int:
    squares = math.ceil(size.width / 32) * math.ceil(size.height / 32)
    return math.ceil(min(squares, rule.most or squares) * rule.unit)


def _count_by_tiles(rule: ImageRule, size: Size) -> int:
    scale = min(1.0, 768 / min(size))
    squares = math.ceil(size.width * scale / 512) * math.ceil(size.height * scale / 512)
    return rule.base + round(rule.unit * squares)


def _count_by_crops(rule: ImageRule, size: Size) -> int:
    if max(size) <= 384:
        return round(rule.unit)
    edge = min(768, max(256, math.floor(min(size) / 1.5)))
    return round(rule.unit) * math.ceil(size.width / edge) * math.ceil(size.height / edge)


_RULES = {"area": _count_by_area, "patches": _count_by_patches, "tiles": _count_by_tiles, "crops": _count_by_crops}

# --- headers ---------------------------------------------------------------------------------


def read_image_size(data: str) -> Size | None:
    """Return the size of the image in base64 *data*, or None when its header does not hold one."""
    head = _decode_beginning(data, HEADER_CHARS)
    if head.startswith(b"\xff\xd8"):
        size = _read_jpeg_size(data)
    elif head.startswith(b"\x89PNG\r\n\x1a\n"):
        size = Size(_read_big_endian(head, 16, 4), _read_big_endian(head, 20, 4))
    elif head.startswith((b"GIF87a", b"GIF89a")):
        size = Size(_read_little_endian(head, 6, 2), _read_little_endian(head, 8, 2))
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        size = _read_webp_size(head)
    else:
        return None
    return size if min(size) > 0 else None


def _decode_beginning(data: str, chars: int) -> bytes:
    try:
        return binascii.a2b_base64(data[:chars] + "=" * (-min(len(data), chars) % 4))
    except (binascii.Error, ValueError):
        # Blanks in the text shift its groups of four, so that it ends inside one.
        return b""


def _read_big_endian(data: bytes, at: int, length: int) -> int:
    """Return the number at a place of *data*, 0 when *data* ends before it."""
    return int.from_bytes(data[at : at + length], "big") if len(data) >= at + length else 0


def _read_little_endian(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little") if len(data) >= at + length else 0


def _read_webp_size(head: bytes) -> Size:
    """Return the size in a WebP of any of the three kinds."""
    match head[12:16]:
        case b"VP8 ":
            return Size(_read_little_endian(head, 26, 2) & 0x3FFF, _read_little_endian(head, 28, 2) & 0x3FFF)
        case b"VP8L" if len(head) >= 25:
            bits = _read_little_endian(head, 21, 4)
            return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        case b"VP8X" if len(head) >= 30:
            return Size(_read_little_endian(head, 24, 3) + 1, _read_little_endian(head, 27, 3) + 1)
    return Size(0, 0)


MAX_SEGMENTS = 256
"""How many segments before the frame are looked at. A file has a few, one with an ICC profile some tens."""

SEGMENT_BYTES = 32
"""What is read of a segment: fill bytes, of which there are hardly ever any, the marker, and the head of a frame."""

_NO_FRAMES = frozenset({0xC4, 0xC8, 0xCC})
"""Markers in the range of frames that do not begin one."""


def _read_jpeg_size(data: str) -> Size:
    """Return the size in a JPEG. It stands behind previews and colour profiles, of which only the heads are read."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        segment = _decode_part(data, at, SEGMENT_BYTES)
        head = segment.lstrip(b"\xff")
        fill_bytes = len(segment) - len(head)
        if fill_bytes == 0 or len(head) < 8:
            break
        if 0xC0 <= head[0] <= 0xCF and head[0] not in _NO_FRAMES:
            return Size(_read_big_endian(head, 6, 2), _read_big_endian(head, 4, 2))
        at += fill_bytes + 1 + _read_big_endian(head, 1, 2)
    return Size(0, 0)


def _decode_part(data: str, at: int, length: int) -> bytes:
    """Return *length* of the bytes that base64 *data* stands for, from the place *at*, fewer where *data* ends."""
    first = at // 3 * 4
    return _decode_beginning(data[first : first + (length // 3 + 2) * 4], len(data))[at % 3 : at % 3 + length]


_PAGE = re.compile(rb"/Type\s*/Page\b(?!s)")
_PAGE_COUNT = re.compile(rb"/Count\s+(\d{1,5})\b")


def count_pages(data: str) -> int:
    """Return how many pages the document in base64 *data* has, as far as can be told without parsing it."""
    document = _decode_document(data)
    most = max((int(match[1]) for match in _find(_PAGE_COUNT, document)), default=0)
    # In compressed objects neither pages nor counts can be seen.
    return max(sum(1 for _ in _find(_PAGE, document)), most) or estimate_pages(data)


def _find(pattern: re.Pattern[bytes], document: bytes) -> Iterator[re.Match[bytes]]:
    """Yield the matches of *pattern*, searching a part of the document at once."""
    for start in range(0, len(document), SLICE_CHARS):
        end = start + SLICE_CHARS
        for match in pattern.finditer(document, start, end + MAX_MATCH_BYTES):
            if match.start() < end:
                yield match


def estimate_pages(data: str) -> int:
    """Return about how many pages the document in base64 *data* has, by its size alone."""
    return max(1, math.ceil(len(data) * 3 / 4 / BYTES_PER_PAGE))


def _decode_document(data: str) -> bytes:
    decoded, rest = [], ""
    for start in range(0, len(data), SLICE_CHARS):
        # With line breaks in the text, a slice may end inside a group of four.
        text = rest + "".join(data[start : start + SLICE_CHARS].split())
        whole = len(text) - len(text) % 4
        rest = text[whole:]
        try:
            decoded.append(binascii.a2b_base64(text[:whole]))
        except (binascii.Error, ValueError):
            return b""
    return b"".join(decoded)
