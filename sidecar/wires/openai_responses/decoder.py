"""OpenAI's Responses API, `POST /responses`: its event stream and its whole replies. [pure]

Knows events and the response around the items; `output_items` knows the inside of an item. Must not
know the request or the meaning of an error. Sources: openai 3.52.0
(`types/responses/response_stream_event.py`, `response.py`), and what servers of the same API are seen
to leave out, read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import FinishReason, Message, Part, State, Usage
from protocol.replies import Chunk
from sidecar.codecs.frame import Frame
from sidecar.core.json_values import parse_json, read_count, read_object, read_objects, read_text
from sidecar.core.message_content import list_parts
from sidecar.wires.openai_responses.errors import classify_in_stream
from sidecar.wires.openai_responses.input_items import CUSTOM
from sidecar.wires.openai_responses.output_items import OutputItem
from sidecar.wires.openai_responses.usage import read_cost_usd, read_usage
from sidecar.wires.shared.answer_size import AnswerSize
from sidecar.wires.shared.draft import Draft, drop_cut_calls
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unexpected_body_error
from sidecar.wires.shared.state import make_state
from sidecar.wires.shared.tool_calls import encode_arguments
from sidecar.wires.shared.types import Cursor, Outcome, Route

CODEC = "sse"


class _Event(msgspec.Struct):
    """The fields of all events. A name whose type differs between events is `Any`."""

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
        """The index of the text in its item."""
        return self.summary_index or self.content_index or 0


_event_reader = msgspec.json.Decoder(_Event)

TEXT_DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "summary",
    "response.reasoning_text.delta": "thought",
}
WHOLE_TEXTS = {
    "response.output_text.done": "text",
    "response.refusal.done": "refusal",
    "response.reasoning_summary_text.done": "summary",
    "response.reasoning_text.done": "thought",
}
"""The kind of the text that an event brings a delta of, or all of."""

PARTS_DONE = frozenset(
    {"response.content_part.done", "response.reasoning_part.done", "response.reasoning_summary_part.done"}
)

TERMINAL = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
"""The status that a terminal event stands for when its response does not name one."""

FINISH_REASONS: dict[str, FinishReason] = {
    "completed": "stop",
    "incomplete:max_output_tokens": "length",
    "incomplete:content_filter": "content_filter",
}
"""By status and, for an incomplete response, by its reason."""

ARGUMENT_DELTAS = frozenset({"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"})
WHOLE_ARGUMENTS = {
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
}

_CALL_FIELDS = frozenset({"type", "id", "call_id", "name", "arguments", "input", "status"})


class Decoder:
    """Events of one response. It tolerates deltas without a start, texts without deltas, and items without an index."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._model = route.model
        self._response_id: str | None = None
        self._sequence: Any = None
        self._is_background = False
        self._status: str | None = None
        self._usage: dict[str, Any] = {}
        self._items: list[OutputItem] = []
        self._by_index: dict[int | None, OutputItem] = {}
        self._by_id: dict[str, OutputItem] = {}
        self._size = AnswerSize()
        self._calls = Draft(route, self._size)
        """All function calls, keyed by their item: they share a draft, so that they are numbered together."""
        self._call_items: list[OutputItem] = []

    @property
    def answer_chars(self) -> int:
        """How many characters of the answer have come."""
        return self._calls.answer_chars

    @property
    def usage(self) -> Usage | None:
        """The usage so far."""
        return read_usage(self._usage) if self._usage else None

    @property
    def provider_cost_usd(self) -> str | None:
        """What the request cost, as far as the provider has said it."""
        return read_cost_usd(self._usage)

    @property
    def cursor(self) -> Cursor | None:
        """How far a background response has come; None for a response that ends with its connection."""
        if not self._is_background or self._response_id is None or (sequence := read_count(self._sequence)) is None:
            return None
        return Cursor(self._response_id, sequence)

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append the chunks of one event to *out*.

        Raises: SidecarError for an error event or one that cannot be read.
        """
        if self.finished:
            return
        try:
            event = _event_reader.decode(frame[1])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if frame[1].strip() == b"[DONE]":
                return
            raise make_bad_event_error() from None
        self._sequence = event.sequence_number
        if event.type == "response.output_text.delta" and event.delta.__class__ is str:
            # The fast path: more of a text that has begun.
            item, key = self._by_index.get(event.output_index), ("text", event.content_index or 0)
            if item is not None and key in item.chars:
                item.chars[key] += len(event.delta)
                item.draft.add_text(event.delta, out)
                return
        # The name on the event's own line stands in for a type that the payload lacks.
        self._take_event(event.type or frame[0], event, out)

    def _take_event(self, kind: str, event: _Event, out: list[Chunk]) -> None:
        if kind in TEXT_DELTAS:
            self._find_item(event).add_delta((TEXT_DELTAS[kind], event.index), read_text(event.delta), out)
        elif kind in WHOLE_TEXTS:
            whole = event.text if event.refusal is None else event.refusal
            self._find_item(event).complete_text((WHOLE_TEXTS[kind], event.index), read_text(whole), out)
        elif kind == "response.output_item.added":
            self._open_item(event.output_index, event.item or {}, out)
        elif kind == "response.output_item.done":
            self._close_item(event.output_index, event.item or {}, out)
        elif kind in TERMINAL:
            self.finish(event.response or {}, TERMINAL[kind], out)
        elif kind == "error" or event.error is not None:
            flat = {"code": event.code, "message": event.message, "param": event.param}
            raise classify_in_stream({"error": event.error or flat})
        elif event.response is not None:
            self._take_head(event.response)
        else:
            self._take_item_event(kind, event, out)

    def _take_item_event(self, kind: str, event: _Event, out: list[Chunk]) -> None:
        if kind in ARGUMENT_DELTAS:
            item = self._find_item(event)
            if self._calls.has_call(item):
                self._calls.add_arguments(item, read_text(event.delta), out)
        elif kind in WHOLE_ARGUMENTS:
            self._complete_arguments(self._find_item(event), getattr(event, WHOLE_ARGUMENTS[kind]), out)
        elif kind in PARTS_DONE and isinstance(event.part, dict):
            self._find_item(event).complete_part(event.index, event.part, out)
        elif kind == "response.output_text.annotation.added":
            self._find_item(event).add_citation(event.annotation, out)

    def build_partial(self) -> Message:
        """Return the message so far."""
        return Message(role="assistant", content=[*drop_cut_calls(self._build_parts())])

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` before the response's own end.
        """
        # An interrupted call is never reported as whole.
        if not self.finished:
            raise make_interrupted_error()
        for item in self._call_items:
            self._complete_arguments(item, _get_call_text(item.fields), out)
        self._calls.end(out)
        return Outcome(
            finish_reason=self._get_finish_reason(),
            provider_finish_reason=self._status,
            usage=self.usage,
            message=Message(role="assistant", content=self._build_parts()),
            model=self._model,
            request_id=self._response_id,
            provider_cost_usd=self.provider_cost_usd,
        )

    def _get_finish_reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self._status or "", "other")
        if reason != "stop":
            return reason
        if self._awaits_result():
            return "tool_calls"
        return "refusal" if any(item.is_refusal for item in self._items) else "stop"

    def _awaits_result(self) -> bool:
        """Return whether the caller must answer any call."""
        if self._route.tools is not None:
            return self._calls.has_tool_calls
        last = max((item.order for item in self._items if item.fields.get("type") == "message"), default=-1)
        # Not knowing which tools are the caller's: after one that the provider has run, the model goes on.
        return any(item.fields.get("type") != CUSTOM or item.order > last for item in self._call_items)

    def _build_parts(self) -> list[Part]:
        calls = dict(zip(self._call_items, list_parts(self._calls.build_message()), strict=True))
        parts: list[Part] = []
        for item in sorted(self._items, key=lambda item: item.order):
            parts.extend([calls[item]] if item in calls else list_parts(item.draft.build_message()))
        return parts

    # --- items

    def _find_item(self, event: _Event) -> OutputItem:
        """Return the item that *event* belongs to: the last one when the event names none."""
        item = self._get_item(event.output_index, event.item_id)
        if item is None and event.output_index is None and self._items:
            item = self._items[-1]
        return item or self._open_item(event.output_index, {"id": event.item_id}, [])

    def _get_item(self, index: int | None, item_id: object) -> OutputItem | None:
        # The index goes first: some servers change the id with every event.
        return self._by_id.get(read_text(item_id)) if index is None else self._by_index.get(index)

    def _open_item(self, index: int | None, fields: dict[str, Any], out: list[Chunk]) -> OutputItem:
        self._size.add_part()
        item = OutputItem(len(self._items) if index is None else index, fields, self._size)
        self._items.append(item)
        self._by_index[item.order] = item
        if item_id := read_text(fields.get("id")):
            self._by_id[item_id] = item
        self._begin_call(item, fields, out)
        return item

    def _begin_call(self, item: OutputItem, fields: dict[str, Any], out: list[Chunk]) -> None:
        if self._is_call(fields) and not self._calls.has_call(item):
            call_id = read_text(fields.get("call_id")) or read_text(fields.get("id"))
            self._call_items.append(item)
            self._calls.begin_call(item, call_id, read_text(fields.get("name")), out)

    def _close_item(self, index: int | None, whole: dict[str, Any], out: list[Chunk]) -> None:
        """Append what the events have left out of the *whole* item."""
        item = self._get_item(index, whole.get("id")) or self._open_item(index, whole, out)
        item.fields, item.closed = whole, True
        kind = read_text(whole.get("type"))
        if kind == "message":
            item.complete_parts(whole.get("content"), out)
            if item.chars and (phase := whole.get("phase")):
                item.draft.set_text_state(self._make_state({"phase": phase}))
        elif kind == "reasoning":
            item.complete_parts(item.pick_reasoning(whole), out)
            item.draft.set_reasoning_state(self._make_state(whole))
        elif self._is_call(whole) or self._calls.has_call(item):
            self._close_call(item, whole, out)
        elif kind:
            item.draft.add_opaque(kind, self._make_state(whole))

    def _is_call(self, fields: dict[str, Any]) -> bool:
        """Return whether an item calls a tool of the caller's: of its own tools, a provider makes custom calls too."""
        is_declared = self._route.tools is None or read_text(fields.get("name")) in self._route.tools
        return fields.get("type") == "function_call" or (fields.get("type") == CUSTOM and is_declared)

    def _close_call(self, item: OutputItem, whole: dict[str, Any], out: list[Chunk]) -> None:
        self._begin_call(item, whole, out)
        self._complete_arguments(item, _get_call_text(whole), out)
        extra = {key: value for key, value in whole.items() if key not in _CALL_FIELDS and value is not None}
        if whole.get("type") == CUSTOM:
            # A custom call goes back as a custom call, and so does its result.
            extra["type"] = CUSTOM
        if extra:
            self._calls.set_call_state(item, self._make_state(extra))
        self._calls.end_call(item, out)

    def _complete_arguments(self, item: OutputItem, arguments: object, out: list[Chunk]) -> None:
        """Append what the deltas have left out of the whole *arguments*."""
        text = encode_arguments(arguments)
        if self._calls.has_call(item) and text.startswith(so_far := self._calls.get_arguments_text(item)):
            self._calls.add_arguments(item, text[len(so_far) :], out)

    # --- the response

    def _take_head(self, response: dict[str, Any]) -> None:
        self._model = read_text(response.get("model")) or self._model
        self._response_id = read_text(response.get("id")) or self._response_id
        self._is_background = self._is_background or response.get("background") is True
        counts = response.get("usage")
        self._usage = counts if isinstance(counts, dict) else self._usage

    def finish(self, response: dict[str, Any], status: str, out: list[Chunk]) -> None:
        """Append what the events have left out of the whole *response*, and note how it ended.

        Raises: SidecarError when the response failed.
        """
        self._take_head(response)
        status = read_text(response.get("status")) or status
        if status == "failed" or response.get("error"):
            raise classify_in_stream(response)
        self._take_output(read_objects(response.get("output")), out)
        reason = read_object(response.get("incomplete_details")).get("reason")
        self._status = f"{status}:{reason}" if status == "incomplete" and reason else status
        self.finished = status in ("completed", "incomplete")

    def _take_output(self, output: list[dict[str, Any]], out: list[Chunk]) -> None:
        """Close the items of *output* that the events have left open, and open those that they have left out."""
        has_more = len(output) > len(self._items)
        for index, whole in enumerate(output):
            item, kind = self._by_index.get(index), whole.get("type")
            if item is None:
                # The id is checked because some servers number the items in another way in the events.
                is_missing = has_more and self._get_item(None, whole.get("id")) is None
            else:
                is_missing = not item.closed and item.fields.get("type", kind) == kind
            if is_missing:
                self._close_item(index, whole, out)

    def _make_state(self, data: dict[str, Any]) -> State:
        return make_state(self._route, data, self._model)


def _get_call_text(item: dict[str, Any]) -> object:
    """Return what the model has written for the call *item*: its input or its arguments."""
    return read_text(item.get("input")) if item.get("type") == CUSTOM else item.get("arguments")


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document.

    Raises: SidecarError for an error document or for anything that is not a response.
    """
    document = parse_json(body)
    if not isinstance(document, dict) or not (document.get("error") or isinstance(document.get("output"), list)):
        raise make_unexpected_body_error()
    decoder, out = Decoder(route), list[Chunk]()
    decoder.finish(document, "completed", out)
    return decoder, out
