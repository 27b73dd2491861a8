"""OpenAI's Responses API, `POST /responses`. [pure]

Knows its event stream and its whole replies; the request is built by `responses_request`,
failures are read by `responses_errors`. Sources: openai 3.52.0
(`types/responses/response_stream_event.py`, `response.py`, `response_usage.py`), read
2026-11, and what servers of the same API are seen to leave out.
"""

from typing import Any

import msgspec

from protocol.messages import FinishReason, Message, Part, State, Usage
from protocol.replies import Chunk
from sidecar.codecs.frame import Frame
from sidecar.core.json_values import parse_json
from sidecar.core.message_content import list_parts
from sidecar.wires.openai_responses.errors import classify, in_stream
from sidecar.wires.openai_responses.items import Item, text_of
from sidecar.wires.openai_responses.request import CUSTOM, cancel_request, continue_request, encode
from sidecar.wires.shared import costs
from sidecar.wires.shared.draft import Draft, drop_cut_calls
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unexpected_body_error
from sidecar.wires.shared.tool_calls import encode_arguments
from sidecar.wires.shared.types import Cursor, Outcome, Route

__all__ = ["CODEC", "Decoder", "cancel_request", "classify", "continue_request", "decode_whole", "encode"]

CODEC = "sse"


class _Event(msgspec.Struct):
    """The fields of all events. One name means several things, so what is not always the same is `Any`."""

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
    input: Any = None
    annotation: Any = None
    response: dict[str, Any] | None = None
    error: Any = None
    code: Any = None
    message: Any = None
    param: Any = None
    sequence_number: Any = None

    @property
    def index(self) -> int:
        """Where the piece stands in its item."""
        return self.summary_index or self.content_index or 0


_event = msgspec.json.Decoder(_Event)

DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "summary",
    "response.reasoning_text.delta": "thought",
}
WHOLES = {
    "response.output_text.done": "text",
    "response.refusal.done": "refusal",
    "response.reasoning_summary_text.done": "summary",
    "response.reasoning_text.done": "thought",
}
"""Kind of the piece that an event brings more of, or all of."""

PARTS_DONE = frozenset(
    {"response.content_part.done", "response.reasoning_part.done", "response.reasoning_summary_part.done"}
)

TERMINAL = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
"""The status that a terminal event stands for, should its response not say it."""

FINISH_REASONS: dict[str, FinishReason] = {
    "completed": "stop",
    "incomplete:max_output_tokens": "length",
    "incomplete:content_filter": "content_filter",
}
"""By status and, of an incomplete response, its reason."""

TICK_USD = "0.0000000001"

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Items that are calls of the caller's own tools → the field of the text that the model wrote."""

CALL_DELTAS = frozenset({"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"})
CALL_WHOLES = {
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
}

_CALL_FIELDS = frozenset({"type", "id", "call_id", "name", "arguments", "input", "status"})


class Decoder:
    """Events of one response. Tolerates deltas without their start, wholes without deltas, items without index."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._model = route.model
        self._response_id: str | None = None
        self._sequence: Any = None
        self._is_background = False
        self._status: str | None = None
        self._usage: dict[str, Any] = {}
        self._items: list[Item] = []
        self._by_index: dict[int | None, Item] = {}
        self._by_id: dict[str, Item] = {}
        self._calls = Draft(route.seed)
        """All function calls, keyed by their item: one draft, so that they are numbered together."""
        self._call_items: list[Item] = []

    @property
    def usage(self) -> Usage | None:
        """The usage known so far."""
        return usage(self._usage) if self._usage else None

    @property
    def provider_cost_usd(self) -> str | None:
        """What the provider has said so far that the request cost."""
        return cost_usd(self._usage)

    @property
    def cursor(self) -> Cursor | None:
        """How far a background response has come; None for one that ends with its connection."""
        if not self._is_background or self._response_id is None or not isinstance(self._sequence, int):
            return None
        return Cursor(self._response_id, self._sequence)

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
            raise make_bad_event_error() from None
        self._sequence = event.sequence_number
        if event.type == "response.output_text.delta" and event.delta.__class__ is str:
            # The beaten path: more of a piece that has begun.
            item, piece = self._by_index.get(event.output_index), ("text", event.content_index or 0)
            if item is not None and piece in item.chars:
                item.chars[piece] += len(event.delta)
                item.draft.add_text(event.delta, out)
                return
        # The name on the event's own line stands in for a type that the payload lacks.
        self._other(event.type or frame[0], event, out)

    def _other(self, kind: str, event: _Event, out: list[Chunk]) -> None:
        if kind in DELTAS:
            self._item(event).add((DELTAS[kind], event.index), text_of(event.delta), out)
        elif kind in WHOLES:
            whole = event.text if event.refusal is None else event.refusal
            self._item(event).complete((WHOLES[kind], event.index), text_of(whole), out)
        elif kind == "response.output_item.added":
            self._open(event.output_index, event.item or {}, out)
        elif kind == "response.output_item.done":
            self._close(event.output_index, event.item or {}, out)
        elif kind in TERMINAL:
            self._finish(event.response or {}, TERMINAL[kind], out)
        elif kind == "error" or event.error is not None:
            flat = {"code": event.code, "message": event.message, "param": event.param}
            raise in_stream({"error": event.error or flat})
        elif event.response is not None:
            self._head(event.response)
        else:
            self._within(kind, event, out)

    def _within(self, kind: str, event: _Event, out: list[Chunk]) -> None:
        if kind in CALL_DELTAS:
            item = self._item(event)
            if self._calls.has_call(item):
                self._calls.add_arguments(item, text_of(event.delta), out)
        elif kind in CALL_WHOLES:
            self._complete_arguments(self._item(event), getattr(event, CALL_WHOLES[kind]), out)
        elif kind in PARTS_DONE and isinstance(event.part, dict):
            self._item(event).complete_part(event.index, event.part, out)
        elif kind == "response.output_text.annotation.added":
            self._item(event).cite(event.annotation, out)

    def build_partial(self) -> Message:
        """Return the message as far as it has come."""
        return Message(role="assistant", content=[*drop_cut_calls(self._parts())])

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` before the response's own end.
        """
        # A call that was cut is never given out as whole.
        if not self.finished:
            raise make_interrupted_error()
        for item in self._call_items:
            self._complete_arguments(item, _written(item.head), out)
        self._calls.end(out)
        return Outcome(
            finish_reason=self._finish_reason(),
            provider_finish_reason=self._status,
            usage=self.usage,
            message=Message(role="assistant", content=self._parts()),
            model=self._model,
            request_id=self._response_id,
            provider_cost_usd=self.provider_cost_usd,
        )

    def _finish_reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self._status or "", "other")
        if reason != "stop":
            return reason
        if self._waits():
            return "tool_calls"
        return "refusal" if any(item.refused for item in self._items) else "stop"

    def _waits(self) -> bool:
        """Return whether any call is the caller's to answer."""
        last = max((item.order for item in self._items if item.head.get("type") == "message"), default=-1)
        # A custom tool that the provider has run itself is followed by what the model says to that.
        return any(item.head.get("type") != CUSTOM or item.order > last for item in self._call_items)

    def _parts(self) -> list[Part]:
        calls = dict(zip(self._call_items, list_parts(self._calls.build_message()), strict=True))
        parts: list[Part] = []
        for item in sorted(self._items, key=lambda item: item.order):
            parts.extend([calls[item]] if item in calls else list_parts(item.draft.build_message()))
        return parts

    # --- items

    def _item(self, event: _Event) -> Item:
        """Return the item that *event* belongs to; where it names none, the last one."""
        found = self._known(event.output_index, event.item_id)
        if found is None and event.output_index is None and self._items:
            found = self._items[-1]
        return found or self._open(event.output_index, {"id": event.item_id}, [])

    def _known(self, index: int | None, item_id: object) -> Item | None:
        # The index goes first: there are servers that change the id with every event.
        return self._by_id.get(text_of(item_id)) if index is None else self._by_index.get(index)

    def _open(self, index: int | None, head: dict[str, Any], out: list[Chunk]) -> Item:
        item = Item(len(self._items) if index is None else index, head)
        self._items.append(item)
        self._by_index[item.order] = item
        if item_id := text_of(head.get("id")):
            self._by_id[item_id] = item
        self._begin_call(item, head, out)
        return item

    def _begin_call(self, item: Item, head: dict[str, Any], out: list[Chunk]) -> None:
        if text_of(head.get("type")) in CALLS and not self._calls.has_call(item):
            call_id = text_of(head.get("call_id")) or text_of(head.get("id"))
            self._call_items.append(item)
            self._calls.begin_call(item, call_id, text_of(head.get("name")), out)

    def _close(self, index: int | None, whole: dict[str, Any], out: list[Chunk]) -> None:
        """Take from the *whole* item what its events have left out."""
        item = self._known(index, whole.get("id")) or self._open(index, whole, out)
        item.head, item.closed = whole, True
        kind = text_of(whole.get("type"))
        if kind == "message":
            item.complete_all(whole.get("content"), out)
            if item.chars and (phase := whole.get("phase")):
                item.draft.set_text_state(self._state({"phase": phase}))
        elif kind == "reasoning":
            item.complete_all(item.thoughts(whole), out)
            item.draft.set_reasoning_state(self._state(whole))
        elif kind in CALLS:
            self._close_call(item, whole, out)
        elif kind:
            item.draft.add_opaque(kind, self._state(whole))

    def _close_call(self, item: Item, whole: dict[str, Any], out: list[Chunk]) -> None:
        self._begin_call(item, whole, out)
        self._complete_arguments(item, _written(whole), out)
        extra = {key: value for key, value in whole.items() if key not in _CALL_FIELDS and value is not None}
        if whole.get("type") == CUSTOM:
            # Such a call goes back as what it is, and so does its result.
            extra["type"] = CUSTOM
        if extra:
            self._calls.set_call_state(item, self._state(extra))
        self._calls.end_call(item, out)

    def _complete_arguments(self, item: Item, whole: object, out: list[Chunk]) -> None:
        text = encode_arguments(whole)
        if self._calls.has_call(item) and text.startswith(so_far := self._calls.get_arguments_text(item)):
            self._calls.add_arguments(item, text[len(so_far) :], out)

    # --- the response

    def _head(self, response: dict[str, Any]) -> None:
        self._model = text_of(response.get("model")) or self._model
        self._response_id = text_of(response.get("id")) or self._response_id
        self._is_background = self._is_background or response.get("background") is True
        counts = response.get("usage")
        self._usage = counts if isinstance(counts, dict) else self._usage

    def _finish(self, response: dict[str, Any], status: str, out: list[Chunk]) -> None:
        """Take from the whole *response* what its events have left out, and note how it ended.

        Raises: SidecarError when it failed.
        """
        self._head(response)
        status = text_of(response.get("status")) or status
        if status == "failed" or response.get("error"):
            raise in_stream(response)
        output = response.get("output")
        self._take([item for item in output if isinstance(item, dict)] if isinstance(output, list) else [], out)
        reason = _within(response, "incomplete_details", "reason")
        self._status = f"{status}:{reason}" if status == "incomplete" and reason else status
        self.finished = status in ("completed", "incomplete")

    def _take(self, output: list[dict[str, Any]], out: list[Chunk]) -> None:
        """Close what the events have left open of the *output*, and open what they have left out."""
        more = len(output) > len(self._items)
        for index, whole in enumerate(output):
            item, kind = self._by_index.get(index), whole.get("type")
            if item is None:
                # The ids are looked at because there are servers that number the output otherwise in the events.
                missing = more and self._known(None, whole.get("id")) is None
            else:
                missing = not item.closed and item.head.get("type", kind) == kind
            if missing:
                self._close(index, whole, out)

    def _state(self, data: dict[str, Any]) -> State:
        return State(provider=self._route.provider, wire=self._route.wire, model=self._model, data=data)


def _written(item: dict[str, Any]) -> object:
    """Return what the model has written to the call that *item* is."""
    return text_of(item.get("input")) if item.get("type") == CUSTOM else item.get("arguments")


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document.

    Raises: SidecarError for an error document or for anything that is no response.
    """
    raw = parse_json(body)
    if not isinstance(raw, dict) or not (raw.get("error") or isinstance(raw.get("output"), list)):
        raise make_unexpected_body_error()
    decoder, out = Decoder(route), list[Chunk]()
    decoder._finish(raw, "completed", out)  # noqa: SLF001 - same module
    return decoder, out


def usage(raw: dict[str, Any]) -> Usage:
    """Return the provider's counts in the protocol's meaning; they are totals already."""
    return Usage(
        input_tokens=_count(raw.get("input_tokens")),
        output_tokens=_count(raw.get("output_tokens")),
        cache_read_tokens=_count(_within(raw, "input_tokens_details", "cached_tokens")),
        cache_write_tokens=_count(_within(raw, "input_tokens_details", "cache_write_tokens")),
        reasoning_tokens=_count(_within(raw, "output_tokens_details", "reasoning_tokens")),
    )


def cost_usd(raw: dict[str, Any]) -> str | None:
    """Return what the usage says that the request cost, in US dollars as a decimal string, or None."""
    ticks = _count(raw.get("cost_in_usd_ticks"))
    return costs.convert_to_usd(raw.get("cost")) if ticks is None else costs.convert_to_usd(ticks, TICK_USD)


def _within(raw: dict[str, Any], group: str, key: str) -> object:
    details = raw.get(group)
    return details.get(key) if isinstance(details, dict) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
