"""Anthropic's Messages API, `POST /v1/messages`: its event stream and its whole replies. [pure]

Must not know the request or the meaning of an error. Sources: anthropic 2.11.0
(`lib/streaming/_messages.py`, `types/raw_*_event.py`), read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import Citation, FinishReason, Message, State, Usage
from protocol.replies import Chunk
from sidecar.codecs.frame import Frame
from sidecar.core.json_values import parse_json, read_text
from sidecar.wires.anthropic_messages.errors import classify_in_stream
from sidecar.wires.anthropic_messages.usage import read_usage
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unexpected_body_error
from sidecar.wires.shared.state import make_state
from sidecar.wires.shared.types import Outcome, Route

CODEC = "sse"


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    content: Any = None
    encrypted_content: Any = None


class _Message(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    model: str | None = None
    content: list[dict[str, Any]] | None = None
    stop_reason: str | None = None
    usage: dict[str, Any] | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    index: int | None = None
    delta: _Delta | None = None
    content_block: dict[str, Any] | None = None
    message: _Message | str | None = None
    """The message itself, or the text of an error that has no envelope."""
    usage: dict[str, Any] | None = None
    error: Any = None
    code: Any = None
    """The status of an error that has no envelope."""
    request_id: Any = None


_event_reader = msgspec.json.Decoder(_Event)
_message_reader = msgspec.json.Decoder(_Message)

FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "paused",
    "refusal": "refusal",
}

_TOOL_USE_FIELDS = frozenset({"type", "id", "name", "input"})


class Decoder:
    """Events of one message. It tolerates deltas without a start and blocks without a stop."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._draft = Draft(route)
        self._model = route.model
        self._message_id: str | None = None
        self._stop_reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._opaque_blocks: dict[int, dict[str, Any]] = {}
        """Open blocks that the protocol has no part for, by index."""
        self._opaque_json: dict[int, list[str]] = {}
        """Fragments of their `input`, by index."""
        self._citations: list[dict[str, Any]] = []

    @property
    def answer_chars(self) -> int:
        """How many characters of the answer have come."""
        return self._draft.answer_chars

    @property
    def usage(self) -> Usage | None:
        """The usage so far."""
        return read_usage(self._usage) if self._usage else None

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append the chunks of one event to *out*.

        Raises: SidecarError for an error event or one that cannot be read.
        """
        if self.finished:
            return
        try:
            event = _event_reader.decode(frame[1])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise make_bad_event_error() from None
        delta = event.delta
        if delta is not None and delta.type == "text_delta":
            self._draft.add_text(delta.text or "", out)
        else:
            # The name on the event's own line stands in for a type that the payload lacks, or has of the error.
            self._take_event("error" if frame[0] == "error" else event.type or frame[0], event, out)

    def _take_event(self, kind: str, event: _Event, out: list[Chunk]) -> None:
        delta = event.delta
        if kind == "content_block_delta":
            if delta is not None:
                self._take_delta(event.index or 0, delta, out)
        elif kind == "content_block_start":
            self._begin_block(event.index or 0, event.content_block or {}, out)
        elif kind == "content_block_stop":
            self._end_block(event.index or 0, out)
        elif kind == "message_start":
            self.take_message(event.message if isinstance(event.message, _Message) else _Message(), out)
        elif kind == "message_delta":
            self._stop_reason = (delta and delta.stop_reason) or self._stop_reason
            self._add_usage(event.usage)
        elif kind == "message_stop":
            self.finished = True
        elif kind == "error" or event.error is not None:
            bare = {"message": event.message, "type": event.type if event.type != "error" else None, "code": event.code}
            raise classify_in_stream({"error": event.error or bare, "request_id": event.request_id})

    def build_partial(self) -> Message:
        """Return the message so far."""
        return self._draft.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` before `message_stop`.
        """
        # An interrupted call is never reported as whole.
        if not self.finished:
            raise make_interrupted_error()
        for index in list(self._opaque_blocks):
            self._end_block(index, out)
        self._draft.end(out)
        stop_reason = self._stop_reason
        return Outcome(
            finish_reason=FINISH_REASONS.get(stop_reason or "", "other"),
            provider_finish_reason=stop_reason,
            usage=self.usage,
            message=self._draft.build_message(),
            model=self._model,
            request_id=self._message_id,
        )

    def take_message(self, message: _Message, out: list[Chunk]) -> None:
        """Append the chunks of *message* to *out*: the head of a stream, or a reply that was not streamed."""
        self._model = message.model or self._model
        self._message_id = message.id
        self._stop_reason = message.stop_reason
        self._add_usage(message.usage)
        # The head of a stream may hold whole blocks too.
        for index, block in enumerate(message.content or ()):
            self._begin_block(-1 - index, block, out)
            self._end_block(-1 - index, out)

    def _add_usage(self, raw: dict[str, Any] | None) -> None:
        # The counts of an event are totals; one that is missing or null stays as it was.
        self._usage |= {key: value for key, value in (raw or {}).items() if value is not None}

    # --- blocks

    def _begin_block(self, index: int, block: dict[str, Any], out: list[Chunk]) -> None:
        kind = read_text(block.get("type"))
        draft = self._draft
        draft.close_block()
        if kind == "text":
            self._citations = []
            draft.add_text(read_text(block.get("text")), out)
            citations = block.get("citations")
            for citation in citations if isinstance(citations, list) else ():
                self._add_citation(citation, out)
        elif kind == "thinking":
            draft.add_reasoning(read_text(block.get("thinking")), out)
            self._set_signature(block.get("signature"))
        elif kind == "redacted_thinking":
            draft.set_reasoning_state(self._make_state({"data": block.get("data")}))
        elif kind == "tool_use":
            self._begin_call(index, block, out)
        elif kind:
            self._opaque_blocks[index] = block

    def _begin_call(self, index: int, block: dict[str, Any], out: list[Chunk]) -> None:
        draft = self._draft
        draft.begin_call(index, read_text(block.get("id")), read_text(block.get("name")), out)
        if block.get("input"):
            draft.add_arguments(index, msgspec.json.encode(block["input"]).decode(), out)
        # A call by the code of a server tool says who calls: the next turn is refused without it.
        if extra := {key: value for key, value in block.items() if key not in _TOOL_USE_FIELDS and value is not None}:
            draft.set_call_state(index, self._make_state(extra))

    def _take_delta(self, index: int, delta: _Delta, out: list[Chunk]) -> None:
        draft = self._draft
        if delta.type == "input_json_delta":
            if draft.has_call(index):
                draft.add_arguments(index, delta.partial_json or "", out)
            else:
                self._opaque_json.setdefault(index, []).append(delta.partial_json or "")
        elif delta.type == "thinking_delta":
            draft.add_reasoning(delta.thinking or "", out)
        elif delta.type == "signature_delta":
            self._set_signature(delta.signature)
        elif delta.type == "citations_delta":
            self._add_citation(delta.citation, out)
        elif delta.type == "compaction_delta" and index in self._opaque_blocks:
            fields = {"content": delta.content, "encrypted_content": delta.encrypted_content}
            self._opaque_blocks[index] |= {key: value for key, value in fields.items() if value is not None}

    def _end_block(self, index: int, out: list[Chunk]) -> None:
        draft = self._draft
        fragments = self._opaque_json.pop(index, None)
        if draft.has_call(index):
            draft.end_call(index, out)
        elif (block := self._opaque_blocks.pop(index, None)) is not None:
            if fragments:
                block = block | {"input": parse_json("".join(fragments).encode()) or {}}
            draft.add_opaque(block["type"], self._make_state(block))
        draft.close_block()

    def _set_signature(self, signature: object) -> None:
        # A signature is always whole, so a later one replaces an earlier one.
        if signature:
            self._draft.set_reasoning_state(self._make_state({"signature": signature}))

    def _add_citation(self, raw: object, out: list[Chunk]) -> None:
        if not isinstance(raw, dict):
            return
        self._citations.append(raw)
        self._draft.add_citation(
            Citation(
                url=read_text(raw.get("url")) or read_text(raw.get("source")) or None,
                title=read_text(raw.get("title")) or read_text(raw.get("document_title")) or None,
                cited_text=read_text(raw.get("cited_text")) or None,
            ),
            out,
        )
        if len(self._citations) == 1:
            # The state has the list itself, to which the others of this text are added.
            self._draft.set_text_state(self._make_state({"citations": self._citations}))

    def _make_state(self, data: dict[str, Any]) -> State:
        return make_state(self._route, data, self._model)


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document.

    Raises: SidecarError for an error document or for anything that is not a message.
    """
    document = parse_json(body)
    if isinstance(document, dict) and document.get("error"):
        raise classify_in_stream(document)
    try:
        message = _message_reader.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_unexpected_body_error() from None
    if message.type != "message":
        raise make_unexpected_body_error()
    decoder, out = Decoder(route), list[Chunk]()
    decoder.take_message(message, out)
    decoder.finished = message.stop_reason is not None
    return decoder, out
