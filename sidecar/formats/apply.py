"""Applies edits: to one text (`apply_edits`), or to the files of an answer (`Files`). [pure]

Knows line endings, the byte order mark and overlapping edits. Must not know how edits are written or where texts are
kept.
"""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from protocol.files import (
    EditOutcome,
    EditProblem,
    EditResult,
    FileEnd,
    FileProblem,
    FileResult,
    FileStart,
    FormatName,
    OutputChunk,
    Place,
    Tolerance,
)
from protocol.replies import Content
from sidecar.core.errors import invalid_request
from sidecar.formats import matcher, paths
from sidecar.formats.auto import make_lexer
from sidecar.formats.edits import Edit, change_indent, list_kept_lines, map_indents, read_diff, split_lines
from sidecar.formats.events import Closed, Event
from sidecar.formats.matcher import MAX_CANDIDATES, MAX_LINES, Found, Piece, Text

MAX_TEXT_CHARS = 16 * 1024 * 1024
MAX_EDITS = 10_000
"""The largest text, and the most edits to it."""

MAX_WORK_LINES, MAX_WORK_CHARS = 500_000_000, 20_000_000_000
"""The largest text times its edits: about half a minute of work if all lines are alike and no edit fits."""

_BOM = "\ufeff"


class _Change(msgspec.Struct, frozen=True, order=True):
    """Lines of a text, from `start` to before `end`, that `new` replaces. None of them is kept."""

    start: int
    end: int
    edit: int
    new: tuple[str, ...]


def apply_edits(
    text: str, wanted: Sequence[Edit] | str, *, tolerance: Tolerance = "elision", partial: bool = False
) -> EditOutcome:
    """Return *text* with the edits applied, and the result of each. All edits refer to the original text.

    If one edit cannot be placed, none is applied, unless *partial*. A string is a patch of one file, in any format
    that `auto` reads, or its hunks alone.

    Raises: SidecarError `invalid_request` beyond the limits, and for a patch of no file or of several.
    """
    if isinstance(wanted, str):
        wanted = read_patch(wanted)
    if len(text) > MAX_TEXT_CHARS or text.count("\n") >= MAX_LINES:
        raise invalid_request(
            f"The text has more than {MAX_TEXT_CHARS} characters or {MAX_LINES} lines.", "params.text"
        )
    if len(wanted) > MAX_EDITS:
        raise invalid_request(f"There are more than {MAX_EDITS} edits.", "params.edits")
    if len(text) * len(wanted) > MAX_WORK_CHARS or text.count("\n") * len(wanted) > MAX_WORK_LINES:
        raise invalid_request(
            "So many edits of such a long text are too much work. Send fewer at once.", "params.edits"
        )
    changed, results, failed = _apply(text, wanted, tolerance, partial=partial)
    applied = [] if changed is None else [each for each in results if not each.problem]
    return EditOutcome(text=text if changed is None else changed, applied=applied, failed=failed)


def _apply(
    text: str, wanted: Sequence[Edit], tolerance: Tolerance, *, partial: bool
) -> tuple[str | None, list[EditResult], list[EditResult]]:
    """Return the new text (None if a failed edit prevents it), all results, and the results that are failures."""
    lines, ends = _split_lines(text)
    results, changes = _place_edits(Text(lines), wanted, tolerance)
    failed = [result for result in results if result.problem]
    if failed and not partial:
        return None, results, failed
    return _BOM * text.startswith(_BOM) + _join_lines(lines, ends, changes), results, failed


def read_patch(patch: str) -> list[Edit]:
    """Return the edits of a patch of one file.

    Raises: SidecarError `invalid_request` if it has no edits, or edits of several files.
    """
    reader = make_lexer("auto")
    files = [event for event in (*reader.feed(patch), *reader.end(whole=True)) if isinstance(event, Closed)]
    if len({file.start.path for file in files}) > 1:
        raise invalid_request("The patch changes several files, but there is only one text.", "params.patch")
    found = [edit for file in files for edit in _list_edits(file)] if files else read_diff(patch)
    found = [edit for edit in found if edit.old != edit.new]
    if not found:
        raise invalid_request("The patch changes nothing.", "params.patch")
    return found


def _list_edits(file: Closed) -> list[Edit]:
    """Return the edits of one file of a patch. Nothing can follow, so its last hunk is complete too."""
    if file.start.op == "create":
        return [Edit(old=(), new=tuple(split_lines(file.text)))]
    return [msgspec.structs.replace(edit, complete=edit.complete or edit.is_hunk) for edit in file.edits]


# --- from places to changes ------------------------------------------------------------------


def _place_edits(text: Text, wanted: Sequence[Edit], tolerance: Tolerance) -> tuple[list[EditResult], list[_Change]]:
    """Return the result of each edit, and the changes of those that have a place, ordered by line."""
    results: list[EditResult] = []
    changes: list[_Change] = []
    for number, (edit, found) in enumerate(zip(wanted, matcher.place(text, wanted, tolerance), strict=True)):
        if len(found.options) != 1:
            results.append(_explain_failure(text, number, edit, found))
            continue
        (option,) = found.options
        own = [change for piece in option for change in _list_changes(text, number, piece)]
        where = EditResult(edit=number, match=found.match, start_line=option[0].start + 1, end_line=option[-1].end)
        if any(_overlaps(change, changes) for change in own):
            where = msgspec.structs.replace(where, match=None, problem="overlap")
        else:
            for change in own:
                insort(changes, change)
        results.append(where)
    return results, changes


def _list_changes(text: Text, number: int, piece: Piece) -> Iterator[_Change]:
    """Yield what *piece* changes: everything between the lines that it keeps."""
    edit = piece.edit
    indents = map_indents(edit.old, text.lines[piece.start : piece.end]) or {}
    old = new = 0
    for kept_old, kept_new in (*list_kept_lines(edit), (len(edit.old), len(edit.new))):
        if old < kept_old or new < kept_new:
            lines = tuple(change_indent(line, indents) for line in edit.new[new:kept_new])
            yield _Change(piece.start + old, piece.start + kept_old, number, lines)
        old, new = kept_old + 1, kept_new + 1


def _overlaps(change: _Change, changes: list[_Change]) -> bool:
    """Return whether *change* and one of *changes* share a line."""
    at = bisect_left(changes, change)
    return any(
        other.start < change.end and change.start < other.end
        if other.start < other.end and change.start < change.end
        else other.start < change.start < other.end or change.start < other.start < change.end
        for other in changes[max(at - 1, 0) : at + 1]
    )


def _explain_failure(text: Text, number: int, edit: Edit, found: Found) -> EditResult:
    """Return why an edit has no place, with a hint for the next try."""
    problem: EditProblem = "ambiguous" if found.options else "not_found" if edit.complete else "incomplete"
    candidates = [Place(option[0].start + 1, option[-1].end) for option in found.options[:MAX_CANDIDATES]]
    hint = None
    if problem == "ambiguous":
        hint = "It matches several places. Quote more of the lines around it."
    elif (
        problem == "not_found" and edit.new and (there := matcher.locate(text, _swap_sides(edit), "whitespace").options)
    ):
        hint = f"The replacement is already in the text, at line {there[0][0].start + 1}."
    elif problem == "not_found" and (near := matcher.find_nearest(text, edit)):
        hint = f"Lines {near[0] + 1} to {near[0] + len(edit.old)} are the nearest. Quote them exactly."
    return EditResult(edit=number, problem=problem, candidates=candidates, hint=hint)


def _swap_sides(edit: Edit) -> Edit:
    return Edit(old=edit.new, new=edit.old)


# --- lines and their ends --------------------------------------------------------------------


def _split_lines(text: str) -> tuple[list[str], list[str]]:
    """Return the lines of *text* and the line ending of each; empty for a last line without one."""
    lines = text.removeprefix(_BOM).split("\n")
    ends = ["\n"] * len(lines)
    if lines[-1]:
        ends[-1] = ""
    else:
        lines.pop()
        ends.pop()
    if "\r" in text:
        for at, line in enumerate(lines):
            if line.endswith("\r") and ends[at]:
                lines[at], ends[at] = line[:-1], "\r\n"
    return lines, ends


def _join_lines(lines: list[str], ends: list[str], changes: list[_Change]) -> str:
    """Return the text after *changes*. A new line ends like its neighbours, and the last line ends as before."""
    default = next((end for end in ends if end), "\n")
    out: list[tuple[str, str]] = []
    at = 0
    for change in changes:
        out += zip(lines[at : change.start], ends[at : change.start], strict=True)
        around = [*ends[change.start : change.start + 1], *ends[max(change.start - 1, 0) : change.start]]
        end = next((each for each in around if each), default)
        out += ((line, end) for line in change.new)
        at = change.end
    out += zip(lines[at:], ends[at:], strict=True)
    if not out:
        return ""
    has_last_end = not ends or bool(ends[-1])
    last, last_end = out[-1]
    pieces = [line + (end or default) for line, end in out[:-1]]
    return "".join([*pieces, last, (last_end or default) if has_last_end else ""])


# --- an answer's files -----------------------------------------------------------------------


def clean_paths(texts: Mapping[str, str], param: str) -> dict[str, str]:
    """Return *texts* by their paths as `file_start` writes them.

    Raises: SidecarError `invalid_request` for *param* if a path is refused, or stands there twice.
    """
    cleaned: dict[str, str] = {}
    for path, text in texts.items():
        name, refusal = paths.clean_path(path)
        if refusal:
            raise invalid_request(f"`{param}` has a path that is no relative path below a folder ({refusal}).", param)
        if name in cleaned:
            raise invalid_request(f"`{param}` has a path twice.", param)
        cleaned[name] = text
    return cleaned


class Files:
    """The files of one answer: text goes in, chunks come out, and in the end one row for each path."""

    def __init__(
        self,
        name: FormatName,
        *,
        nonce: str | None = None,
        existing: Mapping[str, str] | None = None,
        tolerance: Tolerance = "elision",
        partial: bool = False,
    ) -> None:
        """Change the texts of *existing*, whose paths are as `clean_paths` returns them."""
        self._name: FormatName = name
        self._nonce = nonce
        self._lexer = make_lexer(name, nonce)
        self._tolerance: Tolerance = tolerance
        self._partial = partial
        self._texts = dict(existing or {})
        self._rows: dict[str, FileResult] = {}

    def feed(self, text: str) -> list[Content | OutputChunk]:
        """Return the chunks that *text* completes."""
        return [self.apply(event) for event in self.read(text)]

    def end(self, *, whole: bool = False) -> list[Content | OutputChunk]:
        """Return the chunks that the end of the text completes; *whole* as in `Lexer.end`."""
        return [self.apply(event) for event in self.read_end(whole=whole)]

    def read(self, text: str) -> list[Event]:
        """Return the events of `feed`. `apply` turns each of them into its chunk, in this order."""
        return self._lexer.feed(text)

    def read_end(self, *, whole: bool = False) -> list[Event]:
        """Return the events of `end`, and begin another text, whose files count on."""
        events = self._lexer.end(whole=whole)
        self._lexer = make_lexer(self._name, self._nonce, self._lexer.count)
        return events

    def weigh(self, closed: Closed) -> int:
        """Return how much work `apply` has with *closed*, in characters to search."""
        text_chars, new_chars = len(self._texts.get(closed.start.path, "")), len(closed.text)
        # To hash a text takes little beside looking for its lines.
        return text_chars + new_chars if closed.searches or closed.is_diff else new_chars // 32

    @property
    def rows(self) -> list[FileResult]:
        """One row for each path so far, in the order of their first appearance."""
        return list(self._rows.values())

    def apply(self, event: Event) -> Content | OutputChunk:
        """Return the chunk of *event*; at the end of a file, its edits are applied."""
        return self._end(event) if isinstance(event, Closed) else event

    def _end(self, closed: Closed) -> FileEnd:
        """Apply *closed* to the texts, and return its chunk."""
        start = closed.start
        text, results, problem = self._outcome(closed)
        if problem is None and start.op in ("delete", "rename"):
            self._texts.pop(start.path, None)
        if text is not None and (problem is None or (self._partial and start.op != "create")):
            self._texts[start.to or start.path] = text
        end = FileEnd(
            file=start.file,
            path=start.path,
            complete=problem is None,
            problem=problem,
            lines=None if text is None else text.count("\n") + (not text.endswith("\n") and text != ""),
            sha256=None if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
            edits=results,
            unfenced=closed.unfenced,
        )
        self._add_row(start, end, text)
        return end

    def _outcome(self, closed: Closed) -> tuple[str | None, list[EditResult], FileProblem | None]:
        """Return the final text if there is one, the results of the edits, and why the file is incomplete."""
        op, path, wanted = closed.start.op, closed.start.path, closed.edits
        cut: FileProblem | None = None if closed.complete else "incomplete"
        if closed.start.refused:
            return closed.text if op == "create" else None, _fail_all(wanted, "refused_path"), "refused_path"
        if op in ("create", "delete"):
            return closed.text if op == "create" else None, [], cut
        if path not in self._texts:
            is_known = op == "rename" and not wanted
            return None, _fail_all(wanted, "no_file"), cut or (None if is_known else "no_file")
        text, results, _ = _apply(self._texts[path], wanted, self._tolerance, partial=self._partial)
        is_bad = any(each.problem for each in results) or (op == "edit" and not results)
        problem = cut or ("edits_failed" if is_bad else None)
        return text if self._partial or not problem else None, results, problem

    def _add_row(self, start: FileStart, end: FileEnd, text: str | None) -> None:
        """Merge the end of a file into the row of its path."""
        before = self._rows.get(start.path)
        self._rows[start.path] = FileResult(
            path=start.path,
            op="create" if before and before.op == "create" and start.op == "edit" else start.op,
            to=start.to,
            complete=end.complete and (before is None or before.complete),
            content=text,
            lines=end.lines,
            sha256=end.sha256,
            files=[*(before.files if before else []), start.file],
        )


def _fail_all(wanted: Sequence[Edit], problem: EditProblem) -> list[EditResult]:
    return [EditResult(edit=number, problem=problem) for number in range(len(wanted))]
