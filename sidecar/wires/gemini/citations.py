"""The sources of a Gemini answer: citations and grounding. [pure]

Offsets count bytes of UTF-8 in the whole answer; the protocol counts characters of one text part.
Source: google-genai 3.4.0 `types.py` (CitationMetadata, GroundingMetadata), read 2026-11.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from protocol.messages import Citation
from sidecar.core.json_values import read_count, read_object, read_text


def list_citations(citation_metadata: object, grounding: object, answer: str, begin: int) -> Iterator[Citation]:
    """Yield the sources of a candidate; *answer* is its text so far, in which the open part begins at *begin*."""
    encoded = b"" if answer.isascii() else answer.encode()

    def convert_offset(value: object) -> int | None:
        """Return a byte offset in the answer as a character offset in the open part."""
        offset = read_count(value)
        if offset is None:
            return None
        if encoded and offset <= len(encoded):
            offset = len(encoded[:offset].decode("utf-8", "ignore"))
        return offset - begin if begin <= offset <= len(answer) else None

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
