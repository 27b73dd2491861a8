"""Finds the place of an edit in a text: exactly one, or none. [pure]

Each level of comparison maps every distinct line to one character, so that a search for lines is a search for a
string in a string, in linear time. Levels are tried from the strictest on. The first level with a match decides: one
place is the result, two are an error. The first of several is never taken, and context always has to match.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import get_args

import msgspec

from protocol.files import Match, Tolerance
from sidecar.formats import edits
from sidecar.formats.edits import Edit

MAX_LINES = 1_000_000
"""The most lines of a text: each may need a character of its own."""

MAX_OPTIONS = 200
"""The most places of one hunk that are considered. With more it is ambiguous, whatever its order and numbers."""

MAX_CANDIDATES = 10
"""The most places of an ambiguous edit that are named."""

MAX_CHECKED_LINES = 100_000
"""The most lines whose indentation is compared one by one, for all edits of a text."""

MAX_SHRINK_LINES, MAX_HEADS, MAX_REPEATS = 3, 10, 20
"""The most context lines of a diff, at each end, that may differ from the text; the most lines that a section after
`@@` may mean; the most places of a line that locates an edit."""

MIN_LIKENESS, MIN_LEAD = 0.9, 0.15
"""How similar a place must be, from 0 to 1, and by how much more than the second best."""

MAX_SHORT_LINES, MAX_SHORT_PLACES, MAX_COMPARED_PLACES = 3, 10_000, 200_000
"""Edits of at most so many lines are compared with so many places if no line is equal, all of a text with so many."""

_RANKS: dict[str, int] = {name: rank for rank, name in enumerate(get_args(Tolerance))}


class Piece(msgspec.Struct, frozen=True):
    """An edit, or a part of one, and the index of the line where it begins."""

    start: int
    edit: Edit

    @property
    def end(self) -> int:
        """The index of the line after them."""
        return self.start + len(self.edit.old)


Option = tuple[Piece, ...]


class Found(msgspec.Struct):
    """The possible places of one edit, and how they matched."""

    match: Match | None
    options: list[Option]
    skipped: int = 0
    """The lines at the beginning of the edit that were dropped."""


# --- ways to compare -------------------------------------------------------------------------


class Level(msgspec.Struct, frozen=True):
    """A level of comparison: a key for each line, and its indentation relative to the line before it."""

    match: Match
    key: Callable[[str], str]
    step: Callable[[int, int], int] | None = None


def _get_difference(before: int, here: int) -> int:
    return here - before


def _get_sign(before: int, here: int) -> int:
    return (here > before) - (here < before)


LEVELS = (
    Level("exact", str),
    Level("whitespace", str.rstrip),
    Level("indent", str.strip, _get_difference),
    Level("indent", str.strip, _get_sign),
    Level("punctuation", edits.fold_punctuation, _get_sign),
)


class _Index:
    """The lines of a text as one string, at one level; two characters a line if indentation counts."""

    def __init__(self, lines: list[str], level: Level) -> None:
        self._lines = lines
        self._level = level
        self._characters: dict[str | int, str] = {}
        self._width = 2 if level.step else 1
        self._haystack = self._encoded(lines, new=True)

    def find(self, lines: tuple[str, ...]) -> Iterator[int]:
        """Yield the indices at which *lines* match."""
        # The first line that is not blank tells the difference of indentation.
        blanks = next((at for at, line in enumerate(lines) if line.strip()), len(lines)) if self._level.step else 0
        try:
            needle = self._encoded(lines[blanks:], new=False)
        except KeyError:
            return
        for at in _find_occurrences(self._haystack, needle) if needle else ():
            start = at // self._width - blanks
            if start >= 0 and not any(map(str.strip, self._lines[start : start + blanks])):
                yield start

    def _encoded(self, lines: Sequence[str], *, new: bool) -> str:
        """Return *lines* as characters; without the indentation of the first one, unless they are *new*."""
        characters, step = self._characters, self._level.step
        keys: list[str | int] = []
        before = 0
        for line, key in zip(lines, map(self._level.key, lines), strict=True):
            if step:
                columns = edits.count_columns(line) if key else before
                if keys or new:
                    keys.append(step(before, columns))
                before = columns
            keys.append(key)
        if new:
            for key_or_step in keys:
                if key_or_step not in characters:
                    characters[key_or_step] = chr(len(characters) + 1)
        return "".join([characters[each] for each in keys])


def _find_occurrences(text: str, wanted: str) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + 1)


class Text:
    """The lines of a text, and what is computed once for all its edits."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self._indices: dict[Level, _Index] = {}
        self._checked = self.compared = 0

    def find(self, level: Level, edit: Edit) -> list[Option]:
        """Return the places of *edit* at *level*, at most one more than the caller needs."""
        if len(self.lines) > MAX_LINES:
            return []
        index = self._indices.get(level)
        if index is None:
            index = self._indices[level] = _Index(self.lines, level)
        options: list[Option] = []
        for start in index.find(edit.old):
            if level.step is None or self._is_as_far_in(edit, start):
                options.append((Piece(start, edit),))
            if len(options) > (MAX_OPTIONS if edit.is_hunk else MAX_CANDIDATES):
                break
            if self._checked > MAX_CHECKED_LINES and level.step:
                return []
        return options

    def _is_as_far_in(self, edit: Edit, start: int) -> bool:
        self._checked += len(edit.old)
        return edits.map_indents(edit.old, self.lines[start : start + len(edit.old)]) is not None

    @cached_property
    def where(self) -> dict[str, list[int]]:
        """Stripped line → its indices."""
        found: dict[str, list[int]] = {}
        for at, line in enumerate(self.lines):
            found.setdefault(line.strip(), []).append(at)
        return found

    @cached_property
    def joined(self) -> str:
        """All lines, joined into one string."""
        return "\n".join(self.lines)

    @cached_property
    def offsets(self) -> list[int]:
        """Where each line begins in `joined`."""
        offsets, at = [], 0
        for line in self.lines:
            offsets.append(at)
            at += len(line) + 1
        return offsets


# --- one edit --------------------------------------------------------------------------------


def locate(text: Text, edit: Edit, tolerance: Tolerance) -> Found:
    """Return the possible places of *edit* at the strictest level that has any."""
    rank = _RANKS[tolerance]
    levels = [level for level in LEVELS if _RANKS[level.match] <= rank]
    if not edit.old:
        return Found("exact", _find_insertion_points(text, edit))
    for least, variant, skipped in _list_variants(edit, rank):
        for level in levels:
            if options := _narrow_by_sections(text, edit, text.find(level, variant)):
                match = least if _RANKS.get(least, len(_RANKS)) > _RANKS[level.match] else level.match
                return Found(match, options, skipped)
    if not edit.is_hunk and (options := _find_within_line(text, edit)):
        return Found("substring", options)
    if rank >= _RANKS["elision"] and (options := _find_in_pieces(text, edit, levels)):
        return Found("split" if edit.is_hunk else "elision", options)
    return Found("similar", _find_similar(text, edit)) if rank >= _RANKS["similar"] else Found(None, [])


def _list_variants(edit: Edit, rank: int) -> Iterator[tuple[Match, Edit, int]]:
    """Yield *edit* and shorter forms of it: the kind of match, the form, the lines dropped at its beginning."""
    yield "exact", edit, 0
    if rank < _RANKS["whitespace"]:
        return
    solid, blanks = edits.trim_blank_lines(edit)
    if solid is not edit:
        yield "whitespace", solid, blanks
    if rank >= _RANKS["elision"] and edit.is_hunk:
        for lines in range(1, MAX_SHRINK_LINES + 1):
            for above, below in ((lines, 0), (0, lines), (lines, lines)):
                shorter, first = edits.drop_outer_context(solid, above, below)
                if shorter is not solid and any(line.strip() for line in shorter.old):
                    yield "context", shorter, blanks + first


def _find_insertion_points(text: Text, edit: Edit) -> list[Option]:
    """Return the places of a pure insertion: into an empty text, at the end, or below the named section."""
    if not edit.new:
        return []
    if not text.lines or edit.at_end:
        return [(Piece(len(text.lines), edit),)]
    return [(Piece(at + 1, edit),) for at in _find_section_heads(text, edit.sections)]


def _narrow_by_sections(text: Text, edit: Edit, options: list[Option]) -> list[Option]:
    """Return those of *options* that fit the sections that the edit names."""
    if len(options) < 2 or len(options) > MAX_OPTIONS or not edit.is_hunk:
        return options
    if edit.at_end and (last := [each for each in options if not any(map(str.strip, text.lines[each[0].end :]))]):
        return last
    heads = _find_section_heads(text, edit.sections)[:MAX_HEADS]
    scopes = [(head, _find_scope_end(text.lines, head)) for head in heads]
    within = [each for each in options if any(head < each[0].start < end for head, end in scopes)]
    if within or any(end > head + 1 for head, end in scopes):
        return within or options
    # Nothing is indented below the named line, so it names what follows.
    return [each for each in options if heads and each[0].start > heads[0]] or options


def _find_section_heads(text: Text, sections: tuple[str, ...]) -> list[int]:
    """Return the indices of the lines that match the last of *sections*, below matches of the others in order."""
    floor = -1
    heads: list[int] = []
    for section in sections:
        places = text.where.get(section) or [
            at for at, line in enumerate(text.lines) if line.strip().startswith(section)
        ]
        heads = places[bisect_right(places, floor) :]
        floor = heads[0] if heads else floor
    return heads


def _find_scope_end(lines: list[str], head: int) -> int:
    """Return the end of the lines below *head* that are indented more than it."""
    depth = edits.count_columns(lines[head])
    for at in range(head + 1, len(lines)):
        line = lines[at]
        if line.strip() and edits.count_columns(line) <= depth and line.strip()[0] not in "{}])":
            return at
    return len(lines)


def _find_within_line(text: Text, edit: Edit) -> list[Option]:
    """Return the places where the single line to find is an exact part of a line."""
    wanted = edit.old[0]
    if len(edit.old) > 1 or not wanted.strip():
        return []
    places = list(islice(_find_occurrences(text.joined, wanted), MAX_CANDIDATES + 1))
    numbers = [bisect_right(text.offsets, at) - 1 for at in places]
    if len(places) != 1:
        return [(Piece(number, Edit(old=(text.lines[number],), new=())),) for number in numbers]
    line, column = text.lines[numbers[0]], places[0] - text.offsets[numbers[0]]
    new = (line[:column] + "\n".join(edit.new) + line[column + len(wanted) :]).split("\n")
    return [(Piece(numbers[0], Edit(old=(line,), new=tuple(new), kept=())),)]


def _find_in_pieces(text: Text, edit: Edit, levels: list[Level]) -> list[Option]:
    """Return how the pieces of *edit* match in order, with lines between them, if there is one way."""
    pieces = edits.split_at_changes(edit) if edit.is_hunk else [[each] for each in edits.split_at_elisions(edit)]
    if len(pieces) < 2:
        return []
    return choose_in_order([_find_first_places(text, variants, levels) for variants in pieces])


def _find_first_places(text: Text, variants: list[Edit], levels: list[Level]) -> list[Piece]:
    """Return the places of the first of *variants* that matches."""
    for variant in variants:
        for level in levels:
            if any(map(str.strip, variant.old)) and (options := text.find(level, variant)):
                return [piece for (piece,) in options]
    return []


# --- several edits ---------------------------------------------------------------------------


def choose_in_order(choices: list[list[Piece]]) -> list[Option]:
    """Return the ways to take one place from each of *choices* so that they are in order.

    An empty list if there is none; the first and the last way if there are several.
    """
    first: list[Piece] = []
    at = 0
    for pieces in choices:
        found = next((piece for piece in pieces if piece.start >= at), None)
        if found is None:
            return []
        first.append(found)
        at = found.end
    last: list[Piece] = []
    at = max(piece.end for piece in first) if not choices else choices[-1][-1].end
    for pieces in reversed(choices):
        found = next(piece for piece in reversed(pieces) if piece.end <= at)
        last.append(found)
        at = found.start
    last.reverse()
    return [tuple(first)] if first == last else [tuple(first), tuple(last)]


def place(text: Text, wanted: Sequence[Edit], tolerance: Tolerance) -> list[Found]:
    """Return the places of each edit: one option if it is clear, none or several if it is not.

    The hunks of a diff are in order, which may decide between several places. So may their line numbers, but only if
    another hunk with one place confirms them: models make numbers up.
    """
    found = [locate(text, edit, tolerance) if edit.complete else Found(None, []) for edit in wanted]
    hunks = [at for at, edit in enumerate(wanted) if edit.is_hunk and 0 < len(found[at].options) <= MAX_OPTIONS]
    if all(len(found[at].options) == 1 for at in hunks):
        return found
    _choose_by_numbers(wanted, found, hunks)
    ordered = choose_in_order([[option[0] for option in found[at].options] for at in hunks])
    if len(ordered) == 2:
        for at, first, last in zip(hunks, *ordered, strict=True):
            if len(found[at].options) > 1 and first == last:
                found[at].options = [(first,)]
    elif ordered:
        for at, piece in zip(hunks, ordered[0], strict=True):
            found[at].options = [(piece,)] if len(found[at].options) > 1 else found[at].options
    return found


def _choose_by_numbers(wanted: Sequence[Edit], found: list[Found], hunks: list[int]) -> None:
    """Choose places by line numbers, if the numbers of the hunks with one place are right."""
    stated = {at: line - 1 + found[at].skipped for at in hunks if (line := wanted[at].line) is not None}
    known = [found[at].options[0][0].start - start for at, start in stated.items() if len(found[at].options) == 1]
    if not known or any(shift != known[0] for shift in known):
        return
    for at, start in stated.items():
        right = [option for option in found[at].options if option[0].start == start + known[0]]
        if len(found[at].options) > 1 and right:
            found[at].options = right


# --- near misses -------------------------------------------------------------------------


def find_nearest(text: Text, edit: Edit) -> list[int]:
    """Return the at most two starts at which most lines of *edit* would match."""
    votes: Counter[int] = Counter()
    for number, line in enumerate(edit.old):
        places = text.where.get(line.strip(), [])
        if line.strip() and len(places) <= MAX_REPEATS:
            votes.update(at - number for at in places)
    fitting = [at for at, _ in votes.most_common(MAX_REPEATS) if 0 <= at <= len(text.lines) - len(edit.old)]
    return fitting[:2]


def _find_similar(text: Text, edit: Edit) -> list[Option]:
    """Return the place whose lines are very similar to those of *edit*, if no other place comes close."""
    starts = find_nearest(text, edit)
    if not starts and len(edit.old) <= MAX_SHORT_LINES and text.compared < MAX_COMPARED_PLACES:
        # In a short edit perhaps no line is equal.
        starts = list(range(min(len(text.lines) - len(edit.old) + 1, MAX_SHORT_PLACES)))
        text.compared += len(starts)
    size = len(edit.old)
    scored = sorted(((edits.measure_likeness(edit.old, text.lines[at : at + size]), at) for at in starts), reverse=True)
    if not scored or scored[0][0] < MIN_LIKENESS or (len(scored) > 1 and scored[0][0] - scored[1][0] < MIN_LEAD):
        return []
    return [(Piece(scored[0][1], edit),)]
