"""The content of a message: its parts, its text, and the data of images and files. [pure]"""

import binascii
import re
from collections.abc import Sequence

import msgspec

from protocol.messages import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    State,
    TextPart,
    ToolCallPart,
)
from sidecar.core.errors import invalid_request
from sidecar.core.json_values import has_big_integer

_DATA_URL = re.compile(r"^data:([\w.+/-]+)?((?:;[\w=.+-]+)*),", re.ASCII)


MANY_PARTS = 1000
"""More parts than this take too long for the event loop: a worker thread walks through them."""


def has_many_parts(messages: Sequence[Message]) -> bool:
    """Return whether *messages* have more than `MANY_PARTS`."""
    if len(messages) > MANY_PARTS:
        return True
    return sum(1 if isinstance(each.content, str) else len(each.content) for each in messages) > MANY_PARTS


def list_parts(message: Message) -> list[Part]:
    """Return the content of *message* as parts: a plain string is one text part."""
    content = message.content
    return [TextPart(content)] if isinstance(content, str) else content


def join_texts(message: Message) -> str:
    """Return the text of *message*: all of its text parts, with nothing between them."""
    return "".join(part.text for part in list_parts(message) if isinstance(part, TextPart))


def read_inline_data(part: ImagePart | FilePart, where: str) -> tuple[str, str] | None:
    """Return the media type and the base64 data of *part*, or None if it has an http(s) URL.

    Raises: SidecarError `invalid_request` for *where*, unless the part has exactly one of `data` and `url`.
    """
    if (part.data is None) == (part.url is None):
        raise invalid_request(f"`{where}` takes either `data` or `url`.", where)
    if part.url is None:
        if part.media_type is None:
            raise invalid_request(f"`{where}.media_type` is required beside `data`.", f"{where}.media_type")
        return part.media_type, part.data or ""
    if match := _DATA_URL.match(part.url):
        if "base64" not in match[2]:
            raise invalid_request(f"`{where}.url`: a data: URL must be base64.", f"{where}.url")
        return match[1] or part.media_type or "application/octet-stream", part.url[match.end() :]
    if not part.url.startswith(("https://", "http://")):
        raise invalid_request(f"`{where}.url` must be an https:, http: or data: URL.", f"{where}.url")
    return None


def decode_text(data: str, where: str) -> str:
    """Return base64 *data* as UTF-8 text.

    Raises: SidecarError `invalid_request` for *where*.
    """
    try:
        return binascii.a2b_base64(data, strict_mode=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise invalid_request(f"`{where}.data` is not base64-encoded UTF-8 text.", f"{where}.data") from None


def make_portable(message: Message) -> Message:
    """Return *message* for the host: each `state` as one string, and arguments with a big integer only as their text.

    Raises: the exceptions of the JSON encoder for a value that it cannot write.
    """
    if isinstance(message.content, str):
        return message
    return Message(role=message.role, content=[_make_part_portable(part) for part in message.content])


def _make_part_portable(part: Part) -> Part:
    if isinstance(part, ToolCallPart) and has_big_integer(part.arguments, part.arguments_text):
        part = msgspec.structs.replace(part, arguments=None)
    if isinstance(part, TextPart | ReasoningPart | ToolCallPart | OpaquePart) and isinstance(part.state, State):
        return msgspec.structs.replace(part, state=msgspec.json.encode(part.state).decode())
    return part
