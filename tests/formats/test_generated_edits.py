"""Ten thousand edits, mangled as models mangle them: what has one place is put there, what has two is refused.

The oracle compares every window of the text with the lines to be found, by rules written here once more.
"""

import random
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pytest

from sidecar.formats.apply import apply_edits
from sidecar.formats.edits import Edit, make_edit, read_diff

EDITS = 10_000
EDITS_A_FILE = 25

_SMART = str.maketrans({"'": "\u2019", '"': "\u201d", "-": "\u2013"})
_PLAIN = str.maketrans({"\u2019": "'", "\u201d": '"', "\u2013": "-", "\u00a0": " "})


class Case(NamedTuple):
    """One edit of a file and how it was mangled."""

    kind: str
    start: int
    old: list[str]
    new: list[str]
    edit: Edit


# --- made-up files and edits -----------------------------------------------------------------


def file(chance: random.Random) -> list[str]:
    """Return the lines of a file, of which some come again."""
    statements = [
        "pass",
        "return x",
        "call('it', \"is\")",
        "x = a - b",
        "",
        "# done",
        "}",
        "for each in found:",
        "y  =  1",
    ]
    lines: list[str] = []
    while len(lines) < 45:
        indent = "    " * chance.randrange(3)
        line = chance.choice(statements)
        if chance.random() < 0.7:
            line = f"{line or 'value ='} {chance.randrange(60)}"
        lines.append(f"{indent}{line}{chance.choice(['', '', '', ' ', '  '])}" if line else chance.choice(["", "  "]))
        if chance.random() < 0.08 and len(lines) > 8:
            at = chance.randrange(len(lines) - 6)
            lines += lines[at : at + chance.randrange(1, 7)]
    return lines


def changed(chance: random.Random, old: list[str], number: int) -> list[str]:
    """Return what is to be put in the place of *old*: most of its lines, some gone, some new."""
    new: list[str] = []
    for line in old:
        deed = chance.random()
        if deed < 0.6:
            new.append(line)
        elif deed < 0.8:
            new.append(line[: len(line) - len(line.lstrip())] + f"changed {number}")
        if deed > 0.9:
            new.append(f"added {number}")
    return new


def _exact(line: str) -> str:
    return line


def _blanks_lost(line: str) -> str:
    return line.rstrip()


def _blanks_more(line: str) -> str:
    return f"{line} \t"


def _further_in(line: str) -> str:
    return f"  {line}" if line.strip() else line


def _typographic(line: str) -> str:
    return line.translate(_SMART)


MANGLED: dict[str, Callable[[str], str]] = {
    "exact": _exact,
    "blanks lost": _blanks_lost,
    "blanks more": _blanks_more,
    "further in": _further_in,
    "typographic": _typographic,
}


def case(chance: random.Random, lines: list[str], number: int) -> Case:
    """Return an edit of *lines*."""
    size = chance.randrange(1, 8)
    start = chance.randrange(len(lines) - size)
    old = lines[start : start + size]
    new = changed(chance, old, number)
    kind = chance.choice([*MANGLED, "numbers", "context"])
    if kind in MANGLED:
        mangle = MANGLED[kind]
        searched = [mangle(line) for line in old]
        # As a model would: what stays, stays as it was copied.
        replaced = [mangle(line) if line in old else line for line in new]
        edit = make_edit("".join(f"{line}\n" for line in searched), "".join(f"{line}\n" for line in replaced))
        return Case(kind, start, searched, replaced, edit)
    old = lines[start : start + size]
    changed_at = chance.randrange(size)
    body = [f" {line}" for line in old]
    body[changed_at : changed_at + 1] = [f"-{old[changed_at]}", f"+new {number}"]
    if kind == "context" and size > 4 and changed_at not in (0, size - 1):
        edge = chance.choice([0, -1])
        body[edge] += f" stale {number}"
    else:
        kind = "numbers"
    count = chance.randrange(1, 9)
    head = f"@@ -{chance.randrange(1, 99)},{count} +{chance.randrange(1, 99)},{count} @@"
    (edit,) = read_diff("".join(f"{line}\n" for line in (head, *body)))
    return Case(kind, start, list(edit.old), list(edit.new), edit)


# --- the oracle ------------------------------------------------------------------------------


def _depths(lines: list[str]) -> list[int]:
    return [len(line) - len(line.lstrip()) for line in lines if line.strip()]


def _shifted(one: list[str], other: list[str]) -> bool:
    """Return whether *other* is *one*, each line as much further in, or out."""
    return [line.strip() for line in one] == [line.strip() for line in other] and len(
        {there - here for here, there in zip(_depths(one), _depths(other), strict=True)}
    ) < 2


def _as_deep(one: list[str], other: list[str]) -> bool:
    """Return whether lines of *one* that are equally far in are so in *other*, and those further in are further in."""
    pairs = set(zip(_depths(one), _depths(other), strict=True))
    return len({here for here, _ in pairs}) == len({there for _, there in pairs}) == len(pairs) and sorted(
        pairs
    ) == sorted(pairs, key=lambda pair: pair[1])


@cache
def _plain(line: str) -> str:
    return " ".join(line.translate(_PLAIN).split())


def _rstripped(one: list[str], other: list[str]) -> bool:
    return [line.rstrip() for line in one] == [line.rstrip() for line in other]


def _alike(one: list[str], other: list[str]) -> bool:
    return [_plain(line) for line in one] == [_plain(line) for line in other] and _as_deep(one, other)


RULES: tuple[Callable[[list[str], list[str]], bool], ...] = (list.__eq__, _rstripped, _shifted, _alike)


def places(lines: list[str], old: list[str]) -> list[int]:
    """Return where *old* stands by the strictest rule by which it stands anywhere."""
    for rule in RULES:
        if found := [at for at in range(len(lines) - len(old) + 1) if rule(old, lines[at : at + len(old)])]:
            return found
    return []


# --- the test --------------------------------------------------------------------------------


@pytest.mark.longest
def test_what_has_one_place_is_put_there_and_what_has_two_is_refused() -> None:
    chance = random.Random(20261121)
    seen: dict[tuple[str, str], int] = {}
    lines, text = [""], ""
    for number in range(EDITS):
        if number % EDITS_A_FILE == 0:
            lines = file(chance)
            text = "".join(f"{line}\n" for line in lines)
        each = case(chance, lines, number)
        verdict = _judged(text, lines, each)
        seen[each.kind, verdict] = seen.get((each.kind, verdict), 0) + 1
    for kind in {kind for kind, _ in seen}:
        assert seen.get((kind, "placed"), 0) > 250, seen
        assert seen.get((kind, "refused"), 0) > 20, seen


def _judged(text: str, lines: list[str], each: Case) -> str:
    """Assert that the edit went where it belongs or nowhere; return which."""
    outcome = apply_edits(text, [each.edit])
    found = places(lines, each.old)
    if each.kind == "context" and not found:
        # Less of its context is looked for: what it is put for must stand where it was taken from.
        if outcome.applied:
            assert _without(outcome.text, each, lines)
        return "placed" if outcome.applied else "refused"
    blank = not any(line.strip() for line in each.old)
    if len(found) > 1 or (blank and len(found) != 1):
        assert not outcome.applied, each
        assert outcome.text == text
        return "refused"
    assert [(row.start_line, row.end_line) for row in outcome.applied] == [(found[0] + 1, found[0] + len(each.old))], (
        each
    )
    # Mangled lines may be the exact lines of another place, which is then what the edit says.
    assert _without(outcome.text, each._replace(start=found[0]), lines)
    return "placed"


def _without(text: str, each: Case, lines: list[str]) -> bool:
    """Assert that *text* differs from *lines* where *each* says, and nowhere else."""
    result = text.split("\n")[:-1]
    end = each.start + len(each.old)
    tail = len(lines) - end
    assert result[: each.start] == lines[: each.start]
    assert result[len(result) - tail :] == lines[end:]
    inside = result[each.start : len(result) - tail]
    assert [_plain(line) for line in inside] == [_plain(line) for line in each.new if "stale" not in line] or any(
        "stale" in line for line in each.new
    )
    # A line that stays is the text's own, to the last blank.
    copied = {_plain(line) for line in each.old} & {_plain(line) for line in each.new}
    own = {_plain(line): line for line in lines[each.start : end]}
    alike = [line for line in lines[each.start : end] if _plain(line) in copied]
    assert all(line in lines[each.start : end] for line in inside if _plain(line) in copied and len(alike) == 1), own
    return True


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_line_ends_stay_what_they_were(eol: str) -> None:
    chance = random.Random(7)
    for number in range(200):
        lines = file(chance)
        text = eol.join(lines) + chance.choice(["", eol])
        each = case(chance, lines, number)
        outcome = apply_edits(text, [each.edit])
        assert outcome.text.count("\n") == outcome.text.count(eol)
        assert outcome.text.endswith(eol) is text.endswith(eol)
        assert bool(outcome.applied) is bool(apply_edits("".join(f"{line}\n" for line in lines), [each.edit]).applied)
