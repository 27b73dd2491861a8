"""The content of a message: its parts, and the data inside of images and files."""

import base64

import pytest

from protocol.messages import FilePart, ImagePart, Message, TextPart
from sidecar.core.errors import SidecarError
from sidecar.core.message_content import decode_text, list_parts, read_inline_data

WHERE = "params.messages[0].content[1]"


def test_a_plain_string_is_one_text_part() -> None:
    parts = [TextPart("a"), TextPart("b")]
    assert list_parts(Message(role="user", content="a")) == [TextPart("a")]
    assert list_parts(Message(role="user", content=list(parts))) == parts


@pytest.mark.parametrize(
    ("part", "inline"),
    [
        (ImagePart(data="QUJD", media_type="image/png"), ("image/png", "QUJD")),
        (FilePart(data="QUJD"), ("application/pdf", "QUJD")),
        (ImagePart(url="data:image/gif;base64,QUJD"), ("image/gif", "QUJD")),
        (ImagePart(url="data:image/gif;name=a.gif;base64,QUJD"), ("image/gif", "QUJD")),
        (ImagePart(url="data:;base64,QUJD", media_type="image/webp"), ("image/webp", "QUJD")),
        (ImagePart(url="data:;base64,QUJD"), ("application/octet-stream", "QUJD")),
        (ImagePart(url="https://example.test/x.png"), None),
        (ImagePart(url="http://example.test/x.png"), None),
    ],
)
def test_inline_data_is_read_with_its_media_type(part: ImagePart | FilePart, inline: tuple[str, str] | None) -> None:
    assert read_inline_data(part, WHERE) == inline


@pytest.mark.parametrize(
    ("part", "param"),
    [
        (ImagePart(), WHERE),
        (ImagePart(data="QUJD", url="https://example.test/x.png"), WHERE),
        (ImagePart(data="QUJD"), f"{WHERE}.media_type"),
        (ImagePart(url="data:image/png,plain"), f"{WHERE}.url"),
        (ImagePart(url="ftp://example.test/x.png"), f"{WHERE}.url"),
        (ImagePart(url="file:///etc/passwd"), f"{WHERE}.url"),
    ],
)
def test_a_part_without_usable_data_is_refused_with_its_path(part: ImagePart, param: str) -> None:
    with pytest.raises(SidecarError) as caught:
        read_inline_data(part, WHERE)
    assert (caught.value.body.code, caught.value.body.param) == ("invalid_request", param)


@pytest.mark.parametrize("data", ["*", "QUJ", base64.b64encode(b"\xff").decode()])
def test_data_that_is_not_text_is_refused_with_its_path(data: str) -> None:
    assert decode_text(base64.b64encode("é".encode()).decode(), WHERE) == "é"
    with pytest.raises(SidecarError) as caught:
        decode_text(data, WHERE)
    assert caught.value.body.param == f"{WHERE}.data"
