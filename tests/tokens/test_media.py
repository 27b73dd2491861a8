"""Sizes of images and pages of documents, read from headers, and their tokens by the vendors' own examples."""

import base64
import struct
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.tokens.media import (
    HEADER_CHARS,
    SLICE_CHARS,
    ImageRule,
    Size,
    count_image_tokens,
    count_pages,
    read_image_size,
)

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 640, 480, 8, 6, 0, 0, 0)
GIF = b"GIF89a" + struct.pack("<HH", 320, 200) + b"\xf7\x00\x00"
LOSSY = b"RIFF\x00\x00\x00\x00WEBPVP8 \x00\x00\x00\x00\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", 550, 0x4000 | 368)
LOSSLESS = b"RIFF\x00\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f" + struct.pack("<I", 399 | 300 << 14)
EXTENDED = b"RIFF\x00\x00\x00\x00WEBPVP8X\x00\x00\x00\x00\x00\x00\x00\x00" + b"\xff\x0f\x00" + b"\x37\x04\x00"


def jpeg(width: int, height: int, before: bytes = b"") -> bytes:
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3)
    return (
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
        + before
        + b"\xff\xc2"
        + frame
        + bytes(9)
    )


PREVIEW = b"\xff\xe1" + struct.pack(">H", 60_002) + jpeg(160, 120)[:64].ljust(60_000, b"\xff")
"""A segment with another picture, which cameras put before the picture itself."""


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (PNG, (640, 480)),
        (GIF, (320, 200)),
        (LOSSY, (550, 368)),
        (LOSSLESS, (400, 301)),
        (EXTENDED, (4096, 1080)),
        (jpeg(1024, 768), (1024, 768)),
        (jpeg(4000, 3000, PREVIEW + b"\xff\xff\xff\xdb\x00\x03\x00"), (4000, 3000)),
        (b"\x00\x00\x00\x1cftypavif", None),
        (PNG[:18], None),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", None),
        (b"", None),
    ],
)
def test_the_size_of_an_image_is_read_from_its_header(image: bytes, size: tuple[int, int] | None) -> None:
    assert read_image_size(base64.b64encode(image).decode()) == size


def test_of_a_large_image_only_the_beginning_is_decoded() -> None:
    data = base64.b64encode(PNG.ljust(3 * HEADER_CHARS, b"\0")).decode()[:HEADER_CHARS]
    # What follows is no base64 at all, and nobody looks.
    assert read_image_size(data + "*not base64*" * 100) == (640, 480)


def test_the_size_of_a_photo_stands_behind_megabytes_of_previews_which_are_not_decoded() -> None:
    data = base64.b64encode(jpeg(6000, 4000, PREVIEW * 40)).decode()
    assert len(data) > 3_000_000
    assert read_image_size(data) == (6000, 4000)
    # What lies between the heads of the segments is no base64 at all, and nobody looks.
    assert read_image_size(f"{data[:400]}{'*' * 70_000}{data[70_400:]}") == (6000, 4000)


def test_segments_without_end_are_not_followed() -> None:
    data = base64.b64encode(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 1_000_000 + jpeg(9, 9)[2:]).decode()
    began = time.thread_time()
    assert [read_image_size(data) for _ in range(20)] == [None] * 20
    assert time.thread_time() - began < 0.1


@given(data=st.one_of(st.text(max_size=80), st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode())))
def test_no_bytes_that_begin_like_an_image_make_it_raise(data: str) -> None:
    size = read_image_size(data)
    assert size is None or min(size) > 0
    assert count_pages(data) >= 1


@given(image=st.sampled_from([PNG, GIF, LOSSY, LOSSLESS, EXTENDED, jpeg(9, 9, PREVIEW)]), cut=st.integers(0, 80))
def test_a_cut_image_has_its_size_or_none(image: bytes, cut: int) -> None:
    whole = read_image_size(base64.b64encode(image).decode())
    assert read_image_size(base64.b64encode(image[:cut]).decode()) in (whole, None)


AREA = ImageRule(by="area", unit=750, max_edge=1568, most=1600)
TILES = ImageRule(by="tiles", base=85, unit=170, unknown=765)
PATCHES = ImageRule(by="patches", unit=1, most=1536)
CROPS = ImageRule(by="crops", unit=258, max_edge=3072)


@pytest.mark.parametrize(
    ("rule", "size", "tokens"),
    [
        # platform.claude.com, "Vision": about 54, 1334 and 1590 tokens.
        (AREA, (200, 200), 54),
        (AREA, (1000, 1000), 1334),
        (AREA, (1092, 1092), 1590),
        (AREA, (6000, 4000), 1600),
        # platform.openai.com, "Images and vision": 765, and 1105 for what is scaled down to 768×1536.
        (TILES, (1024, 1024), 765),
        (TILES, (2048, 4096), 1105),
        (PATCHES, (1024, 1024), 1024),
        (PATCHES, (1800, 2400), 1536),
        # ai.google.dev, "Image understanding": one tile up to 384 pixels, and 6 for 960×540.
        (CROPS, (384, 200), 258),
        (CROPS, (960, 540), 6 * 258),
        (ImageRule(by="fixed", unit=1120), (1, 1), 1120),
    ],
)
def test_an_image_costs_what_its_vendor_says(rule: ImageRule, size: tuple[int, int], tokens: int) -> None:
    assert count_image_tokens(rule, Size(*size)) == tokens


def test_an_image_of_unknown_size_or_low_detail_has_a_count_too() -> None:
    assert count_image_tokens(TILES, None) == 765
    assert count_image_tokens(TILES, Size(4000, 3000), low=True) == 85
    assert count_image_tokens(AREA, Size(100, 100), low=True) == 14
    assert count_image_tokens(ImageRule(by="fixed", unit=258), None) == 258


@pytest.mark.parametrize(
    ("document", "count"),
    [
        (b"%PDF-1.3\n" + b"1 0 obj << /Type /Page /Parent 2 0 R >> endobj\n" * 3 + b"<< /Type /Pages /Count 3 >>", 3),
        (b"%PDF-1.7\n<< /Type /Pages /Count 12 /Kids [ ] >>", 12),
        (b"%PDF-1.7\n" + zlib.compress(b"/Type /Page " * 9), 1),
        (b"%PDF-1.7\n" + bytes(200_000), 4),
        (b"", 1),
    ],
)
def test_the_visible_pages_of_a_document_are_counted(document: bytes, count: int) -> None:
    assert count_pages(base64.b64encode(document).decode()) == count


def test_a_long_document_is_decoded_in_slices_and_counted_whole() -> None:
    page = b"1 0 obj << /Type /Page >> endobj\n"
    document = base64.b64encode(b"%PDF-1.3\n" + page * 60_000)
    assert len(document) > 2 * SLICE_CHARS
    assert count_pages(document.decode()) == 60_000
    # As mail has it, with a line break where a slice would end in a group of four.
    broken = b"\n".join(document[start : start + 76] for start in range(0, len(document), 76))
    assert count_pages(broken.decode()) == 60_000


@pytest.mark.parametrize("shift", range(-13, 3))
@pytest.mark.parametrize("mark", [b"/Type /Page ", b"/Count 7 "])
def test_a_mark_is_found_once_wherever_a_part_of_the_document_ends(mark: bytes, shift: int) -> None:
    document = b" " * (SLICE_CHARS + shift) + mark + b" " * 100
    assert count_pages(base64.b64encode(document).decode()) == (7 if b"Count" in mark else 1)


@pytest.mark.parametrize("filling", [b"\xff" * 1_000_000, b"\xff\xe0\x00\x02" * 250_000])
def test_a_picture_of_markers_alone_is_given_up_soon(filling: bytes) -> None:
    data = base64.b64encode(b"\xff\xd8" + filling).decode()
    began = time.thread_time()
    assert read_image_size(data) is None
    assert time.thread_time() - began < 0.1
