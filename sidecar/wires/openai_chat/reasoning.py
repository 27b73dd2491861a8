"""The reasoning of a Chat Completions stream: what is readable, and what the provider wants back. [pure]

Must not know text, tool calls, or when a stream ends. Sources: openrouter 1.3.84
(`reasoning_details`), Copilot's `reasoning_text`, read 2026-11.
"""

from typing import Any

from protocol.replies import Chunk
from sidecar.core.json_values import read_objects, read_text
from sidecar.wires.openai_chat.chunks import Delta
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.state import make_state
from sidecar.wires.shared.types import Route

_FRAGMENT_FIELDS = ("text", "summary", "data", "signature")
"""The fields of an item of `reasoning_details` that come in fragments."""


class ReasoningAssembler:
    """The readable reasoning, from the first field that has it, and the state that goes back to the provider."""

    def __init__(self, draft: Draft, route: Route) -> None:
        self.is_open = False
        """Whether the open part of the draft is reasoning."""
        self._draft = draft
        self._route = route
        self._echo = route.quirks.reasoning_echo
        self._state: dict[str, Any] = {}
        """The state of the first part. It is filled until the end, wherever the fragments appear."""
        self._has_state = False
        self._details: dict[tuple[str, ...], dict[str, Any]] = {}
        self._fragments: dict[tuple[str, ...], dict[str, list[str]]] = {}

    def take(self, delta: Delta, out: list[Chunk]) -> bool:
        """Append the reasoning of *delta* to *out* and return whether it had any text."""
        details = read_objects(delta.reasoning_details) if delta.reasoning_details else ()
        # Some providers send the same text in several fields.
        text = read_text(delta.reasoning) or read_text(delta.reasoning_content) or read_text(delta.reasoning_text)
        if details and not text:
            text = "".join(read_text(detail.get("text")) or read_text(detail.get("summary")) for detail in details)
        self.add_text(text, out)
        if self._echo == "reasoning_text" and delta.reasoning_opaque:
            self._state["reasoning_opaque"] = delta.reasoning_opaque
        elif self._echo == "reasoning_details" and details:
            for detail in details:
                self._add_detail(detail)
            self._state["reasoning_details"] = []
        if self._state and not self._has_state:
            self._set_state()
        return text != ""

    def add_text(self, text: str, out: list[Chunk]) -> None:
        """Append *text* to *out*."""
        if not text:
            return
        self._draft.add_reasoning(text, out)
        if self._echo and not self.is_open:
            self._set_state()
        self.is_open = True

    def end(self) -> None:
        """Put the items together that came in fragments."""
        if self._details:
            self._state["reasoning_details"] = [
                detail | {name: "".join(fragments) for name, fragments in self._fragments[key].items()}
                for key, detail in self._details.items()
            ]

    def _set_state(self) -> None:
        """Mark the open part as this provider's; everything beside the text goes with the first part."""
        self._draft.set_reasoning_state(make_state(self._route, {} if self._has_state else self._state))
        self._has_state = self.is_open = True

    def _add_detail(self, detail: dict[str, Any]) -> None:
        kind = str(detail.get("type"))
        # Encrypted items belong to calls and share an index.
        key = (kind, str(detail.get("index")), str(detail.get("id")) if kind == "reasoning.encrypted" else "")
        merged, fragments = self._details.setdefault(key, {}), self._fragments.setdefault(key, {})
        for name, value in detail.items():
            if name in _FRAGMENT_FIELDS and isinstance(value, str):
                fragments.setdefault(name, []).append(value)
            if value is not None or name not in merged:
                merged[name] = value
