"""The sources of a Gemini answer: citations and grounding. [pure]

Offsets count bytes of UTF-8 in the whole answer; the protocol counts characters of one text part.
Source: google-genai 3.4.0 `types.py` (CitationMetadata, GroundingMetadata), read 2026-11.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import msgspec

from protocol.messages import Citation
from sidecar.core.json_values import read_count, read_object, read_text

BLOCK_CHARS = 4096


class AnswerText:
    """A text that grows, in blocks: an offset is found in the time that one block takes."""

    def __init__(self) -> None:
        self.chars = 0
        self._bytes = 0
        self._blocks: list[bytes] = []
        self._byte_begins: list[int] = []
        self._char_begins: list[int] = []

    def add(self, text: str) -> None:
        """Append *text*."""
        for start in range(0, len(text), BLOCK_CHARS):
            block = text[start : start + BLOCK_CHARS]
            encoded = block.encode("utf-8", "replace")
            self._blocks.append(encoded)
            self._byte_begins.append(self._bytes)
            self._char_begins.append(self.chars)
            self._bytes += len(encoded)
            self.chars += len(block)

    def count_chars(self, offset: int) -> int | None:
        """Return how many characters the first *offset* bytes of UTF-8 are; None beyond the end."""
        if offset > self._bytes:
            return None
        at = bisect_right(self._byte_begins, offset) - 1
        if at < 0:
            return 0
        begun = self._blocks[at][: offset - self._byte_begins[at]]
        return self._char_begins[at] + len(begun.decode("utf-8", "ignore"))


def list_citations(citation_metadata: object, grounding: object, answer: AnswerText, begin: int) -> Iterator[Citation]:
    """Yield the sources of a candidate; *answer* is its text so far, in which the open part begins at *begin*."""

    def convert_offset(value: object) -> int | None:
        """Return a byte offset in the answer as a character offset in the open part."""
        count = read_count(value)
        offset = None if count is None else answer.count_chars(count)
        return offset - begin if offset is not None and begin <= offset <= answer.chars else None

    def locate(source: Citation, segment: object) -> Citation:
        """Return *source* with the offsets of *segment*."""
        fields = read_object(segment)
        end = convert_offset(fields.get("endIndex"))
        # A start of 0 is left out.
        start = None if end is None else convert_offset(fields.get("startIndex") or 0)
        return msgspec.structs.replace(source, start=start, end=end)

    citations = read_object(citation_metadata)
    for raw in _list_objects(citations.get("citations") or citations.get("citationSources")):
        yield locate(Citation(url=_read_word(raw, "uri"), title=_read_word(raw, "title")), raw)
    sources = [_read_source(chunk) for chunk in _list_objects(read_object(grounding).get("groundingChunks"))]
    supports = _list_objects(read_object(grounding).get("groundingSupports"))
    for support in supports:
        for index in _read_list(support.get("groundingChunkIndices")):
            if isinstance(index, int) and 0 <= index < len(sources):
                yield locate(sources[index], support.get("segment"))
    if not supports:
        yield from sources


def _read_source(chunk: dict[str, Any]) -> Citation:
    """Return the source of one of `groundingChunks`: a web page, a place, or a document of the user's."""
    inner = next((value for value in chunk.values() if isinstance(value, dict)), {})
    return Citation(
        url=_read_word(inner, "uri"), title=_read_word(inner, "title"), cited_text=_read_word(inner, "text")
    )


def _read_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _list_objects(value: object) -> list[dict[str, Any]]:
    # What is not an object keeps its place: indices refer to places.
    return [read_object(each) for each in _read_list(value)]


def _read_word(raw: dict[str, Any], key: str) -> str | None:
    return read_text(raw.get(key)) or None
