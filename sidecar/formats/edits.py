"""Edits as a model writes them: a text to find and its replacement, or the hunks of a diff. [pure]

Knows lines and diffs, with line numbers or without. Must not know the text that is edited.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import msgspec

Pairs = tuple[tuple[int, int], ...]


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """One change: the lines to find and the lines to replace them with, without line endings."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    kept: Pairs | None = None
    """Pairs of indices into `old` and `new` of lines that are kept; None: all lines that are equal."""
    is_hunk: bool = False
    """Whether it comes from a diff: whole lines, in the order of the text."""
    sections: tuple[str, ...] = ()
    """What the diff says after `@@`: lines that stand somewhere above."""
    line: int | None = None
    """The number of the first line according to the diff, from 1."""
    at_end: bool = False
    """Whether the diff says that its last line is the last line of the text."""
    complete: bool = True
    """False if the answer ended within it, or its markers are wrong."""


def split_lines(text: str) -> list[str]:
    """Return the lines of *text* without their endings. Only LF and CRLF end a line."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines


def make_edit(search: str, replace: str, *, complete: bool = True) -> Edit:
    """Return the edit that replaces *search* by *replace*."""
    search, replace = search.removeprefix("\ufeff"), replace.removeprefix("\ufeff")
    # Text removed from within a line does not remove the line.
    new = split_lines(replace) if replace or not search or search.endswith("\n") else [""]
    return Edit(old=tuple(split_lines(search)), new=tuple(new), complete=complete)


# --- diffs -----------------------------------------------------------------------------------

NUMBERS = re.compile(r"@@+ *-(\d{1,9})(?:,(\d{1,9}))? +\+(\d{1,9})(?:,(\d{1,9}))? *@@+ ?(.*)", re.ASCII)
"""The header of a hunk: line and count before, line and count after, section."""

_HEADER = re.compile(r"diff --git |index [0-9a-f]|--- |\+\+\+ |(?:old|new|deleted) (?:file )?mode |Index: |={20,}")

END_OF_FILE = "*** End of File"


def read_diff(text: str) -> list[Edit]:
    """Return the hunks of one file's diff, with line numbers or without. The file's header is skipped."""
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
            edits.append(_read_hunk(body, numbers, tuple(sections)))
            sections.clear()
        body, numbers = [], NUMBERS.fullmatch(line)
        section = numbers[5] if numbers else line.lstrip("@").removesuffix("@@")
        if section.strip():
            sections.append(section.strip())
    return edits


def count_sides(body: list[str]) -> tuple[int, int]:
    """Return the line counts of the hunk *body* before and after."""
    kinds = [line[:1] for line in body]
    added, gone = kinds.count("+"), kinds.count("-")
    kept = len(kinds) - added - gone - kinds.count("\\")
    return kept + gone, kept + added


def _read_hunk(body: list[str], numbers: re.Match[str] | None, sections: tuple[str, ...]) -> Edit:
    at_end = any(line.strip() == END_OF_FILE for line in body[-2:])
    body = [line for line in body if line.strip() != END_OF_FILE] if at_end else body
    # If one context line lacks its leading blank, all of them do.
    is_bare = any(line[:1] not in ("", " ", "+", "-", "\\") for line in body)
    if not (numbers and count_sides(body) == (int(numbers[2] or 1), int(numbers[4] or 1))):
        # An empty line is a context line without its blank, unless the hunk is over.
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


# --- kept lines and elisions --------------------------------------------------------


def list_kept_lines(edit: Edit) -> Pairs:
    """Return the pairs of kept lines: the context of a diff, or the lines that both sides of an edit share."""
    return _align(edit.old, edit.new) if edit.kept is None else edit.kept


def _align(old: tuple[str, ...], new: tuple[str, ...]) -> Pairs:
    """Return pairs of equal lines, in order: at both ends, and between them lines that are unique on both sides."""
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
        *_find_longest_rising(pairs),
        *((len(old) - at, len(new) - at) for at in range(last, 0, -1)),
    )


def _find_longest_rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest subsequence of *pairs*, ordered by the first member, in which the second rises too."""
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


def _take_part(edit: Edit, old: tuple[int, int], new: tuple[int, int]) -> Edit:
    """Return the part of *edit* for a range of its old lines and the matching range of its new ones."""
    kept = tuple(
        (one - old[0], other - new[0])
        for one, other in list_kept_lines(edit)
        if old[0] <= one < old[1] and new[0] <= other < new[1]
    )
    return msgspec.structs.replace(edit, old=edit.old[slice(*old)], new=edit.new[slice(*new)], kept=kept)


def _shorten(edit: Edit, first: int, last: int) -> Edit:
    """Return *edit* without *first* and *last* old lines at its ends, nor the new lines kept with them."""
    pairs = set(list_kept_lines(edit))
    sizes = len(edit.old), len(edit.new)
    new_first = next((at for at in range(first) if (at, at) not in pairs), first)
    new_last = next((at for at in range(last) if (sizes[0] - 1 - at, sizes[1] - 1 - at) not in pairs), last)
    return _take_part(edit, (first, sizes[0] - last), (new_first, max(sizes[1] - new_last, new_first)))


def trim_blank_lines(edit: Edit) -> tuple[Edit, int]:
    """Return *edit* without blank lines at its ends, and how many were dropped at its beginning."""
    solid = [at for at, line in enumerate(edit.old) if line.strip()]
    if not solid or len(edit.old) == solid[-1] - solid[0] + 1:
        return edit, 0
    return _shorten(edit, solid[0], len(edit.old) - 1 - solid[-1]), solid[0]


def drop_outer_context(edit: Edit, above: int, below: int) -> tuple[Edit, int]:
    """Return *edit* with fewer context lines at each end, and how many were dropped at its beginning.

    Some context always remains, and on both sides of a pure insertion: removed lines alone could match anywhere.
    """
    pairs = set(list_kept_lines(edit))
    sizes = len(edit.old), len(edit.new)
    first = next((at for at in range(min(sizes)) if (at, at) not in pairs), min(sizes))
    last = next((at for at in range(min(sizes)) if (sizes[0] - 1 - at, sizes[1] - 1 - at) not in pairs), min(sizes))
    above, below = min(above, first), min(below, last)
    left = first - above, last - below
    is_addition = first + last >= sizes[0]
    if not any(left) or (is_addition and not all(left)):
        return edit, 0
    return (_shorten(edit, above, below), above) if above or below else (edit, 0)


def split_at_changes(edit: Edit) -> list[list[Edit]]:
    """Return the runs of changed lines in *edit*, each with the context around it, above it, and below it."""
    pairs = [(-1, -1), *list_kept_lines(edit), (len(edit.old), len(edit.new))]
    gaps = [at for at in range(1, len(pairs)) if pairs[at] != (pairs[at - 1][0] + 1, pairs[at - 1][1] + 1)]
    found: list[list[Edit]] = []
    for number, gap in enumerate(gaps):
        old, new = (pairs[gap - 1][0] + 1, pairs[gap][0]), (pairs[gap - 1][1] + 1, pairs[gap][1])
        above = gap - 1 - (gaps[number - 1] - 1 if number else 0)
        below = (gaps[number + 1] if number + 1 < len(gaps) else len(pairs) - 1) - gap
        sides = [side for side in dict.fromkeys(((above, below), (above, 0), (0, below))) if any(side)] or [(0, 0)]
        found.append(
            [_take_part(edit, (old[0] - up, old[1] + down), (new[0] - up, new[1] + down)) for up, down in sides]
        )
    return found


MAX_ELISION_CHARS = 200
"""A longer line is never an elision."""

_COMMENT_START = r"(?:#|//|/\*+|<!--|--|;|%|\{/\*)?"
_COMMENT_END = r"(?:\*/\}?|-->)?"
_ELISION = re.compile(
    rf"\s*{_COMMENT_START}\s*(?:\.\.\.|\u2026)"
    rf"(?:[\w\s,']*\b(?:code|existing|lines|omitted|remain\w*|rest|same|unchanged)\b[\w\s,']*(?:\.\.\.|\u2026)?)?\s*{_COMMENT_END}\s*",
    re.IGNORECASE,
)


def split_at_elisions(edit: Edit) -> list[Edit]:
    """Return the pieces of an edit that elides lines in the same places on both sides; none if it does not."""
    old, new = (_split_at(lines) for lines in (edit.old, edit.new))
    if len(old) != len(new) or len(old) < 2 or any(not one and other for one, other in zip(old, new, strict=True)):
        return []
    return [Edit(old=tuple(one), new=tuple(other)) for one, other in zip(old, new, strict=True) if one]


def _split_at(lines: tuple[str, ...]) -> list[list[str]]:
    """Return the pieces of *lines* between the elisions."""
    pieces: list[list[str]] = [[]]
    for line in lines:
        if len(line) <= MAX_ELISION_CHARS and _ELISION.fullmatch(line):
            pieces.append([])
        else:
            pieces[-1].append(line)
    return pieces


# --- indentation ---------------------------------------------------------------------------


def _get_indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def count_columns(line: str) -> int:
    """Return the indentation of *line* in columns."""
    return len(_get_indent(line))


def map_indents(old: Sequence[str], lines: Sequence[str]) -> dict[str, str] | None:
    """Return the indentation in *lines* for each one in *old*; None if they do not correspond one to one."""
    found: dict[str, str] = {}
    for wanted, line in zip(old, lines, strict=True):
        if wanted.strip() and found.setdefault(_get_indent(wanted), _get_indent(line)) != _get_indent(line):
            return None
    return found if len(set(found.values())) == len(found) else None


def change_indent(line: str, indents: dict[str, str]) -> str:
    """Return a new *line* with the text's indentation, given that of the lines around it in edit and text."""
    indent = _get_indent(line)
    if indent in indents or not line.strip():
        return indents.get(indent, indent) + line[len(indent) :] if line.strip() else line
    shorter = max((each for each in indents if indent.startswith(each)), key=len, default=None)
    if shorter is not None:
        return indents[shorter] + _convert_indent(indent[len(shorter) :], indents) + line[len(indent) :]
    longer = min((each for each in indents if each.startswith(indent)), key=len, default=None)
    if longer is None:
        return line
    surplus = _convert_indent(longer[len(indent) :], indents)
    return indents[longer].removesuffix(surplus) + line[len(indent) :]


def _convert_indent(indent: str, indents: dict[str, str]) -> str:
    """Return *indent* of the edit in the text's own unit, if the two differ by a constant factor."""
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


def fold_punctuation(line: str) -> str:
    """Return *line* in plain ASCII punctuation, with single blanks and none at its ends."""
    return " ".join(line.translate(_TYPOGRAPHY).split())


def measure_likeness(old: Sequence[str], lines: Sequence[str]) -> float:
    """Return how similar *old* is to as many *lines*, line by line, from 0 to 1."""
    same = total = 0
    for wanted, line in zip(old, lines, strict=True):
        one, other = wanted.strip(), line.strip()
        total += len(one) + len(other)
        same += 2 * len(one) if one == other else _count_common_chars(one, other)
    return same / total if total else 0.0


def _count_common_chars(one: str, other: str) -> int:
    """Return twice the number of characters that two lines share at their ends."""
    shorter = min(len(one), len(other))
    first = next((at for at in range(shorter) if one[at] != other[at]), shorter)
    last = next((at for at in range(shorter - first) if one[-1 - at] != other[-1 - at]), shorter - first)
    return 2 * (first + last)
