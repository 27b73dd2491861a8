"""The size of an image and the pages of a document, read off their first bytes, and what they cost in tokens. [pure]

Images are never decoded: of the base64 text only as much is, as the header needs. Formulas are those that the
vendors give for their models (Anthropic "Vision", OpenAI "Images and vision", Google "Image understanding"), as far
as they are known in November 2026.
"""

import binascii
import math
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

HEADER_CHARS = 4096
"""Of the base64 text: where the size stands in every format but JPEG."""

JPEG_CHARS = (64 * 1024, 1024 * 1024)
"""A JPEG's size stands behind its previews and colour profiles: so much is looked at first, and so much at most."""

SLICE_CHARS = 1024 * 1024
"""Of a document that is decoded at once, so that other threads get their turn. A multiple of four."""

BYTES_A_PAGE = 64 * 1024
"""Of a document that does not say how many pages it has."""


class Size(NamedTuple):
    """Of an image, in pixels."""

    width: int
    height: int


class ImageRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an image costs a family of models."""

    by: Literal["area", "patches", "tiles", "crops", "fixed"]
    """`area`: a token for `unit` pixels. `patches`: `unit` for each square of 32 pixels. `tiles`: `base` and `unit` for
    each square of 512 pixels. `crops`: `unit` for each square of two thirds of its shorter edge. `fixed`: `unit`."""
    unit: float
    base: int = 0
    max_edge: int = 2048
    """A larger image is scaled down to it."""
    most: int | None = None
    """Of `area` tokens, of `patches` squares: a larger image is scaled down to it."""
    unknown: int = 1000
    """For an image whose size is not known."""


def image_tokens(rule: ImageRule, size: Size | None, *, low: bool = False) -> int:
    """Return what an image of that *size* costs; *low* where its details are not wanted."""
    if low and rule.by == "tiles":
        return rule.base
    if size is None or rule.by == "fixed":
        return round(rule.unit) if rule.by == "fixed" else rule.unknown
    return _RULES[rule.by](rule, _fitted(size, rule.max_edge))


def _fitted(size: Size, max_edge: float) -> Size:
    scale = min(1.0, max_edge / max(size))
    return Size(max(1, int(size.width * scale)), max(1, int(size.height * scale)))


def _area(rule: ImageRule, size: Size) -> int:
    tokens = math.ceil(size.width * size.height / rule.unit)
    return min(tokens, rule.most or tokens)


def _patches(rule: ImageRule, size: Size) -> int:
    squares = math.ceil(size.width / 32) * math.ceil(size.height / 32)
    return math.ceil(min(squares, rule.most or squares) * rule.unit)


def _tiles(rule: ImageRule, size: Size) -> int:
    scale = min(1.0, 768 / min(size))
    squares = math.ceil(size.width * scale / 512) * math.ceil(size.height * scale / 512)
    return rule.base + round(rule.unit * squares)


def _crops(rule: ImageRule, size: Size) -> int:
    if max(size) <= 384:
        return round(rule.unit)
    edge = min(768, max(256, math.floor(min(size) / 1.5)))
    return round(rule.unit) * math.ceil(size.width / edge) * math.ceil(size.height / edge)


_RULES = {"area": _area, "patches": _patches, "tiles": _tiles, "crops": _crops}

# --- headers ---------------------------------------------------------------------------------


def image_size(data: str) -> Size | None:
    """Return the size of the image in base64 *data*, None for one that does not say it where it should."""
    head = _decoded(data, HEADER_CHARS)
    if head.startswith(b"\xff\xd8"):
        found = (_jpeg(_decoded(data, chars)) for chars in JPEG_CHARS)
        size = next((size for size in found if min(size) > 0), Size(0, 0))
    elif head.startswith(b"\x89PNG\r\n\x1a\n"):
        size = Size(_big(head, 16, 4), _big(head, 20, 4))
    elif head.startswith((b"GIF87a", b"GIF89a")):
        size = Size(_little(head, 6, 2), _little(head, 8, 2))
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        size = _webp(head)
    else:
        return None
    return size if min(size) > 0 else None


def _decoded(data: str, chars: int) -> bytes:
    try:
        return binascii.a2b_base64(data[:chars] + "=" * (-min(len(data), chars) % 4))
    except (binascii.Error, ValueError):
        # Cut within a group of four, as blanks between them make it.
        return b""


def _big(data: bytes, at: int, length: int) -> int:
    """Return the number at a place of *data*, 0 where that ends before it."""
    return int.from_bytes(data[at : at + length], "big") if len(data) >= at + length else 0


def _little(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little") if len(data) >= at + length else 0


def _webp(head: bytes) -> Size:
    """Return the size in a WebP of any of its three kinds."""
    match head[12:16]:
        case b"VP8 ":
            return Size(_little(head, 26, 2) & 0x3FFF, _little(head, 28, 2) & 0x3FFF)
        case b"VP8L" if len(head) >= 25:
            bits = _little(head, 21, 4)
            return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        case b"VP8X" if len(head) >= 30:
            return Size(_little(head, 24, 3) + 1, _little(head, 27, 3) + 1)
    return Size(0, 0)


_NO_FRAMES = frozenset({0xC4, 0xC8, 0xCC})
"""Markers among those of frames that begin none."""


def _jpeg(data: bytes) -> Size:
    for marker, at in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:
            return Size(_big(data, at + 7, 2), _big(data, at + 5, 2))
    return Size(0, 0)


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker of each segment of a JPEG and where it stands."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:
            # Any number of them may stand before a marker.
            at += 1
            continue
        yield data[at + 1], at
        at += 2 + _big(data, at + 2, 2)


_PAGE = re.compile(rb"/Type\s*/Page\b(?!s)")
_PAGES = re.compile(rb"/Count\s+(\d{1,5})\b")


def pages(data: str) -> int:
    """Return how many pages the document in base64 *data* has, as near as can be told without reading it."""
    document = _document(data)
    counted = [int(match[1]) for match in _PAGES.finditer(document)]
    # Where the objects are compressed neither can be seen.
    return max(sum(1 for _ in _PAGE.finditer(document)), *counted, 0) or pages_by_size(data)


def pages_by_size(data: str) -> int:
    """Return about how many pages the document in base64 *data* has, without looking into it."""
    return max(1, math.ceil(len(data) * 3 / 4 / BYTES_A_PAGE))


def _document(data: str) -> bytes:
    try:
        slices = (data[start : start + SLICE_CHARS] for start in range(0, len(data), SLICE_CHARS))
        return b"".join(map(binascii.a2b_base64, slices))
    except (binascii.Error, ValueError):
        # With line breaks in it a slice may end anywhere.
        pass
    try:
        return binascii.a2b_base64(data)
    except (binascii.Error, ValueError):
        return b""
