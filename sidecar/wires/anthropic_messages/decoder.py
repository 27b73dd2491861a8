"""Anthropic's Messages API, `POST /v1/messages`. [pure]

Knows its event stream, its whole replies and its error bodies; the request is built by
`anthropic_request`. Sources: anthropic 2.11.0 (`lib/streaming/_messages.py`,
`types/raw_*_event.py`, `types/shared/error_type.py`), read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import Citation, FinishReason, Message, State, Usage
from protocol.replies import Chunk
from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import parse_json
from sidecar.wires.anthropic_messages.request import encode
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.error_rules import (
    ReportedError,
    Rule,
    classify_error,
    classify_stream_error,
    list_codes,
    read_plain_text,
)
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unexpected_body_error
from sidecar.wires.shared.types import Outcome, Route

__all__ = ["CODEC", "Decoder", "classify", "decode_whole", "encode"]

CODEC = "sse"

# --- stream ----------------------------------------------------------------------------------


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
    """The message itself, or the text of an error that stands without its envelope."""
    usage: dict[str, Any] | None = None
    error: Any = None
    request_id: Any = None


_event = msgspec.json.Decoder(_Event)
_whole = msgspec.json.Decoder(_Message)

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
    """Events of one message. Tolerates deltas without their start and blocks without their stop."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._draft = Draft(route.seed)
        self._model = route.model
        self._message_id: str | None = None
        self._stop_reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        """Open blocks of the provider's own, by index."""
        self._block_json: dict[int, list[str]] = {}
        self._citations: list[dict[str, Any]] = []

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
            raise make_bad_event_error() from None
        delta = event.delta
        if delta is not None and delta.type == "text_delta":
            self._draft.add_text(delta.text or "", out)
        else:
            # The name on the event's own line stands in for a type that the payload lacks.
            self._other(event.type or frame[0], event, out)

    def _other(self, kind: str, event: _Event, out: list[Chunk]) -> None:
        delta = event.delta
        if kind == "content_block_delta":
            if delta is not None:
                self._block_delta(event.index or 0, delta, out)
        elif kind == "content_block_start":
            self._block_start(event.index or 0, event.content_block or {}, out)
        elif kind == "content_block_stop":
            self._block_stop(event.index or 0, out)
        elif kind == "message_start":
            self._message(event.message if isinstance(event.message, _Message) else _Message(), out)
        elif kind == "message_delta":
            self._stop_reason = (delta and delta.stop_reason) or self._stop_reason
            self._add_usage(event.usage)
        elif kind == "message_stop":
            self.finished = True
        elif kind == "error" or event.error is not None:
            raise _in_stream({"error": event.error, "message": event.message, "request_id": event.request_id})

    def build_partial(self) -> Message:
        """Return the message as far as it has come."""
        return self._draft.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` before `message_stop`.
        """
        # A call that was cut is never given out as whole.
        if not self.finished:
            raise make_interrupted_error()
        for index in list(self._blocks):
            self._block_stop(index, out)
        self._draft.end(out)
        reason = self._stop_reason
        return Outcome(
            finish_reason=FINISH_REASONS.get(reason or "", "other"),
            provider_finish_reason=reason,
            usage=self.usage,
            message=self._draft.build_message(),
            model=self._model,
            request_id=self._message_id,
        )

    def _message(self, message: _Message, out: list[Chunk]) -> None:
        self._model = message.model or self._model
        self._message_id = message.id
        self._stop_reason = message.stop_reason
        self._add_usage(message.usage)
        # The message may begin with whole blocks, and a reply that was not streamed is nothing else.
        for index, block in enumerate(message.content or ()):
            self._block_start(-1 - index, block, out)
            self._block_stop(-1 - index, out)

    def _add_usage(self, raw: dict[str, Any] | None) -> None:
        # The counts of an event are totals; what it leaves out or sends as null stays as it was.
        self._usage |= {key: value for key, value in (raw or {}).items() if value is not None}

    def _block_start(self, index: int, block: dict[str, Any], out: list[Chunk]) -> None:
        kind = _text(block.get("type"))
        draft = self._draft
        draft.close_block()
        if kind == "text":
            self._citations = []
            draft.add_text(_text(block.get("text")), out)
            citations = block.get("citations")
            for citation in citations if isinstance(citations, list) else ():
                self._citation(citation, out)
        elif kind == "thinking":
            draft.add_reasoning(_text(block.get("thinking")), out)
            self._signature(block.get("signature"))
        elif kind == "redacted_thinking":
            draft.set_reasoning_state(self._state({"data": block.get("data")}))
        elif kind == "tool_use":
            self._tool_use(index, block, out)
        elif kind:
            self._blocks[index] = block

    def _tool_use(self, index: int, block: dict[str, Any], out: list[Chunk]) -> None:
        draft = self._draft
        draft.begin_call(index, _text(block.get("id")), _text(block.get("name")), out)
        if block.get("input"):
            draft.add_arguments(index, msgspec.json.encode(block["input"]).decode(), out)
        # Who calls, when it is the code of a server tool: the next turn is refused without it.
        if extra := {key: value for key, value in block.items() if key not in _TOOL_USE_FIELDS and value is not None}:
            draft.set_call_state(index, self._state(extra))

    def _block_delta(self, index: int, delta: _Delta, out: list[Chunk]) -> None:
        draft = self._draft
        if delta.type == "input_json_delta":
            if draft.has_call(index):
                draft.add_arguments(index, delta.partial_json or "", out)
            else:
                self._block_json.setdefault(index, []).append(delta.partial_json or "")
        elif delta.type == "thinking_delta":
            draft.add_reasoning(delta.thinking or "", out)
        elif delta.type == "signature_delta":
            self._signature(delta.signature)
        elif delta.type == "citations_delta":
            self._citation(delta.citation, out)
        elif delta.type == "compaction_delta" and index in self._blocks:
            whole = {"content": delta.content, "encrypted_content": delta.encrypted_content}
            self._blocks[index] |= {key: value for key, value in whole.items() if value is not None}

    def _block_stop(self, index: int, out: list[Chunk]) -> None:
        draft = self._draft
        fragments = self._block_json.pop(index, None)
        if draft.has_call(index):
            draft.end_call(index, out)
        elif (block := self._blocks.pop(index, None)) is not None:
            if fragments:
                block = block | {"input": parse_json("".join(fragments).encode()) or {}}
            draft.add_opaque(block["type"], self._state(block))
        draft.close_block()

    def _signature(self, signature: object) -> None:
        # It comes whole, so a later one replaces an earlier.
        if signature:
            self._draft.set_reasoning_state(self._state({"signature": signature}))

    def _citation(self, raw: object, out: list[Chunk]) -> None:
        if not isinstance(raw, dict):
            return
        self._citations.append(raw)
        self._draft.add_citation(
            Citation(
                url=_text(raw.get("url")) or _text(raw.get("source")) or None,
                title=_text(raw.get("title")) or _text(raw.get("document_title")) or None,
                cited_text=_text(raw.get("cited_text")) or None,
            ),
            out,
        )
        self._draft.set_text_state(self._state({"citations": list(self._citations)}))

    def _state(self, data: dict[str, Any]) -> State:
        return State(provider=self._route.provider, wire=self._route.wire, model=self._model, data=data)


def _text(value: object) -> str:
    """Return *value* when it is text, "" for whatever else a provider may have put there."""
    return value if isinstance(value, str) else ""


def usage(raw: dict[str, Any]) -> Usage:
    """Return the provider's counts in the protocol's meaning: its `input_tokens` leaves out what touched the cache."""
    fresh, read, write = (
        _count(raw.get(key)) for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (write or 0),
        output_tokens=_count(raw.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=_count(_within(raw, "cache_creation", "ephemeral_1h_input_tokens")),
        reasoning_tokens=_count(_within(raw, "output_tokens_details", "thinking_tokens")),
    )


def _within(raw: dict[str, Any], group: str, key: str) -> object:
    details = raw.get(group)
    return details.get(key) if isinstance(details, dict) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document.

    Raises: SidecarError for an error document or for anything that is no message.
    """
    raw = parse_json(body)
    if isinstance(raw, dict) and raw.get("error"):
        raise _in_stream(raw)
    try:
        message = _whole.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_unexpected_body_error() from None
    if message.type != "message":
        raise make_unexpected_body_error()
    decoder, out = Decoder(route), list[Chunk]()
    decoder._message(message, out)  # noqa: SLF001 - same module
    decoder.finished = message.stop_reason is not None
    return decoder, out


# --- errors ----------------------------------------------------------------------------------

_SPEND = Rule("quota_exceeded", hint="A spend limit of the organization is reached.")

ERRORS: dict[str, Rule] = {
    "authentication_error": Rule("auth_failed"),
    "permission_error": Rule("permission_denied"),
    "billing_error": Rule("quota_exceeded"),
    "not_found_error": Rule("model_not_found"),
    "request_too_large": Rule("invalid_request"),
    "rate_limit_error": Rule("rate_limited"),
    "overloaded_error": Rule("provider_overloaded"),
    "api_error": Rule("provider_error"),
    "timeout_error": Rule("provider_error"),
    "enforced_spend_limit_reached": _SPEND,
    "contract_spend_limit_reached": _SPEND,
    "organization_on_hold": Rule("permission_denied"),
}
"""By `error.details.error_code`, then `error.type`. Source: anthropic 2.11.0 `types/shared/error_type.py`."""


def classify(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    """Return the failure of an HTTP error reply."""
    raw = parse_json(body)
    if isinstance(raw, list) and raw:
        # So do platforms that host the models where they fail themselves.
        raw = raw[0]
    fault = _fault(raw) if isinstance(raw, dict) else ReportedError(message=read_plain_text(body))
    return classify_error(fault, status, headers, ERRORS)


def _in_stream(raw: dict[str, Any]) -> SidecarError:
    """Return the failure of an error inside a reply of status 200."""
    return classify_stream_error(_fault(raw), ERRORS)


def _fault(raw: dict[str, Any]) -> ReportedError:
    error = raw.get("error")
    if not isinstance(error, dict):
        return ReportedError(message=_text(error) or _text(raw.get("message")))
    return ReportedError(
        message=_text(error.get("message")),
        codes=list_codes(_within(error, "details", "error_code"), error.get("type"), error.get("status")),
        request_id=_text(raw.get("request_id")) or None,
    )
