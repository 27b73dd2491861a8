"""One output item of the Responses API while it arrives: its texts, as deltas, whole or both. [pure]

Knows texts, refusals, summaries and reasoning, and that servers leave out the deltas, the whole texts
or both. Must not know events or the response around the item. Source: openai 3.52.0
(`types/responses/response_output_item.py`, `response_output_text.py`), read 2026-11.
"""

from collections import Counter
from typing import Any

from protocol.messages import Citation
from protocol.replies import Chunk
from sidecar.core.json_values import read_count, read_objects, read_text
from sidecar.wires.shared.answer_size import AnswerSize
from sidecar.wires.shared.draft import Draft

PARTS = {"output_text": "text", "refusal": "refusal", "summary_text": "summary", "reasoning_text": "thought"}
"""The kind of a text by the type of the part that holds it in the end."""

TextKey = tuple[str, int]
"""The kind of a text and its index: a summary and a thought of one item may have the same index."""


class OutputItem:
    """An output item under way. Items may be interleaved, so each has a draft of its own."""

    __slots__ = ("_citation_count", "chars", "closed", "draft", "fields", "order")

    def __init__(self, order: int, fields: dict[str, Any], size: AnswerSize) -> None:
        self.order = order
        self.fields = fields
        """The item as it was announced, and at its end the whole item."""
        self.closed = False
        self.draft = Draft(size=size)
        self.chars: dict[TextKey, int] = {}
        """How many characters of each text have come."""
        self._citation_count = 0

    @property
    def is_refusal(self) -> bool:
        """Whether any of its texts is a refusal."""
        return any(kind == "refusal" for kind, _ in self.chars)

    def add_delta(self, key: TextKey, delta: str, out: list[Chunk]) -> None:
        """Append *delta* to the text under *key*, or begin that text."""
        kind = key[0]
        if key not in self.chars:
            self.chars[key] = 0
            if kind in ("text", "refusal"):
                self.draft.close_block()
        self.chars[key] += len(delta)
        if kind in ("text", "refusal"):
            self.draft.add_text(delta, out, refusal=kind == "refusal")
        else:
            self.draft.add_reasoning(delta, out)

    def complete_text(self, key: TextKey, text: str, out: list[Chunk]) -> None:
        """Append what the deltas have left out of the whole *text*."""
        if rest := text[self.chars.get(key, 0) :]:
            self.add_delta(key, rest, out)

    def complete_part(self, index: int, part: dict[str, Any], out: list[Chunk]) -> None:
        """Append what the events have left out of the whole *part*, citations included."""
        kind, text = _read_part(part)
        if text:
            self.complete_text((kind, index), text, out)
        self._add_citations(part.get("annotations"), out)

    def complete_parts(self, parts: object, out: list[Chunk]) -> None:
        """Append what the events have left out of all *parts* of the item."""
        whole_parts = read_objects(parts)
        # By kind and not by index: some servers number the parts of the deltas in another way.
        seen_chars = Counter[str]()
        for (kind, _), chars in self.chars.items():
            seen_chars[kind] += chars
        for index, part in enumerate(whole_parts):
            kind, text = _read_part(part)
            skip = min(seen_chars[kind], len(text))
            seen_chars[kind] -= skip
            if text[skip:]:
                self.add_delta((kind, index), text[skip:], out)
        annotations = (part.get("annotations") for part in whole_parts)
        self._add_citations([each for listed in annotations if isinstance(listed, list) for each in listed], out)

    def pick_reasoning(self, item: dict[str, Any]) -> object:
        """Return the parts of a whole reasoning *item* to show: those that were streamed, or else its summary."""
        streamed = {kind for kind, _ in self.chars}
        if "summary" in streamed or (not streamed and item.get("summary")):
            return item.get("summary")
        return item.get("content")

    def add_citation(self, annotation: object, out: list[Chunk]) -> None:
        """Attach the citation in *annotation* to the text so far."""
        self._citation_count += 1
        if isinstance(annotation, dict):
            self.draft.add_citation(_read_citation(annotation), out)

    def _add_citations(self, annotations: object, out: list[Chunk]) -> None:
        """Attach the citations of *annotations* that have not come as events."""
        for annotation in annotations[self._citation_count :] if isinstance(annotations, list) else ():
            self.add_citation(annotation, out)


def _read_part(part: dict[str, Any]) -> tuple[str, str]:
    """Return the kind and the text of *part*, both empty for an unknown type."""
    kind = PARTS.get(read_text(part.get("type")), "")
    return kind, read_text(part.get("refusal" if kind == "refusal" else "text")) if kind else ""


def _read_citation(annotation: dict[str, Any]) -> Citation:
    return Citation(
        url=read_text(annotation.get("url")) or None,
        title=read_text(annotation.get("title")) or None,
        document=read_text(annotation.get("filename")) or read_text(annotation.get("file_id")) or None,
        start=read_count(annotation.get("start_index", annotation.get("index"))),
        end=read_count(annotation.get("end_index")),
    )
