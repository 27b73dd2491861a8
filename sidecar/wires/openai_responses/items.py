"""One output item of the Responses API while it arrives: its pieces, whole or in deltas. [pure]

Knows texts, refusals, summaries and thoughts, and that servers leave out the deltas, the
wholes or both. Must not know events or the response around the item. Source: openai 3.52.0
(`types/responses/response_output_item.py`, `response_output_text.py`), read 2026-11.
"""

from collections import Counter
from typing import Any

from protocol.messages import Citation
from protocol.replies import Chunk
from sidecar.wires.shared.draft import Draft

PARTS = {"output_text": "text", "refusal": "refusal", "summary_text": "summary", "reasoning_text": "thought"}
"""Kind of a piece, by the type of the part that it is in the end."""

Piece = tuple[str, int]
"""Kind of a piece and its index: a summary and a thought of one item may have the same index."""


class Item:
    """An output item under way. Items may be interleaved, so each has a draft of its own."""

    __slots__ = ("_citations", "chars", "closed", "draft", "head", "order")

    def __init__(self, order: int, head: dict[str, Any]) -> None:
        self.order = order
        self.head = head
        """The item as it was announced or, at its end, as it is."""
        self.closed = False
        self.draft = Draft()
        self.chars: dict[Piece, int] = {}
        """How much has come of each piece."""
        self._citations = 0

    @property
    def refused(self) -> bool:
        """Whether any of it is a refusal."""
        return any(kind == "refusal" for kind, _ in self.chars)

    def add(self, piece: Piece, delta: str, out: list[Chunk]) -> None:
        """Append *delta* to *piece*, beginning it where it is new."""
        kind = piece[0]
        if piece not in self.chars:
            self.chars[piece] = 0
            if kind in ("text", "refusal"):
                self.draft.close_block()
        self.chars[piece] += len(delta)
        if kind in ("text", "refusal"):
            self.draft.add_text(delta, out, refusal=kind == "refusal")
        else:
            self.draft.add_reasoning(delta, out)

    def complete(self, piece: Piece, whole: str, out: list[Chunk]) -> None:
        """Append what the deltas have left out of the *whole* piece."""
        if rest := whole[self.chars.get(piece, 0) :]:
            self.add(piece, rest, out)

    def complete_part(self, index: int, part: dict[str, Any], out: list[Chunk]) -> None:
        """Append what the events have left out of the whole *part*, its citations included."""
        kind, text = _content(part)
        if text:
            self.complete((kind, index), text, out)
        self._cite(part.get("annotations"), out)

    def complete_all(self, parts: object, out: list[Chunk]) -> None:
        """Append what the events have left out of all the *parts* of the item."""
        whole = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        # By kind and not by index: there are servers whose deltas count the parts otherwise.
        seen = Counter[str]()
        for (kind, _), chars in self.chars.items():
            seen[kind] += chars
        for index, part in enumerate(whole):
            kind, text = _content(part)
            known = min(seen[kind], len(text))
            seen[kind] -= known
            if text[known:]:
                self.add((kind, index), text[known:], out)
        notes = (part.get("annotations") for part in whole)
        self._cite([note for each in notes if isinstance(each, list) for note in each], out)

    def thoughts(self, whole: dict[str, Any]) -> object:
        """Return the parts of the *whole* reasoning item that are shown: as it was streamed, or else its summary."""
        streamed = {kind for kind, _ in self.chars}
        if "summary" in streamed or (not streamed and whole.get("summary")):
            return whole.get("summary")
        return whole.get("content")

    def cite(self, note: object, out: list[Chunk]) -> None:
        """Attach the annotation *note* to the text so far."""
        self._citations += 1
        if isinstance(note, dict):
            self.draft.add_citation(_citation(note), out)

    def _cite(self, notes: object, out: list[Chunk]) -> None:
        for note in notes[self._citations :] if isinstance(notes, list) else ():
            self.cite(note, out)


def _content(part: dict[str, Any]) -> tuple[str, str]:
    """Return the kind and the text of *part*, both empty for one that is unknown."""
    kind = PARTS.get(text_of(part.get("type")), "")
    return kind, text_of(part.get("refusal" if kind == "refusal" else "text")) if kind else ""


def _citation(note: dict[str, Any]) -> Citation:
    start, end = note.get("start_index", note.get("index")), note.get("end_index")
    return Citation(
        url=text_of(note.get("url")) or None,
        title=text_of(note.get("title")) or None,
        document=text_of(note.get("filename")) or text_of(note.get("file_id")) or None,
        start=start if isinstance(start, int) else None,
        end=end if isinstance(end, int) else None,
    )


def text_of(value: object) -> str:
    """Return *value* when it is text, "" for whatever else a provider may have put there."""
    return value if isinstance(value, str) else ""
