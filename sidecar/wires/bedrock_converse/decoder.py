"""Amazon Bedrock's Converse API, `POST /model/{id}/converse-stream`. [pure]

Knows its events and its whole replies; the request is built by `bedrock_converse_request`. Source:
botocore 1.44.5 (`bedrock-runtime/2023-09-30/service-2.json`), read 2026-11.
"""

import binascii
from typing import Any

import msgspec

from protocol.messages import Citation, FinishReason, Message, State, Usage
from protocol.replies import Chunk
from sidecar.codecs.frame import Frame
from sidecar.core.json_values import parse_json
from sidecar.wires.bedrock_converse.errors import classify, in_stream, no_message
from sidecar.wires.bedrock_converse.models import PROFILES_PATH, pick_profile
from sidecar.wires.bedrock_converse.request import encode, whole_request
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unexpected_body_error
from sidecar.wires.shared.types import Outcome, Route

__all__ = [
    "CODEC",
    "PROFILES_PATH",
    "Decoder",
    "classify",
    "decode_whole",
    "encode",
    "pick_profile",
    "whole_request",
]

CODEC = "aws_eventstream"

# --- stream ----------------------------------------------------------------------------------


class _ToolUse(msgspec.Struct):
    input: str | None = None


class _Delta(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: Any = None
    citation: Any = None
    tool_result: Any = None
    image: Any = None


class _Event(msgspec.Struct, rename="camel"):
    content_block_index: int | None = None
    start: Any = None
    delta: _Delta | None = None
    stop_reason: str | None = None
    usage: Any = None
    trace: Any = None


class _Whole(msgspec.Struct, rename="camel"):
    """A reply that was not streamed."""

    output: Any = None
    stop_reason: str | None = None
    usage: Any = None
    trace: Any = None


_event = msgspec.json.Decoder(_Event)
_whole = msgspec.json.Decoder(_Whole)

_EVENTS = frozenset({"contentBlockStart", "contentBlockStop", "messageStop", "metadata"})
"""The events that say something, beside the deltas."""


def _read(data: bytes) -> _Event:
    try:
        return _event.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_bad_event_error() from None


FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "paused",
    "refusal": "refusal",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}


class Decoder:
    """Events of one message. Blocks begin with their first delta when they have no start, as texts never have."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._draft = Draft(route.seed)
        self._model = route.model
        self._stopped = False
        self._stop_reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._index: int | None = None
        """The block that the open text or reasoning belongs to."""
        self._signature = ""
        """What vouches for the open reasoning, as far as it has come."""
        self._own: dict[int, dict[str, Any]] = {}
        """Open blocks of the provider's own, by index."""
        self._own_input: dict[int, list[str]] = {}

    @property
    def usage(self) -> Usage | None:
        """The usage known so far."""
        return usage(self._usage) if self._usage else None

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append what one event says to *out*.

        Raises: SidecarError for an exception or an event that cannot be read.
        """
        if self.finished:
            return
        name, data = frame
        if name == "contentBlockDelta":
            event = _read(data)
            if event.delta is not None:
                self._delta(event.content_block_index or 0, event.delta, out)
        elif name in _EVENTS:
            self._other(name, _read(data), out)
        elif (kind := name.partition(":"))[0] in ("exception", "error"):
            raise in_stream(kind[2], data)

    def _other(self, name: str, event: _Event, out: list[Chunk]) -> None:
        if name == "contentBlockStart":
            self._block_start(event.content_block_index or 0, _object(event.start), out)
        elif name == "contentBlockStop":
            self._block_stop(event.content_block_index or 0, out)
        elif name == "messageStop":
            self._stopped = True
            self._stop_reason = event.stop_reason or self._stop_reason
        else:
            self._metadata(event.usage, event.trace)
            # It follows the stop, and with it everything is said.
            self.finished = self._stopped

    def build_partial(self) -> Message:
        """Return the message as far as it has come."""
        return self._draft.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome, also of a stream whose metadata never came.

        Raises: SidecarError `stream_interrupted` before `messageStop`.
        """
        # A call that was cut is never given out as whole.
        if not self._stopped:
            raise make_interrupted_error()
        for index in list(self._own):
            self._block_stop(index, out)
        self._draft.end(out)
        reason = self._stop_reason
        return Outcome(
            finish_reason=FINISH_REASONS.get(reason or "", "other"),
            provider_finish_reason=reason,
            usage=self.usage,
            message=self._draft.build_message(),
            model=self._model,
        )

    def _metadata(self, raw_usage: object, trace: object) -> None:
        self._usage |= {key: value for key, value in _object(raw_usage).items() if value is not None}
        # A prompt router says which model it has chosen.
        self._model = _text(_object(_object(trace).get("promptRouter")).get("invokedModelId")) or self._model

    def _enter(self, index: int | None) -> None:
        if index != self._index:
            self._index = index
            self._signature = ""
            self._draft.close_block()

    def _block_start(self, index: int, start: dict[str, Any], out: list[Chunk]) -> None:
        self._enter(index)
        for kind, value in start.items():
            block = _object(value)
            if kind == "toolUse" and block and block.get("type") in (None, "tool_use"):
                self._draft.begin_call(index, _text(block.get("toolUseId")), _text(block.get("name")), out)
            elif block:
                # A tool that runs at the provider, its result, an image.
                self._own[index] = {kind: dict(block)}

    def _delta(self, index: int, delta: _Delta, out: list[Chunk]) -> None:
        self._enter(index)
        if delta.text is not None:
            self._draft.add_text(delta.text, out)
        elif delta.tool_use is not None:
            self._tool_delta(index, delta.tool_use.input or "", out)
        elif delta.reasoning_content is not None:
            self._reasoning(_object(delta.reasoning_content), out)
        elif delta.citation is not None:
            self._draft.add_citation(_citation(_object(delta.citation)), out)
        elif index in self._own:
            self._own_delta(self._own[index], delta)

    def _tool_delta(self, index: int, fragment: str, out: list[Chunk]) -> None:
        if index in self._own:
            self._own_input.setdefault(index, []).append(fragment)
        elif self._draft.has_call(index):
            self._draft.add_arguments(index, fragment, out)

    def _reasoning(self, raw: dict[str, Any], out: list[Chunk]) -> None:
        if text := _text(raw.get("text")):
            self._draft.add_reasoning(text, out)
        if signature := _text(raw.get("signature")):
            self._signature += signature
            self._draft.set_reasoning_state(self._state({"signature": self._signature}))
        if redacted := _text(raw.get("redactedContent")):
            self._signature = _joined(self._signature, redacted)
            self._draft.set_reasoning_state(self._state({"redactedContent": self._signature}))

    def _own_delta(self, block: dict[str, Any], delta: _Delta) -> None:
        if isinstance(delta.tool_result, list) and "toolResult" in block:
            block["toolResult"].setdefault("content", []).extend(delta.tool_result)
        elif delta.image is not None and "image" in block:
            source = _object(_object(delta.image).get("source"))
            known = _object(block["image"].get("source"))
            block["image"]["source"] = {"bytes": _joined(_text(known.get("bytes")), _text(source.get("bytes")))}

    def _block_stop(self, index: int, out: list[Chunk]) -> None:
        if self._draft.has_call(index):
            self._draft.end_call(index, out)
        elif (block := self._own.pop(index, None)) is not None:
            if "toolUse" in block:
                text = "".join(self._own_input.pop(index, ()))
                block["toolUse"].setdefault("input", _object(parse_json(text.encode())))
            self._draft.add_opaque(next(iter(block)), self._state(block))
        if index == self._index:
            self._enter(None)

    def _state(self, data: dict[str, Any]) -> State:
        return State(provider=self._route.provider, wire=self._route.wire, model=self._route.model, data=data)

    def _read_whole(self, whole: _Whole, out: list[Chunk]) -> None:
        content = _object(_object(whole.output).get("message")).get("content")
        for index, block in enumerate(_objects(content)):
            self._whole_block(index, block, out)
            self._block_stop(index, out)
        self._metadata(whole.usage, whole.trace)
        self._stop_reason = whole.stop_reason
        self.finished = self._stopped = whole.stop_reason is not None

    def _whole_block(self, index: int, block: dict[str, Any], out: list[Chunk]) -> None:
        self._enter(index)
        if (text := block.get("text")) is not None:
            self._draft.add_text(_text(text), out)
        elif reasoning := _object(block.get("reasoningContent")):
            self._reasoning(reasoning | _object(reasoning.get("reasoningText")), out)
        elif cited := _object(block.get("citationsContent")):
            self._draft.add_text("".join(_text(each.get("text")) for each in _objects(cited.get("content"))), out)
            for citation in _objects(cited.get("citations")):
                self._draft.add_citation(_citation(citation), out)
        else:
            self._block_start(index, block, out)
            arguments = _object(block.get("toolUse")).get("input")
            if arguments and self._draft.has_call(index):
                self._draft.add_arguments(index, msgspec.json.encode(arguments).decode(), out)


def _text(value: object) -> str:
    """Return *value* when it is text, "" for whatever else a provider may have put there."""
    return value if isinstance(value, str) else ""


def _object(value: object) -> dict[str, Any]:
    """Return *value* when it is an object, {} for whatever else a provider may have put there."""
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    """Return the objects in *value*, when it is a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _joined(first: str, second: str) -> str:
    """Return two pieces of base64, each of which may be padded, as one."""
    if not first:
        return second
    try:
        whole = binascii.a2b_base64(first) + binascii.a2b_base64(second)
    except binascii.Error:
        return first + second
    return binascii.b2a_base64(whole, newline=False).decode()


def _citation(raw: dict[str, Any]) -> Citation:
    web = _object(_object(raw.get("location")).get("web"))
    cited = "".join(_text(each.get("text")) for each in _objects(raw.get("sourceContent")))
    return Citation(
        url=_text(web.get("url")) or _text(raw.get("source")) or None,
        title=_text(raw.get("title")) or None,
        cited_text=cited or None,
    )


def usage(raw: dict[str, Any]) -> Usage:
    """Return the provider's counts in the protocol's meaning: its `inputTokens` leaves out what touched the cache."""
    fresh, read, write = (
        _count(raw.get(key)) for key in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    )
    details = raw.get("cacheDetails")
    hour = [_count(each.get("inputTokens")) or 0 for each in _objects(details) if each.get("ttl") == "1h"]
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (write or 0),
        output_tokens=_count(raw.get("outputTokens")),
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=sum(hour) if isinstance(details, list) else None,
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document.

    Raises: SidecarError for an error document or for anything that is no message.
    """
    try:
        whole = _whole.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_unexpected_body_error() from None
    if not isinstance(whole.output, dict) or "message" not in whole.output:
        raise no_message(body)
    decoder, out = Decoder(route), list[Chunk]()
    decoder._read_whole(whole, out)  # noqa: SLF001 - same module
    return decoder, out
