"""Mistakes in `config.toml`: where each is, and what it is in plain words. [pure]"""

import re
from collections import Counter
from collections.abc import Sequence

_NAME = r"(?:\"[^\"]*\"|'[^']*'|[\w-]+)"
_PATH = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER = re.compile(rf"^\s*(\[\[?)\s*({_PATH})\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"^\s*({_PATH})\s*=")

_PROBLEMS = {
    "extra_forbidden": "there is no such key",
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "finite_number": "must be a number",
}
"""The type of an error of pydantic's → what it is."""


Mistake = tuple[tuple[int | str, ...], str]
"""The keys that lead to it, and the problem."""


def describe_mistakes(path: str, text: str, mistakes: Sequence[Mistake]) -> str:
    """Return one line for each mistake in the file *path*, in the order of its *text*: place, key, problem."""
    found = [([str(key) for key in keys], problem) for keys, problem in mistakes]
    placed = sorted(
        ((_find_line(text, names) or 0, names, problem) for names, problem in found), key=lambda each: each[0]
    )
    return "\n".join(_describe(f"{path}:{line}" if line else path, names, problem) for line, names, problem in placed)


def _describe(place: str, names: list[str], problem: str) -> str:
    return f"{place}: {'.'.join(names)}: {problem[0].lower()}{problem[1:]}"


def describe_problem(kind: str, message: str) -> str:
    """Return in plain words what pydantic reports with the error type *kind* and *message*."""
    plain = message.removeprefix("Value error, ").replace(" after validation", "")
    return _PROBLEMS.get(kind) or re.sub(r"^(?:Decimal input|Input|String|List) should", "must", plain)


def _find_line(text: str, names: list[str]) -> int | None:
    """Return the number of the line that spells out the longest part of *names*, or None."""
    best, best_length, table = None, 0, list[str]()
    entries = Counter[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if match := _HEADER.match(line):
            table = _split(match[2])
            if match[1] == "[[":
                # The name of an entry of a list is its index.
                entries[match[2]] += 1
                table = [*table, str(entries[match[2]] - 1)]
            path = table
        elif match := _KEY.match(line):
            path = table + _split(match[1])
        else:
            continue
        common = min(len(path), len(names))
        if path[:common] == names[:common] and common > best_length:
            best, best_length = number, common
    return best


def _split(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_NAME, dotted)]
