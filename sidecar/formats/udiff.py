"""Unified diffs, in a fence or bare, as `diff -u` and `git diff` write them and as models do. [sans-IO]

A file begins with `---`, `+++`, `@@` on three lines, or with the header that git puts before them. The line numbers of
hunks are often wrong, so they decide only if nothing else does. Source:
https://www.gnu.org/software/diffutils/manual/html_node/Unified-Format.html, https://git-scm.com/docs/diff-format,
2026-11.
"""

import re
from typing import Literal

from sidecar.formats import edits
from sidecar.formats.code import closes_fence
from sidecar.formats.events import Writer
from sidecar.formats.lines import Format, Grammar, State

Head = dict[str, str]
"""The lines of a file's header: first words → the rest of the line."""

_HEAD = (
    *("--- ", "+++ ", "@@", "diff --git ", "index ", "old mode ", "new mode ", "new file mode ", "deleted file mode "),
    *("similarity index ", "dissimilarity index ", "rename from ", "rename to ", "copy from ", "copy to "),
)

_NOTHING = "/dev/null"

_ESCAPE = re.compile(r"((?:\\[0-7]{3})+)|\\(.)")
_CONTROLS = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')

_DATE = re.compile(r"(?:\t| \d{4}-\d\d-\d\d[ T]).*")

_EVERY = State(line=lambda _: True)


def _may_end(line: str) -> bool | None:
    """Return False for a line that can only belong to the hunk; `--- ` may begin the next file."""
    if line[0] == "-":
        return True if line.startswith("--- ") else None if "--- ".startswith(line) else False
    return line[0] not in " +\\"


_HUNKS = State(line=_may_end)
_NEW_FILE = State(line=lambda line: line[0] != "+", prefix="+")


def _enter(out: Writer, line: str) -> Grammar | bool:
    if line.startswith("@@"):
        head = _read_head(out.held)
        return _read_file(out, head, line) if "--- " in head and "+++ " in head else False
    return _hold_head(out, line) if line.startswith(("--- ", "diff --git ")) else False


def _read_head(lines: list[str]) -> Head:
    leads = ((next((lead for lead in _HEAD if line.startswith(lead)), ""), line) for line in lines)
    return {lead: line.removeprefix(lead).rstrip("\r\n") for lead, line in leads}


def _hold_head(out: Writer, line: str) -> Grammar:
    """Hold the lines of a header, which `_enter` reads if a hunk follows."""
    out.settle()
    seen: set[str] = set()
    while lead := next((lead for lead in _HEAD if line.startswith(lead) and lead not in seen), ""):
        if lead == "@@" or (seen and lead == "diff --git ") or (lead == "+++ " and "--- " not in seen):
            break
        seen.add(lead)
        out.hold(line)
        line = yield _EVERY
        if not out.held:
            # A line longer than any marker came between.
            return line
    if "diff --git " in seen and "--- " not in seen:
        _report_without_hunks(out, _read_head(out.held))
    return line


def _report_without_hunks(out: Writer, head: Head) -> None:
    """Report a file that git describes by its header alone: renamed, or empty and created or deleted."""
    both = head["diff --git "]
    old, new = _unquote(both[: len(both) // 2]), _unquote(both[len(both) // 2 + 1 :])
    same = old[:2] == "a/" and new == f"b/{old[2:]}"
    if "rename from " in head and "rename to " in head:
        out.open(_unquote(head["rename from "]), "rename", "unified_diff", to=_unquote(head["rename to "]))
    elif same and "new file mode " in head:
        out.open(old[2:], "create", "full_content")
    elif same and "deleted file mode " in head:
        out.open(old[2:], "delete", "unified_diff")
    out.close()


def _read_file(out: Writer, head: Head, line: str) -> Grammar:
    """Read the hunks of one file; *line* is the header of the first."""
    is_new = _open(out, head)
    left: tuple[int, int] | None = None
    while line:
        left = _subtract_lines(left, out.fresh(), is_new=is_new)
        if out.held and (verdict := _judge_held_lines(out.held, line, left)) != "more":
            if verdict == "outside":
                break
            for held in out.take_held():
                _add(out, held, is_new=is_new)
            continue
        if line.startswith("--- ") or (out.held and line.startswith("+++ ")) or (_is_blank(line) and not out.fence):
            out.hold(line)
            line = yield _EVERY
            continue
        if line.startswith("@@"):
            left = _read_line_counts(line)
        elif line[0] not in " +-\\" and (
            not out.fence or closes_fence(line, out.fence) or line.startswith("diff --git ")
        ):
            break
        _add(out, line, is_new=is_new)
        line = yield _NEW_FILE if is_new else _HUNKS
    if not line and out.held and not _is_blank(out.held[0]):
        for held in out.take_held():
            _add(out, held, is_new=is_new)
    is_whole = bool(line) or (
        not out.fence and (out.whole or _subtract_lines(left, out.fresh(), is_new=is_new) == (0, 0))
    )
    out.close(complete=is_whole)
    return line


def _judge_held_lines(held: list[str], line: str, left: tuple[int, int] | None) -> Literal["more", "hunk", "outside"]:
    """Return whether the held lines belong to the hunk, judged by *line* after them; `more`: not clear yet."""
    if _is_blank(held[0]):
        if _is_blank(line):
            return "more"
        goes_on = line.startswith("@@") or (line[0] in " +-\\" and left != (0, 0))
        return "hunk" if goes_on else "outside"
    if len(held) == 1 and line.startswith("+++ "):
        return "more"
    # A removed line that began with two dashes, and an added one with two pluses, look like the next header. They are
    # content if the hunk's line counts say that exactly these two are left.
    return "outside" if len(held) == 2 and line.startswith("@@") and left != (1, 1) else "hunk"


def _is_blank(line: str) -> bool:
    return line in ("\n", "\r\n")


def _add(out: Writer, line: str, *, is_new: bool) -> None:
    """Add a line of a hunk; for a new file only its content."""
    if not is_new:
        out.text(line)
    elif not line.startswith(("@@", "\\")):
        out.text(line.removeprefix("+"))


def _read_line_counts(line: str) -> tuple[int, int] | None:
    """Return the line counts of the hunk with the header *line*, before and after, if it states them."""
    match = edits.NUMBERS.match(line)
    return (int(match[2] or 1), int(match[4] or 1)) if match else None


def _subtract_lines(left: tuple[int, int] | None, text: str, *, is_new: bool) -> tuple[int, int] | None:
    """Return how many lines of the hunk are left after *text*."""
    if left is None or not text:
        return left
    body = text.split("\n")[: None if text[-1] != "\n" else -1]
    before, after = (0, len(body)) if is_new else edits.count_sides([line for line in body if line[:2] != "@@"])
    return left[0] - before, left[1] - after


def _open(out: Writer, head: Head) -> bool:
    """Open the file that *head* names, and return whether it is a new one."""
    old, new = _read_path(head["--- "]), _read_path(head["+++ "])
    if old[1:2] == new[1:2] == "/" and old[2:] == new[2:]:
        old, new = old[2:], new[2:]
    elif old == _NOTHING:
        new = new.removeprefix("b/")
    elif new == _NOTHING:
        old = old.removeprefix("a/")
    elif old.startswith("a/") and new.startswith("b/"):
        old, new = old[2:], new[2:]
    if old == _NOTHING:
        out.open(new, "create", "full_content")
    elif new == _NOTHING:
        out.open(old, "delete", "unified_diff")
    elif "rename from " in head:
        out.open(old, "rename", "unified_diff", to=new)
    else:
        out.open(new, "edit", "unified_diff")
    return old == _NOTHING


def _read_path(text: str) -> str:
    """Return the path of `---` or `+++`, without the date that may follow it."""
    text = text.strip(" ")
    quoted = _QUOTED.match(text)
    return _unquote(quoted[0]) if quoted else _DATE.sub("", text).rstrip(" ")


def _unquote(path: str) -> str:
    """Return *path* without git's quotes, in which bytes outside of ASCII are octal."""
    if not (len(path) > 1 and path[0] == path[-1] == '"'):
        return path

    def plain(match: re.Match[str]) -> str:
        if match[1]:
            return bytes(int(each, 8) & 255 for each in match[1].split("\\")[1:]).decode("utf-8", "replace")
        return _CONTROLS.get(match[2], match[2])

    return _ESCAPE.sub(plain, path[1:-1])


UDIFF = Format(openers=("--- ", "diff --git "), enter=_enter)
