"""Whole files in Markdown's fences, each under a line with its path, or with the path after the fence. [sans-IO]

`whole` takes the line directly above alone; `fences` also the words after the fence, a name with a blank line below
it, and a comment in the first line. A fence without a path is prose. Inside a file an opening fence with words after it
wants an end of its own: models nest fences of one length, and a file that was cut at the inner end must not pass for
complete. A named fence around hunks is an edit.
"""

import re
from functools import partial

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

_UNNAMED = State(line=leads(*_FENCES, *paths.COMMENTS))


def _enter(out: Writer, line: str, *, above_only: bool) -> Grammar | bool:
    fence = None if out.fence else opening(line)
    if fence is None:
        return False
    path = None if above_only else paths.of_info(fence.info)
    if path is None and out.held and len(out.held) <= (1 if above_only else 2):
        path = paths.of_line(out.held[0])
    if path is not None:
        return _named(out, fence, line, path)
    return False if above_only else _unnamed(out, fence, line)


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


def _unnamed(out: Writer, fence: Fence, line: str) -> Grammar:
    """Read a fence that has no path unless its first line is a comment with one."""
    above = len(out.held)
    out.hold(line)
    line = yield _UNNAMED
    path = paths.of_comment(line) if len(out.held) > above else None
    if path is None:
        out.fence = fence
        return line
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


WHOLE = Format(leads=_FENCES, enter=partial(_enter, above_only=True), named_above=True)
FENCES = Format(leads=_FENCES, enter=partial(_enter, above_only=False), named_above=True)
