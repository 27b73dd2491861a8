"""Paths as models write them → safe relative paths, or a refusal; and the lines that name a file. [pure]

Knows the path syntax of Linux, macOS and Windows. Must not know what exists: the host has to check links.
"""

import re
import unicodedata

from protocol.files import Refusal

MAX_PATH_CHARS = 1024
MAX_PART_BYTES = 255

MAX_NAME_CHARS = 300
"""The longest line that may name the file below it."""

MAX_NAME_WORDS = 4
"""The most words in such a line: a list or heading marker, a label, the path."""

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters, line separators, direction marks, invisible characters, lone surrogates."""

_DRIVE = re.compile(r"[A-Za-z]:")

_DEVICE = re.compile(r"(?:con|prn|aux|nul|clock\$|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?:[ .].*)?", re.IGNORECASE)

_WRAPS = (("`", "`"), ('"', '"'), ("'", "'"), ("**", "**"), ("*", "*"), ("<", ">"))

_BARE = frozenset(
    (
        *("brewfile", "containerfile", "dockerfile", "gemfile", "jenkinsfile", "justfile", "license", "makefile"),
        *("procfile", "rakefile", "readme", "tiltfile", "vagrantfile"),
    )
)
"""Names of files that have neither a folder nor an extension."""

_PRODUCTS = frozenset(
    (
        *("asp.net", "d3.js", "ember.js", "express.js", "nest.js", "next.js", "node.js", "nuxt.js", "react.js"),
        *("socket.io", "three.js", "vue.js"),
    )
)
"""Names that look like files and are not."""

_EXTENSION = re.compile(r"[^\s/]*\.[A-Za-z][\w-]{0,15}|\.\w[\w.-]*")

_LABEL = r"(?:(?:new[ ])?file(?:[ ]?name|[ ]?path)?|path):"

_NAME_LINE = re.compile(
    rf"""[ ]{{0,3}}(?:\#{{1,6}}[ ]+|[-*+][ ]+|\d{{1,3}}[.)][ ]+)?   # a heading, an item of a list
    [*_]*(?:{_LABEL}[*_]*[ ]*)?
    (?:`(?P<quoted>[^`\n]+)`|(?P<bare>[^\s`*]+?))
    [*_]*:?[*_]*[ \t]*""",
    re.IGNORECASE | re.VERBOSE,
)

_SENTENCE = re.compile("[\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f]")
"""Punctuation of languages that write no blanks between words."""

_ATTRIBUTE = re.compile(
    r"""(?:^|[\s{,])(?:title|filename|file|path|name)=(?:"([^"]*)"|'([^']*)'|([^\s,}"']+))""", re.IGNORECASE
)

_COMMENT = re.compile(
    rf"[ \t]*(?:\#|//|--|;|%|/\*|<!--)[ \t]*(?:{_LABEL}[ ]*)?(?P<path>[^\s`!][^\s`]*)[ \t]*(?:\*/|-->)?[ \t]*",
    re.IGNORECASE,
)

COMMENTS = ("#", "//", "--", ";", "%", "/*", "<!--")
"""The beginnings of comments that may name their file."""


def clean_path(raw: str) -> tuple[str, Refusal | None]:
    r"""Return *raw* as a relative path with `/` between its parts, and why it must not be used, if so.

    Quotes, a leading `./` and doubled slashes are removed, and `\` becomes `/`. A refused path is returned as it was
    written, with invisible characters replaced.
    """
    path = unicodedata.normalize("NFC", strip_quotes(raw)).replace("\\", "/")
    if refusal := _find_refusal(path):
        return _UNSEEN.sub("\ufffd", raw)[:MAX_PATH_CHARS], refusal
    return "/".join(part for part in path.split("/") if part not in ("", ".")), None


def _find_refusal(path: str) -> Refusal | None:
    parts = path.split("/")
    longest_bytes = max(len(part.encode("utf-8", "replace")) for part in parts)
    rules: tuple[tuple[Refusal, bool], ...] = (
        ("control", bool(_UNSEEN.search(path))),
        ("network", path.startswith("//")),
        ("absolute", path.startswith("/")),
        ("drive", bool(_DRIVE.match(path))),
        ("home", path.startswith("~")),
        ("stream", ":" in path),
        ("parent", ".." in parts),
        ("empty", parts[-1] in ("", ".")),
        ("too_long", len(path) > MAX_PATH_CHARS or longest_bytes > MAX_PART_BYTES),
        ("trailing", any(part[-1:] in (" ", ".") for part in parts if part != ".")),
        ("device", any(_DEVICE.fullmatch(part) for part in parts)),
    )
    return next((name for name, holds in rules if holds), None)


def strip_quotes(text: str) -> str:
    """Return *text* without the quotes, backticks, stars or angle brackets around it."""
    for first, last in _WRAPS:
        if len(text) > len(first) + len(last) and text.startswith(first) and text.endswith(last):
            return text[len(first) : -len(last)]
    return text


def is_like_path(word: str) -> bool:
    """Return whether *word* looks like a path: it has a folder, an extension or a well-known name."""
    if not 0 < len(word) <= MAX_NAME_CHARS or "://" in word or word.lower() in _PRODUCTS or word[-1] in "();,":
        return False
    name = word.replace("\\", "/").rpartition("/")[2]
    return (name != word and name[:1].isalnum()) or bool(_EXTENSION.fullmatch(name)) or name.lower() in _BARE


def may_name_file(line: str) -> bool | None:
    """Return False if a line with this beginning cannot name a file, else None."""
    if not line.strip(" \t\r\n"):
        return None
    if "<" in line or _SENTENCE.search(line):
        return False
    return None if len(line) <= MAX_NAME_CHARS and len(line.split(None, MAX_NAME_WORDS)) <= MAX_NAME_WORDS else False


def find_path_in_line(line: str) -> str | None:
    """Return the path of a line that has nothing else: `src/a.py`, `### src/a.py`, `**File: src/a.py**`…"""
    match = _NAME_LINE.fullmatch(line.rstrip("\r\n"))
    return _as_path(match["quoted"] or match["bare"]) if match else None


def find_path_in_info(info: str) -> str | None:
    """Return the path in the info string of a fence: `python src/a.py`, `python:src/a.py`, `js title="a.js"`."""
    if match := _ATTRIBUTE.search(info):
        return match[1] or match[2] or match[3]
    for word in info.split()[:2]:
        language, colon, path = word.partition(":")
        if colon and language.isalnum() and len(language) > 1 and (found := _as_path(path)):
            return found
        if found := _as_path(word):
            return found
    return None


def find_path_in_comment(line: str) -> str | None:
    """Return the path of a comment that has nothing else, such as the first line of a file: `# src/a.py`."""
    match = _COMMENT.fullmatch(line.rstrip("\r\n"))
    return _as_path(match["path"]) if match else None


def _as_path(word: str) -> str | None:
    word = strip_quotes(word.strip(" \t"))
    return word if is_like_path(word) else None
