"""`options.compact`: removes blanks at the ends of lines, and all but one of several blank lines. [pure]

Fenced blocks stay as they are, because white space may matter there, and so do quotations, which may have fences. So do
results of tools, files, and texts with a signature or with citations, which count characters.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from protocol.messages import Message, Part, TextPart
from sidecar.formats.code import FenceReader

_WASTE = re.compile(r"[ \t](?:\r?\n|\r?\Z)|\n\r?\n\r?\n")
_QUOTATION = re.compile(r" *>")
"""A line of a quotation, which may have fences of its own."""


class Compacted(NamedTuple):
    """Messages, and how many characters were removed from them."""

    messages: list[Message]
    chars: int


def compact(messages: Sequence[Message]) -> Compacted:
    """Return *messages* with compact texts."""
    compacted = [_compact_message(message) for message in messages]
    return Compacted([message for message, _ in compacted], sum(chars for _, chars in compacted))


def _compact_message(message: Message) -> tuple[Message, int]:
    if message.role == "tool":
        return message, 0
    if isinstance(message.content, str):
        text = compact_text(message.content)
        if text is message.content:
            return message, 0
        return msgspec.structs.replace(message, content=text), len(message.content) - len(text)
    parts = [_compact_part(part) for part in message.content]
    chars = sum(
        _count_chars(before) - _count_chars(after) for before, after in zip(message.content, parts, strict=True)
    )
    return (msgspec.structs.replace(message, content=parts), chars) if chars else (message, 0)


def _compact_part(part: Part) -> Part:
    if not isinstance(part, TextPart) or part.state is not None or part.citations:
        return part
    text = compact_text(part.text)
    return part if text is part.text else msgspec.structs.replace(part, text=text)


def _count_chars(part: Part) -> int:
    return len(part.text) if isinstance(part, TextPart) else 0


def compact_text(text: str) -> str:
    """Return *text* without blanks at the ends of its lines and with no two blank lines in a row, outside of fences.

    Lists and fences are read as CommonMark has them.
    """
    if not _WASTE.search(text):
        return text
    # Nothing follows the last line end of most texts, and that is not a line.
    *lines, rest = text.split("\n")
    kept: list[str] = []
    reader = FenceReader()
    for line in lines if not rest else [*lines, rest]:
        stripped = line.rstrip(" \t\r")
        if reader.read(line) is not None or _QUOTATION.match(line):
            kept.append(line)
        elif stripped or not kept or kept[-1].strip("\r"):
            kept.append(stripped + "\r" * line.endswith("\r"))
    return "\n".join(kept if rest else [*kept, ""])
