"""Edits as a model writes them: a text to find and one to put there, or the hunks of a diff. [pure]

Knows lines and diffs, also the kind without numbers. Must not know the text that is edited.
"""

import re

import msgspec

LineKeys = tuple[tuple[int, int], ...]


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """One change: lines without their ends to be found, and those to be put there."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    kept: LineKeys | None = None
    """Pairs of indices into `old` and `new` of lines that stay as they are; None: those that are equal."""
    is_hunk: bool = False
    """Of a diff: whole lines, in the order of the text."""
    sections: tuple[str, ...] = ()
    """What the diff names after `@@`: lines of the text somewhere above."""
    line: int | None = None
    """Where the diff says that the first line is, from 1."""
    at_end: bool = False
    """The diff says that the last line is the last of the text."""
    complete: bool = True
    """False: the answer ended within it, or its markers are wrong."""
    leaves_line: bool = False
    """The line end after the last line stays, even where nothing is put before it."""


def split_lines(text: str) -> list[str]:
    """Return the lines of *text* without their ends, LF or CRLF; nothing else ends a line."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines


def of_texts(search: str, replace: str, *, complete: bool = True) -> Edit:
    """Return the edit that puts *replace* in the place of *search*."""
    leaves_line = not replace and not search.endswith("\n")
    return Edit(
        old=tuple(split_lines(search)), new=tuple(split_lines(replace)), complete=complete, leaves_line=leaves_line
    )


# --- diffs -----------------------------------------------------------------------------------

NUMBERS = re.compile(r"@@+ *-(\d+)(?:,(\d+))? +\+(\d+)(?:,(\d+))? *@@+ ?(.*)")
"""The head of a hunk with its numbers: line and count before, line and count after, what is above."""

_HEADER = re.compile(r"diff --git |index [0-9a-f]|--- |\+\+\+ |(?:old|new|deleted) (?:file )?mode |Index: |={20,}")

END_OF_FILE = "*** End of File"


def of_diff(text: str) -> list[Edit]:
    """Return the hunks of one file's diff, with numbers or without; a head of the file before them is skipped."""
    lines = split_lines(text)
    first = next((at for at, line in enumerate(lines) if line.startswith("@@")), 0)
    if first and all(_HEADER.match(line) or not line.strip() for line in lines[:first]):
        del lines[:first]
    edits: list[Edit] = []
    sections: list[str] = []
    body: list[str] = []
    numbers: re.Match[str] | None = None
    for line in [*lines, "@@"]:
        if not line.startswith("@@"):
            body.append(line)
            continue
        if any(each.strip() for each in body):
            edits.append(_hunk(body, numbers, tuple(sections)))
            sections.clear()
        body, numbers = [], NUMBERS.fullmatch(line)
        section = numbers[5] if numbers else line.lstrip("@").removesuffix("@@")
        if section.strip():
            sections.append(section.strip())
    return edits


def counts(body: list[str]) -> tuple[int, int]:
    """Return how many lines the hunk *body* has before and after."""
    kinds = [line[:1] for line in body]
    added, gone = kinds.count("+"), kinds.count("-")
    kept = len(kinds) - added - gone - kinds.count("\\")
    return kept + gone, kept + added


def _hunk(body: list[str], numbers: re.Match[str] | None, sections: tuple[str, ...]) -> Edit:
    at_end = any(line.strip() == END_OF_FILE for line in body[-2:])
    body = [line for line in body if line.strip() != END_OF_FILE] if at_end else body
    if not (numbers and counts(body) == (int(numbers[2] or 1), int(numbers[4] or 1))):
        # An empty line is one of the context whose blank was lost, but not where the hunk is over.
        while body and not body[-1]:
            body.pop()
    old: list[str] = []
    new: list[str] = []
    kept: list[tuple[int, int]] = []
    for line in body:
        kind, rest = line[:1], line[1:]
        if kind == "-":
            old.append(rest)
        elif kind == "+":
            new.append(rest)
        elif kind != "\\":
            kept.append((len(old), len(new)))
            # Without its blank it is a line of the context as it stands in the text.
            old.append(rest if kind == " " else line)
            new.append(old[-1])
    return Edit(
        old=tuple(old),
        new=tuple(new),
        kept=tuple(kept),
        is_hunk=True,
        sections=sections,
        line=int(numbers[1]) if numbers else None,
        at_end=at_end,
    )
