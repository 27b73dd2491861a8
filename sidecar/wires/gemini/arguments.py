"""The arguments of a Gemini function call that arrive in pieces, each for a place in the object. [pure]

Source: google-genai 3.4.0 `types.py` (PartialArg), read 2026-11.
"""

import itertools
import re
from io import StringIO
from typing import Any

import msgspec

from sidecar.wires.shared.errors import make_bad_event_error

MAX_DEPTH = 64
"""The deepest place that a piece may name."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,9})\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")
_VALUE_FIELDS = ("stringValue", "numberValue", "boolValue", "nullValue")


class PartialArguments:
    """The arguments of one call, assembled from its `partialArgs`."""

    def __init__(self) -> None:
        self._arguments: dict[str, Any] = {}
        self._path: str | None = None
        """The place of the text under way."""
        self._text = StringIO()

    def add(self, piece: dict[str, Any]) -> None:
        """Put *piece* in its place: text is appended to text, anything else replaces what is there.

        Raises: SidecarError `provider_error` for a place or a value that is not valid.
        """
        field = next((each for each in _VALUE_FIELDS if each in piece), None)
        if field is None:
            # The end of a text that was to continue: it adds nothing.
            return
        path, value = piece.get("jsonPath"), piece[field]
        if isinstance(value, (dict, list)):
            raise make_bad_event_error()
        if path != self._path:
            self._flush_text()
        steps = _parse_path(path)
        if field == "stringValue" and isinstance(value, str):
            self._path = path
            self._text.write(value)
        else:
            _write(self._arguments, steps, None if field == "nullValue" else value)

    def encode(self) -> str:
        """Return the arguments so far as JSON."""
        self._flush_text()
        return msgspec.json.encode(self._arguments).decode()

    def _flush_text(self) -> None:
        """Put the text under way in its place; it is kept apart until then, as it may come in many small pieces."""
        if self._path is not None:
            _write(self._arguments, _parse_path(self._path), self._text.getvalue())
            self._path, self._text = None, StringIO()


def _write(arguments: dict[str, Any], steps: list[str | int], value: Any) -> None:
    """Set the place that *steps* lead to, and create the objects and lists on the way."""
    container: Any = arguments
    for step, next_step in itertools.pairwise(steps):
        kind = list if isinstance(next_step, int) else dict
        inner = _get(container, step)
        if not isinstance(inner, kind):
            inner = kind()
            _set(container, step, inner)
        container = inner
    before = _get(container, steps[-1])
    _set(container, steps[-1], before + value if isinstance(before, str) and isinstance(value, str) else value)


def _parse_path(path: object) -> list[str | int]:
    """Return the steps of a path such as `$.items[0]['a name']`; the first is a name."""
    if not isinstance(path, str) or not path.startswith("$"):
        raise make_bad_event_error()
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or len(steps) >= MAX_DEPTH:
            raise make_bad_event_error()
        name, index, single_quoted, double_quoted = match.groups()
        steps.append(int(index) if index is not None else name or single_quoted or double_quoted or "")
        at = match.end()
    if not steps or isinstance(steps[0], int):
        raise make_bad_event_error()
    return steps


def _get(container: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return container[step] if step < len(container) else None
    return container.get(step)


def _set(container: Any, step: str | int, value: Any) -> None:
    if isinstance(step, int) and step >= len(container):
        # Append, whatever the index: a list is written from its beginning.
        container.append(value)
    else:
        container[step] = value
