"""What a Gemini decoder reads beside text: arguments in pieces, sources, counts. [pure]

Sources: google-genai 3.4.0 `types.py` (PartialArg, CitationMetadata, GroundingMetadata,
GenerateContentResponseUsageMetadata), read 2026-11.
"""

import itertools
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import msgspec

from protocol.messages import Citation, Usage
from sidecar.wires.shared.errors import make_bad_event_error

# --- arguments in pieces ---------------------------------------------------------------------

MAX_DEPTH = 64
"""Deepest place that a piece may name."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,9})\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")


class Pieces:
    """The arguments of one call, put together from its `partialArgs`."""

    def __init__(self) -> None:
        self._arguments: dict[str, Any] = {}
        self._path: str | None = None
        self._text = StringIO()

    def add(self, piece: dict[str, Any]) -> None:
        """Put *piece* to its place: text is appended to text, anything else replaces.

        Raises: SidecarError `provider_error` for a place or a value that cannot be.
        """
        kind = next((each for each in _VALUES if each in piece), None)
        if kind is None:
            # The end of a text that was to continue: it says nothing more.
            return
        path, value = piece.get("jsonPath"), piece[kind]
        if isinstance(value, (dict, list)):
            raise make_bad_event_error()
        if path != self._path:
            self._settle()
        steps = _steps(path)
        if kind == "stringValue" and isinstance(value, str):
            self._path = path
            self._text.write(value)
        else:
            _write(self._arguments, steps, None if kind == "nullValue" else value)

    def encoded(self) -> str:
        """Return the arguments so far as JSON."""
        self._settle()
        return msgspec.json.encode(self._arguments).decode()

    def _settle(self) -> None:
        """Put the text under way to its place. Until then it is kept apart: it may be long and come in small pieces."""
        if self._path is not None:
            _write(self._arguments, _steps(self._path), self._text.getvalue())
            self._path, self._text = None, StringIO()


def _write(arguments: dict[str, Any], steps: list[str | int], value: Any) -> None:
    holder: Any = arguments
    for step, following in itertools.pairwise(steps):
        wanted = list if isinstance(following, int) else dict
        inner = _get(holder, step)
        if not isinstance(inner, wanted):
            inner = wanted()
            _set(holder, step, inner)
        holder = inner
    before = _get(holder, steps[-1])
    _set(holder, steps[-1], before + value if isinstance(before, str) and isinstance(value, str) else value)


def _steps(path: object) -> list[str | int]:
    """Return the steps of a path as `$.items[0]['a name']`; the first is a name."""
    if not isinstance(path, str) or not path.startswith("$"):
        raise make_bad_event_error()
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or len(steps) >= MAX_DEPTH:
            raise make_bad_event_error()
        name, index, single, double = match.groups()
        steps.append(int(index) if index is not None else name or single or double or "")
        at = match.end()
    if not steps or isinstance(steps[0], int):
        raise make_bad_event_error()
    return steps


def _get(holder: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return holder[step] if step < len(holder) else None
    return holder.get(step)


def _set(holder: Any, step: str | int, value: Any) -> None:
    if isinstance(step, int) and step >= len(holder):
        # The next one, whatever its number: a list is written from its beginning.
        holder.append(value)
    else:
        holder[step] = value


# --- sources ---------------------------------------------------------------------------------


def citations(citation_metadata: object, grounding: object, answer: str, begin: int) -> Iterator[Citation]:
    """Yield the sources of a candidate; *answer* is its text so far, in which the open part begins at *begin*."""
    encoded = b"" if answer.isascii() else answer.encode()

    def place(offset: object) -> int | None:
        """Return a count of bytes of the answer as a count of characters of the open part."""
        if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
            return None
        if encoded and offset <= len(encoded):
            offset = len(encoded[:offset].decode("utf-8", "ignore"))
        return offset - begin if begin <= offset <= len(answer) else None

    def within(raw: object, source: Citation) -> Citation:
        end = place(_field(raw, "endIndex"))
        # A count of 0 is left out.
        start = None if end is None else place(_field(raw, "startIndex") or 0)
        return msgspec.structs.replace(source, start=start, end=end)

    for raw in _objects(_field(citation_metadata, "citations") or _field(citation_metadata, "citationSources")):
        yield within(raw, Citation(url=_text(raw, "uri"), title=_text(raw, "title")))
    sources = [_source(raw) for raw in _objects(_field(grounding, "groundingChunks"))]
    supports = _objects(_field(grounding, "groundingSupports"))
    for support in supports:
        for index in _list(support.get("groundingChunkIndices")):
            if isinstance(index, int) and 0 <= index < len(sources):
                yield within(support.get("segment"), sources[index])
    if not supports:
        yield from sources


def _source(raw: dict[str, Any]) -> Citation:
    """Return the source of one of `groundingChunks`: a page of the web, a place, or a document of the user's own."""
    inner = next((value for value in raw.values() if isinstance(value, dict)), {})
    return Citation(url=_text(inner, "uri"), title=_text(inner, "title"), cited_text=_text(inner, "text"))


def _field(value: object, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: object) -> list[dict[str, Any]]:
    # One that is no object counts too: the others are named by their place.
    return [each if isinstance(each, dict) else {} for each in _list(value)]


def _text(raw: dict[str, Any], key: str) -> str | None:
    value = raw.get(key)
    return value if isinstance(value, str) and value else None


# --- counts ----------------------------------------------------------------------------------


def counts(raw: dict[str, Any] | None) -> dict[str, int]:
    """Return those of the provider's *raw* counts that are counts."""
    return {
        key: value
        for key, value in (raw or {}).items()
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0 and key.endswith("TokenCount")
    }


def usage(raw: dict[str, int]) -> Usage:
    """Return *raw* in the protocol's meaning: the prompt has what was cached, the answer leaves out its thoughts.

    What server tools have read is a prompt of its own beside the first.
    """
    prompt, answer, thoughts = (raw.get(f"{name}TokenCount") for name in ("prompt", "candidates", "thoughts"))
    return Usage(
        input_tokens=None if prompt is None else prompt + raw.get("toolUsePromptTokenCount", 0),
        output_tokens=None if answer is None and thoughts is None else (answer or 0) + (thoughts or 0),
        cache_read_tokens=raw.get("cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )
