"""Files in the tags of an artifact. [sans-IO]

`<boltAction type="file" filePath="src/a.js">`, the text, `</boltAction>`. The text is raw: nothing in it is escaped.
A closing tag counts only if nothing but blanks, a line ending or another tag follows, so that a file may mention the
tag. A line ending right after the opening tag is not part of the file. An action that is not a file is a command.
Source: https://github.com/stackblitz/bolt.new, app/lib/runtime/message-parser.ts, 2024-12.
"""

import re

from sidecar.formats.events import Writer
from sidecar.formats.lines import MAX_MARKER_CHARS, Format, Grammar, State

_NAMES = ("<boltartifact", "<boltaction", "</boltartifact", "</boltaction")

_BEGUN = r"""<bolt(?:artifact|action)(?:\s(?:[^<>"']|"[^"]*"|'[^']*')*+)?+"""
_OPENER = re.compile(rf"{_BEGUN}>(?:\r?\n)?", re.IGNORECASE)
_UNFINISHED = re.compile(
    rf"""(?:{_BEGUN}(?:"[^"]*|'[^']*)?|</bolt(?:artifact|action)\s*)\Z""",
    re.IGNORECASE,
)

_CLOSER = re.compile(r"</bolt(?:artifact|action)\s*>[ \t]*(?P<end>\r?\n)?", re.IGNORECASE)

_ATTRIBUTE = re.compile(r"""(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""")


def _find_tag(text: str, at: int, ended: bool) -> int:  # noqa: FBT001 - a `FindTag`
    begun = text[at : at + 16].lower()
    if not begun.startswith(_NAMES):
        return -1 if not ended and any(name.startswith(begun) for name in _NAMES) else 0
    match = (_CLOSER if begun[1] == "/" else _OPENER).match(text, at)
    if match is None:
        return 0 if ended or not _UNFINISHED.match(text, at, at + MAX_MARKER_CHARS + 1) else -1
    end = match.end()
    if ended or text[end - 1] == "\n":
        return end
    rest = text[end : end + 16].lower()
    if begun[1] != "/":
        return -1 if rest in ("", "\r") else end
    if rest.startswith(_NAMES):
        return end
    return -1 if rest == "\r" or any(name.startswith(rest) for name in _NAMES) else 0


def _enter(out: Writer, line: str) -> Grammar | bool:
    tag = line.lstrip(" \t")
    name = tag[:15].lower()
    if name.startswith(("<boltartifact", "</boltartifact")):
        return True
    if not name.startswith("<boltaction"):
        return False
    said = {match[1].lower(): match[2] or match[3] or match[4] or "" for match in _ATTRIBUTE.finditer(tag)}
    if said.get("type", "file") == "file":
        return _read_file(out, said.get("filepath", ""))
    return _read_command(out)


_TAGS = State(line=lambda line: None if not line.strip(" \t") else False, find_tag=_find_tag)


def _read_file(out: Writer, path: str) -> Grammar:
    out.settle()  # What another format might have opened is prose.
    out.open(path, "create", "full_content")
    while tag := (yield _TAGS):
        name = tag.lstrip(" \t")[:13].lower()
        if name.startswith("</boltaction"):
            out.close()
            return None
        if name.startswith(("<boltaction", "</boltartifac")) and out.at_line_start:
            out.close(complete=False)
            return tag
        out.text(tag)
    return tag


def _read_command(out: Writer) -> Grammar:
    out.begin_command()
    while tag := (yield _TAGS):
        if tag.lstrip(" \t")[:2] == "</":
            out.end_command()
            return None
        out.text(tag)
    return tag


ARTIFACT = Format(openers=(), enter=_enter, find_tag=_find_tag)
