"""Edits as a model writes them: a text to find and one to put there, or the hunks of a diff. [pure]

Knows lines and diffs, also the kind without numbers. Must not know the text that is edited.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import msgspec

Pairs = tuple[tuple[int, int], ...]


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """One change: lines without their ends to be found, and those to be put there."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    kept: Pairs | None = None
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


def split_lines(text: str) -> list[str]:
    """Return the lines of *text* without their ends, LF or CRLF; nothing else ends a line."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines


def of_texts(search: str, replace: str, *, complete: bool = True) -> Edit:
    """Return the edit that puts *replace* in the place of *search*."""
    search, replace = search.removeprefix("\ufeff"), replace.removeprefix("\ufeff")
    # What is taken out of a line, rather than with it, leaves the line.
    new = split_lines(replace) if replace or not search or search.endswith("\n") else [""]
    return Edit(old=tuple(split_lines(search)), new=tuple(new), complete=complete)


# --- diffs -----------------------------------------------------------------------------------

NUMBERS = re.compile(r"@@+ *-(\d{1,9})(?:,(\d{1,9}))? +\+(\d{1,9})(?:,(\d{1,9}))? *@@+ ?(.*)", re.ASCII)
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
    # Where a line has lost its blank, the others of the context have lost theirs.
    is_bare = any(line[:1] not in ("", " ", "+", "-", "\\") for line in body)
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
            old.append(line if is_bare else rest)
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


# --- what stays, and what is left out --------------------------------------------------------


def kept_lines(edit: Edit) -> Pairs:
    """Return the pairs of lines that stay: those of a diff, or those that both texts of an edit have."""
    return _aligned(edit.old, edit.new) if edit.kept is None else edit.kept


def _aligned(old: tuple[str, ...], new: tuple[str, ...]) -> Pairs:
    """Return pairs of equal lines, in order: at both ends, and between them those that occur as often in both."""
    shorter = min(len(old), len(new))
    first = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    last = next((at for at in range(shorter - first) if old[-1 - at] != new[-1 - at]), shorter - first)
    places: dict[str, tuple[list[int], list[int]]] = {}
    for side, lines in enumerate((old, new)):
        for at in range(first, len(lines) - last):
            places.setdefault(lines[at], ([], []))[side].append(at)
    pairs = sorted(pair for two in places.values() if len(two[0]) == len(two[1]) for pair in zip(*two, strict=True))
    return (
        *((at, at) for at in range(first)),
        *_longest_rising(pairs),
        *((len(old) - at, len(new) - at) for at in range(last, 0, -1)),
    )


def _longest_rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest part of *pairs*, whose first members rise, in which the second ones rise too."""
    ends: list[int] = []
    chains: list[int] = []
    before: list[int] = []
    for number, (_, at) in enumerate(pairs):
        length = bisect_left(ends, at)
        before.append(chains[length - 1] if length else -1)
        ends[length : length + 1] = [at]
        chains[length : length + 1] = [number]
    found: list[tuple[int, int]] = []
    number = chains[-1] if chains else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]


def _part(edit: Edit, old: tuple[int, int], new: tuple[int, int]) -> Edit:
    """Return what *edit* does with a range of its old lines, to which a range of its new ones belongs."""
    kept = tuple(
        (one - old[0], other - new[0])
        for one, other in kept_lines(edit)
        if old[0] <= one < old[1] and new[0] <= other < new[1]
    )
    return msgspec.structs.replace(edit, old=edit.old[slice(*old)], new=edit.new[slice(*new)], kept=kept)


def _shortened(edit: Edit, first: int, last: int) -> Edit:
    """Return *edit* without so many old lines at its ends; those that stay are then no part of it either."""
    pairs = set(kept_lines(edit))
    sizes = len(edit.old), len(edit.new)
    new_first = next((at for at in range(first) if (at, at) not in pairs), first)
    new_last = next((at for at in range(last) if (sizes[0] - 1 - at, sizes[1] - 1 - at) not in pairs), last)
    return _part(edit, (first, sizes[0] - last), (new_first, max(sizes[1] - new_last, new_first)))


def trimmed(edit: Edit) -> tuple[Edit, int]:
    """Return *edit* without the blank lines at its ends, and how many were at its beginning."""
    solid = [at for at, line in enumerate(edit.old) if line.strip()]
    if not solid or len(edit.old) == solid[-1] - solid[0] + 1:
        return edit, 0
    return _shortened(edit, solid[0], len(edit.old) - 1 - solid[-1]), solid[0]


def with_less_context(edit: Edit, above: int, below: int) -> tuple[Edit, int]:
    """Return *edit* without so many lines of its context at each end, and how many went at its beginning.

    Some context always stays, and on both sides of what is added where no line goes: the lines that go alone may
    well stand where nobody meant them.
    """
    pairs = set(kept_lines(edit))
    sizes = len(edit.old), len(edit.new)
    first = next((at for at in range(min(sizes)) if (at, at) not in pairs), min(sizes))
    last = next((at for at in range(min(sizes)) if (sizes[0] - 1 - at, sizes[1] - 1 - at) not in pairs), min(sizes))
    above, below = min(above, first), min(below, last)
    left = first - above, last - below
    is_addition = first + last >= sizes[0]
    if not any(left) or (is_addition and not all(left)):
        return edit, 0
    return (_shortened(edit, above, below), above) if above or below else (edit, 0)


def runs(edit: Edit) -> list[list[Edit]]:
    """Return the runs of changed lines in *edit*, each with the context on both its sides, above it, and below it."""
    pairs = [(-1, -1), *kept_lines(edit), (len(edit.old), len(edit.new))]
    gaps = [at for at in range(1, len(pairs)) if pairs[at] != (pairs[at - 1][0] + 1, pairs[at - 1][1] + 1)]
    found: list[list[Edit]] = []
    for number, gap in enumerate(gaps):
        old, new = (pairs[gap - 1][0] + 1, pairs[gap][0]), (pairs[gap - 1][1] + 1, pairs[gap][1])
        above = gap - 1 - (gaps[number - 1] - 1 if number else 0)
        below = (gaps[number + 1] if number + 1 < len(gaps) else len(pairs) - 1) - gap
        sides = [side for side in dict.fromkeys(((above, below), (above, 0), (0, below))) if any(side)] or [(0, 0)]
        found.append([_part(edit, (old[0] - up, old[1] + down), (new[0] - up, new[1] + down)) for up, down in sides])
    return found


MAX_ELISION_CHARS = 200
"""A longer line stands for itself."""

_COMMENT_START = r"(?:#|//|/\*+|<!--|--|;|%|\{/\*)?"
_COMMENT_END = r"(?:\*/\}?|-->)?"
_ELISION = re.compile(
    rf"\s*{_COMMENT_START}\s*(?:\.\.\.|\u2026)"
    rf"(?:[\w\s,']*\b(?:code|existing|lines|omitted|remain\w*|rest|same|unchanged)\b[\w\s,']*(?:\.\.\.|\u2026)?)?\s*{_COMMENT_END}\s*",
    re.IGNORECASE,
)


def elided(edit: Edit) -> list[Edit]:
    """Return the pieces of an edit that leaves out lines, on both sides in the same places; none where it does not."""
    old, new = (_split(lines) for lines in (edit.old, edit.new))
    if len(old) != len(new) or len(old) < 2 or any(not one and other for one, other in zip(old, new, strict=True)):
        return []
    return [Edit(old=tuple(one), new=tuple(other)) for one, other in zip(old, new, strict=True) if one]


def _split(lines: tuple[str, ...]) -> list[list[str]]:
    """Return *lines* without those that stand for others, as the pieces between them."""
    pieces: list[list[str]] = [[]]
    for line in lines:
        if len(line) <= MAX_ELISION_CHARS and _ELISION.fullmatch(line):
            pieces.append([])
        else:
            pieces[-1].append(line)
    return pieces


# --- indentation ---------------------------------------------------------------------------


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def columns(line: str) -> int:
    """Return how many characters *line* stands in."""
    return len(_indent(line))


def indentation(old: Sequence[str], lines: Sequence[str]) -> dict[str, str] | None:
    """Return which indentation of *old* stands for which of *lines*; None when they do not correspond one to one."""
    found: dict[str, str] = {}
    for wanted, line in zip(old, lines, strict=True):
        if wanted.strip() and found.setdefault(_indent(wanted), _indent(line)) != _indent(line):
            return None
    return found if len(set(found.values())) == len(found) else None


def indented(line: str, indents: dict[str, str]) -> str:
    """Return a new *line* as far in as it belongs, by how far in the lines around it stand in edit and text."""
    indent = _indent(line)
    if indent in indents or not line.strip():
        return indents.get(indent, indent) + line[len(indent) :] if line.strip() else line
    shorter = max((each for each in indents if indent.startswith(each)), key=len, default=None)
    if shorter is not None:
        return indents[shorter] + _converted(indent[len(shorter) :], indents) + line[len(indent) :]
    longer = min((each for each in indents if each.startswith(indent)), key=len, default=None)
    if longer is None:
        return line
    surplus = _converted(longer[len(indent) :], indents)
    return indents[longer].removesuffix(surplus) + line[len(indent) :]


def _converted(indent: str, indents: dict[str, str]) -> str:
    """Return *indent*, of the edit, in the text's own unit, where the two differ by as much everywhere."""
    ordered = sorted({"": "", **indents}.items(), key=lambda pair: len(pair[0]))
    for (one, here), (other, there) in pairwise(ordered):
        unit, its = other.removeprefix(one), there.removeprefix(here)
        if (
            unit
            and its
            and unit != its
            and len(indent) % len(unit) == 0
            and indent == unit * (len(indent) // len(unit))
        ):
            return its * (len(indent) // len(unit))
    return indent


# --- how lines compare -----------------------------------------------------------------------

_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "),
        "\u2026": "...",
    }
)


def plain(line: str) -> str:
    """Return *line* as a typewriter would have it, with single blanks and none around it."""
    return " ".join(line.translate(_TYPOGRAPHY).split())


def likeness(old: Sequence[str], lines: Sequence[str]) -> float:
    """Return how much of *old* stands in as many *lines*, line by line, from 0 to 1."""
    same = total = 0
    for wanted, line in zip(old, lines, strict=True):
        one, other = wanted.strip(), line.strip()
        total += len(one) + len(other)
        same += 2 * len(one) if one == other else _common_chars(one, other)
    return same / total if total else 0.0


def _common_chars(one: str, other: str) -> int:
    """Return twice how many characters two lines have in common at their ends."""
    shorter = min(len(one), len(other))
    first = next((at for at in range(shorter) if one[at] != other[at]), shorter)
    last = next((at for at in range(shorter - first) if one[-1 - at] != other[-1 - at]), shorter - first)
    return 2 * (first + last)
