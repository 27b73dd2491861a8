"""OpenAI's Responses API, `POST /responses`. [pure]

Knows its event stream, its whole replies and its error bodies; the request is built by
`responses_request`. Sources: openai 3.52.0 (`types/responses/response_stream_event.py`,
`response_output_item.py`, `response_error.py`), read 2026-11, and what servers of the same
API are seen to leave out.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from protocol.messages import Citation, FinishReason, Message, Part, State, Usage
from protocol.replies import Chunk
from sidecar.codecs import Frame
from sidecar.errors import SidecarError
from sidecar.wires import faults
from sidecar.wires.draft import Draft
from sidecar.wires.faults import Rule
from sidecar.wires.responses_request import encode
from sidecar.wires.types import Outcome, Route

__all__ = ["CODEC", "Decoder", "classify", "decode_whole", "encode"]

CODEC = "sse"

# --- stream ----------------------------------------------------------------------------------


class _Event(msgspec.Struct):
    """The fields of all events. One name means several things, so what is not always text is `Any`."""

    type: str | None = None
    delta: Any = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    item_id: Any = None
    item: dict[str, Any] | None = None
    part: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    annotation: Any = None
    response: dict[str, Any] | None = None
    error: Any = None
    code: Any = None
    message: Any = None
    param: Any = None


_event = msgspec.json.Decoder(_Event)

TERMINAL = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
"""The status that a terminal event stands for, should its response not say it."""

FINISH_REASONS: dict[str, FinishReason] = {
    "completed": "stop",
    "incomplete:max_output_tokens": "length",
    "incomplete:content_filter": "content_filter",
    "failed": "error",
}
"""By status and, of an incomplete response, its reason."""

_CALL_FIELDS = frozenset({"type", "id", "call_id", "name", "arguments", "status"})

_Key = tuple[str, int]
"""Kind and index of a piece within its item: two summaries and a text may have the same index."""


class _Item:
    """An output item under way. Items may be interleaved, so each has a draft of its own."""

    __slots__ = ("chars", "draft", "head", "order")

    def __init__(self, order: int, head: dict[str, Any]) -> None:
        self.order = order
        self.head = head
        """The item as it was announced."""
        self.draft = Draft()
        self.chars: dict[_Key, int] = {}
        """How much of each piece has come."""


class Decoder:
    """Events of one response. Tolerates deltas without their start, wholes without deltas and items without index."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._model = route.model
        self._response_id: str | None = None
        self._status: str | None = None
        self._usage: dict[str, Any] = {}
        self._items: list[_Item] = []
        self._by_index: dict[int | None, _Item] = {}
        self._by_id: dict[object, _Item] = {}
        self._calls = Draft()
        """All function calls, keyed by their item: one draft, so that they are numbered together."""
        self._refused = False

    @property
    def usage(self) -> Usage | None:
        """The usage known so far."""
        return usage(self._usage) if self._usage else None

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append what one event says to *out*.

        Raises: SidecarError for an error event or one that cannot be read.
        """
        if self.finished:
            return
        try:
            event = _event.decode(frame[1])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if frame[1].strip() == b"[DONE]":
                return
            raise faults.bad_event() from None
        if event.type == "response.output_text.delta":
            item = self._by_index.get(event.output_index)
            if item is not None and event.delta.__class__ is str:
                key = ("text", event.content_index or 0)
                if key in item.chars:
                    item.chars[key] += len(event.delta)
                    item.draft.text(event.delta, out)
                    return
        # The name on the event's own line stands in for a type that the payload lacks.
        self._other(event.type or frame[0], event, out)

    def _other(self, kind: str, event: _Event, out: list[Chunk]) -> None:
        if (piece := _DELTAS.get(kind)) is not None:
            self._delta(piece, event, out)
        elif (piece := _WHOLES.get(kind)) is not None:
            whole = event.refusal if piece == "refusal" else event.text
            self._piece(self._item_of(event), (piece, _index(piece, event)), whole, out)
        elif kind == "response.function_call_arguments.delta":
            self._arguments(self._item_of(event), event.delta, out)
        elif kind == "response.function_call_arguments.done":
            self._rest_of_arguments(self._item_of(event), event.arguments, out)
        elif kind == "response.output_item.added":
            self._open(event.output_index, event.item or {}, out)
        elif kind == "response.output_item.done":
            self._close(event, out)
        elif kind in ("response.content_part.done", "response.reasoning_part.done"):
            self._part(self._item_of(event), event.content_index or 0, event.part, out)
        elif kind == "response.output_text.annotation.added":
            self._annotation(self._item_of(event), event.annotation, out)
        elif kind in TERMINAL:
            self._finish(event.response or {}, TERMINAL[kind], out)
        elif kind == "error" or event.error is not None:
            raise _in_stream(_fault({"error": event.error or _flat(event)}))
        elif event.response is not None:
            self._head(event.response)

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` before the response's own end.
        """
        for item in self._items:
            self._rest_of_arguments(item, item.head.get("arguments"), out)
        self._calls.end(out)
        if not self.finished:
            raise faults.interrupted()
        return Outcome(
            finish_reason=self._finish_reason(),
            provider_finish_reason=self._status,
            usage=self.usage,
            message=Message(role="assistant", content=list(self._parts())),
            model=self._model,
            request_id=self._response_id,
            provider_cost_usd=cost_usd(self._usage),
        )

    def _finish_reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self._status or "", "other")
        if reason != "stop":
            return reason
        if self._calls.has_tool_calls:
            return "tool_calls"
        return "refusal" if self._refused else "stop"

    def _parts(self) -> Iterator[Part]:
        calls = {part.id: part for part in self._calls.message().content if not isinstance(part, str)}
        for item in sorted(self._items, key=lambda item: item.order):
            if self._calls.tool_known(id(item)):
                yield calls[self._calls.tool_id(id(item))]
            else:
                yield from (part for part in item.draft.message().content if not isinstance(part, str))
