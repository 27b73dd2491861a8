"""Our own format: whole files and search/replace between markers that carry a word of this answer's own. [sans-IO]

The word makes markers that no content can have by chance, so fences, conflict markers and other formats within a file
mean nothing. `instructions` is the text that teaches a model the format.
"""

import re
from functools import partial

from protocol.files import Operation
from sidecar.formats import paths
from sidecar.formats.code import opening
from sidecar.formats.events import Writer
from sidecar.formats.lines import BLANKS, Format, Grammar, State, leads

_MARKERS = State(line=leads("<<<", "===", ">>>"))

_MARKER = re.compile(r"([<=>])\1{2,8}[ \t]*(\w+)?(?:[ \t]+(\w+))?(?:[ \t]+(.*))?", re.ASCII)

_OPENERS: dict[str, Operation] = {"file": "create", "edit": "edit", "delete": "delete", "rename": "rename"}


def instructions(nonce: str) -> str:
    """Return what teaches a model to write files whose markers carry *nonce*, a word of letters and digits."""
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


def own(nonce: str) -> Format:
    """Return the row of the format whose markers carry *nonce*."""
    return Format(leads=("<<<",), enter=partial(_enter, nonce))


def _marker(line: str, nonce: str) -> tuple[str, str, str] | None:
    """Return the sign, the word and the rest of the marker that *line* is."""
    match = _MARKER.fullmatch(line.strip(BLANKS))
    if not match:
        return None
    sign, first, second, rest = match.groups("")
    if first == nonce:
        # `==== 7f3a`: without a word of what it marks.
        return sign, "", f"{second} {rest}".strip()
    return (sign, first.lower(), rest) if second == nonce else None


def _enter(nonce: str, out: Writer, line: str) -> Grammar | bool:
    marker = _marker(line, nonce)
    if marker is None or marker[0] != "<":
        return False
    _, word, rest = marker
    if word in _OPENERS:
        _open(out, word, rest)
        if word in ("file", "edit"):
            return _file(out, nonce)
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


def _file(out: Writer, nonce: str) -> Grammar:
    """Read what stands between the markers of a file, up to its end or the next opener."""
    sound = True
    while line := (yield _MARKERS):
        marker = _marker(line, nonce)
        if marker is None:
            out.text(line)
            continue
        sign, word, _ = marker
        # Text between the searches belongs to none of them: a marker must be missing.
        sound = sound and not (out.is_changed and out.side is None and out.written.strip())
        if sign == "<" and word in (*_OPENERS, "run"):
            out.close(complete=False)
            return line
        if sign == ">":
            if _end(out, word, sound=sound):
                return None
        elif not out.waits and not out.is_changed:
            # A marker of an edit within a whole file: it is delivered, and the file is not fit to be used.
            sound = False
            out.text(line)
        elif sign == "<" and word == "search":
            if out.waits:
                out.become("edit", "search_replace")
            out.begin_edit()
        elif sign == "=" and out.side == "search":
            out.begin_replacement()
        else:
            # It divides nothing, so nobody can say what the edit is.
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


# --- the blocks of others --------------------------------------------------------------------

_SEARCH = re.compile(r"([<-])(\1{2,8}) ?SEARCH>?")
_REPLACE = re.compile(r"([>+])\1{2,8} ?REPLACE>?")

_BLOCK = State(line=leads("<<<", "---", "===", ">>>", "+++"))


def _enter_plain(out: Writer, line: str) -> Grammar | bool:
    match = _SEARCH.fullmatch(line.strip(BLANKS))
    return _plain(out, _path_above(out), len(match[2]) + 1) if match else False


def _path_above(out: Writer) -> str:
    """Return the path that the lines above name, or the one that was edited last."""
    for line in reversed(out.held):
        fence = opening(line)
        if path := paths.of_info(fence.info) if fence else paths.of_line(line):
            return path
    return out.last_path


def _plain(out: Writer, path: str, width: int) -> Grammar:
    """Read one block, whose divider has as many signs as its opener; a second one makes it ambiguous."""
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


PLAIN = Format(leads=("<<<", "---"), enter=_enter_plain, named_above=True)
"""Search/replace between markers that everybody knows, for prompts of the host's own."""
