"""Whole files in Markdown's fences, each under a line with its path, or with the path after the fence. [sans-IO]

`whole` takes the line directly above alone; `fences` also the words after the fence, a name with a blank line below
it, and a comment in the first line. A fence without a path is prose. Inside a file an opening fence with words after it
wants an end of its own: models nest fences of one length, and a file that was cut at the inner end must not pass for
complete. A named fence around hunks is an edit.
"""

import re

from sidecar.formats import edits, paths
from sidecar.formats.code import Fence, closes, opening
from sidecar.formats.events import Writer
from sidecar.formats.lines import Format, Grammar, State, leads

_FENCES = ("```", "~~~")

_DIFFS = ("diff", "patch", "udiff")

_FOREIGN = re.compile(
    r"[ \t]*(?:[<-]{3,9} ?SEARCH\b|<<<< \w+ |\*\*\* (?:Begin|Add|Update|Delete) |--- (?:\S*[/.]\S)|diff --git )"
)
"""A first line by which the fence is around something of another format, which says itself what its files are."""


def _enter_whole(out: Writer, line: str) -> Grammar | bool:
    fence = None if out.fence else opening(line)
    path = paths.of_line(out.held[0]) if fence and len(out.held) == 1 else None
    return _named(out, fence, line, path) if fence and path else False


def _enter(out: Writer, line: str) -> Grammar | bool:
    if out.fence:
        begun = opening(out.held[-1]) if out.held else None
        path = paths.of_comment(line) if begun else None
        return _commented(out, begun, line, path) if begun and path else False
    fence = opening(line)
    if fence is None:
        return False
    path = paths.of_info(fence.info) or (paths.of_line(out.held[0]) if 0 < len(out.held) <= 2 else None)
    if path:
        return _named(out, fence, line, path)
    # Its first line may be a comment with a path.
    out.fence = fence
    out.hold(line)
    return True


def _named(out: Writer, fence: Fence, line: str, path: str) -> Grammar:
    out.hold(line)
    is_diff = fence.info.partition(" ")[0].lower() in _DIFFS
    out.prepare(path, *(("edit", "unified_diff") if is_diff else ("create", "full_content")))
    line = yield State(line=leads(fence.marks[:3], "<<<", "---", "***", "@@", "diff "), prefix=" " * fence.indent)
    if out.waits and _FOREIGN.match(line):
        out.cancel()
        out.fence = fence
        return line
    if out.waits and edits.NUMBERS.match(line):
        out.become("edit", "unified_diff")
    return (yield from _content(out, fence, line))


def _commented(out: Writer, fence: Fence, line: str, path: str) -> Grammar:
    out.fence = None
    out.prepare(path, "create", "full_content")
    return (yield from _content(out, fence, line))


def _content(out: Writer, fence: Fence, line: str) -> Grammar:
    """Read what stands in *fence* from *line* on, to its end."""
    state = State(line=leads(fence.marks[:3]), prefix=" " * fence.indent)
    inner: list[Fence] = []
    while line:
        if closes(line, inner[-1] if inner else fence):
            if not inner:
                out.close()
                return None
            inner.pop()
        elif (nested := opening(line)) and nested.info and nested.marks.startswith(fence.marks):
            inner.append(nested)
        out.text(line[min(fence.indent, len(line) - len(line.lstrip(" "))) :])
        line = yield state
    return line


WHOLE = Format(leads=_FENCES, enter=_enter_whole, named_above=True)
FENCES = Format(leads=(*_FENCES, *paths.COMMENTS), enter=_enter, named_above=True)
