"""The V4A patch: files between `*** Begin Patch` and `*** End Patch`, hunks without numbers. [sans-IO]

Source: https://github.com/openai/codex, codex-rs/apply-patch, 2026-08. Tolerated: markers with blanks or stars around
them, a head without `Begin Patch`, context without its leading blank.
"""

import re

from sidecar.formats.events import Writer
from sidecar.formats.lines import BLANKS, Format, Grammar, State, begins_with_any

_MARKER = re.compile(
    r"\*\*\* ?(?:(Begin Patch|End Patch)|(Add|Update|Delete) File: *(.+?)|Move to: *(.+?))(?: \*\*\*)?", re.IGNORECASE
)


def _enter(out: Writer, line: str) -> Grammar | bool:
    match = _MARKER.fullmatch(line.strip(BLANKS))
    if not match or not (match[2] or (match[1] or "").lower().startswith("begin")):
        return False
    return _read_patch(out, match, line[: len(line) - len(line.lstrip(BLANKS))])


def _read_patch(out: Writer, marker: re.Match[str], indent: str) -> Grammar:
    """Read the files from *marker* on, to the end of the patch; its lines may have the *indent* of the first."""
    hunks = State(line=begins_with_any("***"), prefix=indent)
    # Each line of a new file begins with a plus. Any other line is a marker, or an error.
    whole = State(line=_is_not_added, prefix=f"{indent}+")
    out.settle()
    _open(out, marker)
    sound = True
    while line := (yield whole if out.is_whole else hunks):
        found = _MARKER.fullmatch(line.strip(BLANKS))
        if not found or (found[1] or "").lower().startswith("begin"):
            sound = sound and not (out.is_whole and line.strip())
            out.text(line)
        elif found[4]:
            if out.waits:
                out.become("rename", "unified_diff", to=found[4])
            else:
                sound = False
        else:
            out.close(complete=sound)
            if found[1]:
                return None
            sound = True
            _open(out, found)
    return line


def _is_not_added(line: str) -> bool | None:
    line = line.lstrip(" \t")
    return line[0] != "+" if line else None


def _open(out: Writer, marker: re.Match[str]) -> None:
    kind, path = (marker[2] or "").lower(), marker[3]
    if kind == "add":
        out.open(path, "create", "full_content")
    elif kind == "update":
        out.prepare(path, "edit", "unified_diff")
    elif kind == "delete":
        out.open(path, "delete", "unified_diff")


PATCH = Format(openers=("***",), enter=_enter)
