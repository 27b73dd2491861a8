"""Whole files in Markdown's fences, each under a line with its path, or with the path after the fence. [sans-IO]

`whole` accepts only the line directly above; `fences` also the info string, a name above a blank line, and a comment in
the first line. A fence without a path is prose. Within a file, a fence with an info string needs a closing fence of its
own: models nest fences of the same length, and a file cut at the inner one must not count as complete. A named fence
around hunks is an edit.
"""

import re

from sidecar.formats import edits, paths
from sidecar.formats.code import Fence, closes_fence, read_opening_fence
from sidecar.formats.events import Writer
from sidecar.formats.lines import BLANKS, MAX_LEAD_CHARS, Format, Grammar, State, begins_with_any

_FENCES = ("```", "~~~")

_DIFFS = ("diff", "patch", "udiff")

_FOREIGN = re.compile(
    r"[ \t]*(?:[<-]{3,9} ?SEARCH\b|<<<< \w+ |\*\*\* (?:Begin|Add|Update|Delete) |--- (?:\S*[/.]\S)|diff --git )"
)
"""The first line of a fence around another format, which names its files itself."""


def _enter_whole(out: Writer, line: str) -> Grammar | bool:
    fence = None if out.fence else read_opening_fence(line)
    path = paths.find_path_in_line(out.held[0]) if fence and len(out.held) == 1 else None
    return _read_named(out, fence, line, path) if fence and path else False


def _enter(out: Writer, line: str) -> Grammar | bool:
    if out.fence:
        begun = read_opening_fence(out.held[-1]) if out.held else None
        path = paths.find_path_in_comment(line) if begun else None
        return _read_commented(out, begun, line, path) if begun and path else False
    fence = read_opening_fence(line)
    if fence is None:
        return False
    path = paths.find_path_in_info(fence.info) or (
        paths.find_path_in_line(out.held[0]) if 0 < len(out.held) <= 2 else None
    )
    if path:
        return _read_named(out, fence, line, path)
    # Its first line may be a comment with a path.
    out.fence = fence
    out.hold(line)
    return True


def _read_named(out: Writer, fence: Fence, line: str, path: str) -> Grammar:
    out.hold(line)
    is_diff = fence.info.partition(" ")[0].lower() in _DIFFS
    out.prepare(path, *(("edit", "unified_diff") if is_diff else ("create", "full_content")))
    state = State(
        line=begins_with_any(fence.marks[:3], "<<<", "---", "***", "@@", "diff ", path[:MAX_LEAD_CHARS].lower()),
        prefix=" " * fence.indent,
    )
    line = yield state
    if out.waits and line.strip(BLANKS) == path:
        # Named once more, perhaps for a block to search for. Otherwise it is the first line of the file.
        out.lead(line)
        line = yield state
    if out.waits and _FOREIGN.match(line):
        out.cancel()
        out.fence = fence
        return line
    if out.waits and edits.NUMBERS.match(line):
        out.become("edit", "unified_diff")
    return (yield from _read_content(out, fence, line))


def _read_commented(out: Writer, fence: Fence, line: str, path: str) -> Grammar:
    out.fence = None
    out.prepare(path, "create", "full_content")
    return (yield from _read_content(out, fence, line))


def _read_content(out: Writer, fence: Fence, line: str) -> Grammar:
    """Read the content of *fence*, from *line* to its end."""
    state = State(line=begins_with_any(fence.marks[:3]), prefix=" " * fence.indent)
    inner: list[Fence] = []
    while line:
        if closes_fence(line, inner[-1] if inner else fence):
            if not inner:
                out.close()
                return None
            inner.pop()
        elif (nested := read_opening_fence(line)) and nested.info and nested.marks.startswith(fence.marks):
            inner.append(nested)
        out.text(line[min(fence.indent, len(line) - len(line.lstrip(" "))) :])
        line = yield state
    return line


WHOLE = Format(openers=_FENCES, enter=_enter_whole, named_above=True)
FENCES = Format(openers=(*_FENCES, *paths.COMMENTS), enter=_enter, named_above=True)
