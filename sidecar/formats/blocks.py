"""Our own format: whole files and search/replace between markers that carry a nonce of this answer. [sans-IO]

No content has such a marker by chance, so fences, conflict markers and other formats within a file mean nothing.
`write_instructions` returns the text that teaches a model the format.
"""

import re
from functools import partial

from protocol.files import Operation
from sidecar.formats import paths
from sidecar.formats.code import read_opening_fence
from sidecar.formats.events import Writer
from sidecar.formats.lines import BLANKS, Format, Grammar, State, begins_with_any

_MARKERS = State(line=begins_with_any("<<<", "===", ">>>"))

_MARKER = re.compile(r"([<=>])\1{2,8}[ \t]*(\w+)?(?:[ \t]+(\w+))?(?:[ \t]+(.*))?", re.ASCII)

_OPENERS: dict[str, Operation] = {"file": "create", "edit": "edit", "delete": "delete", "rename": "rename"}


def write_instructions(nonce: str) -> str:
    """Return the instructions for a model to write files in this format. *nonce* has letters and digits only."""
    return f"""\
Write every file that you create or change between marker lines. Each marker stands alone on its line, in column 1,
and has the code {nonce}. Write no fence around a file, escape nothing, leave nothing out. Paths are relative, with /.

A new file, or one that changes almost everywhere, as a whole:
<<<< file {nonce} src/new.py
(all its lines)
>>>> file {nonce}

Changes of an existing file, each as lines to find and lines to put in their place:
<<<< edit {nonce} src/old.py
<<<< search {nonce}
(the lines as they stand in the file, exactly, and enough of them to occur only once)
==== {nonce}
(the lines that replace them; none deletes them)
>>>> search {nonce}
>>>> edit {nonce}
An edit may have several searches. They all refer to the file as it is now and do not overlap.

One line each, for a file to delete, a file to rename, a command that the user should run:
<<<< delete {nonce} src/gone.py
<<<< rename {nonce} src/a.py -> src/b.py
<<<< run {nonce} npm install zod

After a path, ` # ` and a few words may say what the file is for. Text outside of the markers is read by the user."""


def make_own_format(nonce: str) -> Format:
    """Return the row of the format whose markers carry *nonce*."""
    return Format(openers=("<<<",), enter=partial(_enter, nonce))


def _read_marker(line: str, nonce: str) -> tuple[str, str, str] | None:
    """Return the sign, the word and the rest of a marker; None if *line* is not one."""
    match = _MARKER.fullmatch(line.strip(BLANKS))
    if not match:
        return None
    sign, first, second, rest = match.groups("")
    if first == nonce:
        # `==== 7f3a` has no word.
        return sign, "", f"{second} {rest}".strip()
    return (sign, first.lower(), rest) if second == nonce else None


def _enter(nonce: str, out: Writer, line: str) -> Grammar | bool:
    marker = _read_marker(line, nonce)
    if marker is None or marker[0] != "<":
        return False
    _, word, rest = marker
    if word in _OPENERS:
        _open(out, word, rest)
        if word in ("file", "edit"):
            return _read_file(out, nonce)
        out.close()
        return True
    if word == "run":
        out.command(rest)
    return word == "run"


def _open(out: Writer, word: str, rest: str) -> None:
    path, _, purpose = rest.partition(" # ")
    source, arrow, target = path.partition(" -> ")
    path, to = (source, target.strip()) if arrow and word == "rename" else (path, None)
    out.prepare(
        path.strip(),
        _OPENERS[word],
        "search_replace" if word == "edit" else "full_content",
        to=to,
        purpose=purpose.strip(),
    )


def _read_file(out: Writer, nonce: str) -> Grammar:
    """Read a file up to its end marker or the next opening one."""
    sound = True
    while line := (yield _MARKERS):
        marker = _read_marker(line, nonce)
        if marker is None:
            out.text(line)
            continue
        sign, word, _ = marker
        # Text between two searches: a marker is missing.
        sound = sound and not (out.is_changed and out.side is None and out.written.strip())
        if sign == "<" and word in (*_OPENERS, "run"):
            out.close(complete=False)
            return line
        if sign == ">":
            if _end(out, word, sound=sound):
                return None
        elif not out.waits and not out.is_changed:
            # An edit marker in a whole file: deliver it, but call the file incomplete.
            sound = False
            out.text(line)
        elif sign == "<" and word == "search":
            if out.waits:
                out.become("edit", "search_replace")
            out.begin_edit()
        elif sign == "=" and out.side == "search":
            out.begin_replacement()
        else:
            # A divider outside of an edit: the edit is ambiguous.
            out.end_edit(complete=False)
    return line


def _end(out: Writer, word: str, *, sound: bool) -> bool:
    """End the edit, the file or both, as `>>>>` with *word* says; return whether it was the file."""
    if out.side and word not in ("file", "edit"):
        out.end_edit()
        return False
    out.end_edit()
    out.close(complete=sound)
    return True


# --- the usual blocks without a nonce --------------------------------------------------------------------

_SEARCH = re.compile(r"([<-])(\1{2,8}) ?SEARCH>?")
_REPLACE = re.compile(r"([>+])\1{2,8} ?REPLACE>?")

_BLOCK = State(line=begins_with_any("<<<", "---", "===", ">>>", "+++"))


def _enter_plain(out: Writer, line: str) -> Grammar | bool:
    match = _SEARCH.fullmatch(line.strip(BLANKS))
    return _read_plain(out, _find_path_above(out), len(match[2]) + 1) if match else False


def _find_path_above(out: Writer) -> str:
    """Return the path that the lines above name, or else the last one that was edited."""
    for line in reversed(out.held):
        fence = read_opening_fence(line)
        if path := paths.find_path_in_info(fence.info) if fence else paths.find_path_in_line(line):
            return path
    return out.last_path


def _read_plain(out: Writer, path: str, width: int) -> Grammar:
    """Read one block. Its divider is as long as its opening marker; a second divider makes it ambiguous."""
    out.open(path, "edit", "search_replace")
    out.begin_edit()
    sound = True
    while line := (yield _BLOCK):
        mark = line.strip(BLANKS)
        if _REPLACE.fullmatch(mark):
            sound = sound and out.side == "replace"
            out.end_edit(complete=sound)
            out.close(complete=sound)
            return None
        if _SEARCH.fullmatch(mark):
            out.close(complete=False)
            return line
        if mark == "=" * width and out.side == "search":
            out.begin_replacement()
        else:
            sound = sound and mark != "=" * width
            out.text(line)
    return line


PLAIN = Format(openers=("<<<", "---"), enter=_enter_plain, named_above=True)
"""Search/replace between the widely used markers, for hosts with prompts of their own."""
