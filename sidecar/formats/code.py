"""Fences as CommonMark reads them, and the code between them. [pure]

Source: https://spec.commonmark.org/0.31.2/#fenced-code-blocks, 2024-01. Knows Markdown's fences. Must not know files.
"""

import re

import msgspec

from protocol.files import CodeBlock, CodeResult
from sidecar.formats import paths

_FENCE = re.compile(r"( *)(`{3,}|~{3,})([^\r\n]*)\r?\n?")

MAX_FENCE_CHARS = 1024
"""A longer line does not open a fence."""

_MARKDOWN = re.compile(r"\.(?:md|mdx|markdown|mdown|qmd|rmd)", re.IGNORECASE)


class Fence(msgspec.Struct, frozen=True):
    """An opening fence."""

    indent: int
    """The number of blanks before it; each line of the content may have as many."""
    marks: str
    """Three or more backticks, or tildes."""
    info: str
    """The info string: the words after the marks."""


def read_opening_fence(line: str, indent: int = 0) -> Fence | None:
    """Return the fence that *line* opens; it is indented by at most three blanks more than *indent*."""
    match = _FENCE.fullmatch(line)
    if not match or not 0 <= len(match[1]) - indent <= 3 or (match[2][0] == "`" and "`" in match[3]):
        return None
    return Fence(len(match[1]), match[2], match[3].strip(" \t"))


def closes_fence(line: str, fence: Fence, indent: int = 0) -> bool:
    """Return whether *line* closes *fence*: the same mark, at least as long, indented by at most three blanks."""
    match = _FENCE.fullmatch(line)
    return (
        match is not None
        and not match[3].strip(" \t")
        and match[2].startswith(fence.marks)
        and len(match[1]) - indent <= 3
    )


def may_open_fence(line: str) -> bool:
    """Return whether a line that begins with *line* may be an opening fence."""
    marks = line.lstrip(" ")[:3]
    return len(line) <= MAX_FENCE_CHARS and ("```".startswith(marks) or "~~~".startswith(marks))


def unwrap(text: str) -> str | None:
    """Return the content of the single fence around all of *text*, or None if there is no such fence."""
    first, _, rest = text.partition("\n")
    fence = read_opening_fence(first)
    if not fence:
        return None
    inner, line_end, last = rest.rstrip(" \t\r\n").rpartition("\n")
    if not closes_fence(last, fence) or any(closes_fence(line, fence) for line in inner.split("\n")):
        return None
    return inner + line_end


def is_markdown(path: str) -> bool:
    """Return whether the file at *path* is Markdown, whose fences are its own."""
    return bool(_MARKDOWN.search(path[-9:]))


# --- code out of an answer -------------------------------------------------------------------

_ITEM = re.compile(r"( *)(?:[-*+]|\d{1,9}[.)])( +)(?=\S)")

_PROSE = re.compile(
    r"[A-Z][\w'\u2019]*,?(?: [\w'\u2019`\"(),/-]+){2,}[.:!?]\**|(?:Sure|Certainly|Of course|Here)\b.*[.:!]"
)

_ALIASES = {
    "py": "python",
    "python3": "python",
    "js": "javascript",
    "jsx": "javascript",
    "ts": "typescript",
    "tsx": "typescript",
    "sh": "bash",
    "shell": "bash",
    "zsh": "bash",
    "yml": "yaml",
    "rs": "rust",
    "rb": "ruby",
    "golang": "go",
    "c++": "cpp",
    "cs": "csharp",
    "c#": "csharp",
    "kt": "kotlin",
    "md": "markdown",
    "htm": "html",
}


def extract_code(text: str, language: str | None = None) -> CodeResult:
    """Return the code in *text*, in *language* if given. Nothing is called code by guessing.

    One block is the code, or one of those in the language. Without any fence the whole text is.
    """
    blocks, is_closed = list_fenced_blocks(text)
    fitting = [
        each for each in blocks if language and _normalize_language(each.language) == _normalize_language(language)
    ]
    chosen = fitting or ([each for each in blocks if each.language is None] if language else []) or blocks
    if not text.strip():
        return CodeResult(language=language, code=None, blocks=[], problem="empty")
    if not blocks:
        return CodeResult(language=language, code=text, blocks=[], problem="no_fence" if _has_prose(text) else None)
    if len(chosen) > 1:
        return CodeResult(language=language, code=None, blocks=blocks, problem="several_blocks")
    found = chosen[0]
    is_other = language and found.language and not fitting
    is_cut = not is_closed and found is blocks[-1]
    return CodeResult(
        language=found.language or language,
        code=found.code,
        blocks=blocks,
        problem="unclosed_fence" if is_cut else "other_language" if is_other else None,
    )


def _normalize_language(language: str | None) -> str:
    name = (language or "").lower()
    return _ALIASES.get(name, name)


def _has_prose(text: str) -> bool:
    """Return whether the first or the last line reads like a sentence."""
    lines = [line.strip() for line in text.strip().split("\n")]
    return any(_PROSE.fullmatch(line) for line in (lines[0], lines[-1]))


class FenceReader:
    """Follows the fences of a text line by line, also those in list items."""

    def __init__(self) -> None:
        self.fence: Fence | None = None
        """The open fence. A line that closes it is read with None afterwards, one that opens it with itself."""
        self._item = 0
        """The indentation of the content of the open list item."""

    def read(self, line: str) -> Fence | None:
        """Read *line*, and return the fence that it is a part of, as its first, its last or another line."""
        before, indent = self.fence, len(line) - len(line.lstrip(" "))
        if before is not None:
            if closes_fence(line, before, self._item):
                self.fence = None
            return before
        if match := _ITEM.match(line):
            self._item = match.end() if len(match[2]) <= 4 else match.end() - len(match[2]) + 1
            self.fence = read_opening_fence(" " * self._item + line[self._item :], self._item)
        elif line.strip():
            self._item = self._item if indent >= self._item else 0
            self.fence = read_opening_fence(line, self._item)
        return self.fence


def list_fenced_blocks(text: str) -> tuple[list[CodeBlock], bool]:
    """Return the fenced blocks of *text*, also those in list items, and whether the last one is closed."""
    blocks: list[CodeBlock] = []
    body: list[str] = []
    reader = FenceReader()
    for line in text.removesuffix("\n").split("\n"):
        was_open = reader.fence is not None
        fence = reader.read(line)
        if fence is None or not was_open:
            body = []
        elif reader.fence is None:
            blocks.append(_make_block(fence, body))
        else:
            body.append(line[min(len(line) - len(line.lstrip(" ")), fence.indent) :])
    if reader.fence is not None:
        blocks.append(_make_block(reader.fence, body))
    return blocks, reader.fence is None


def _make_block(fence: Fence, body: list[str]) -> CodeBlock:
    word = fence.info.split(None, 1)[0] if fence.info else ""
    language = word.strip("{}.").partition(":")[0].lower()
    return CodeBlock(
        language=None if not language or paths.is_like_path(word) else language,
        code="".join(f"{line}\n" for line in body),
        path=paths.find_path_in_info(fence.info),
    )
