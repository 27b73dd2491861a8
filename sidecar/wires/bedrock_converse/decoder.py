"""Amazon Bedrock's Converse API, `POST /model/{id}/converse-stream`: its event stream and its whole replies. [pure]

Must not know the request or the meaning of an error. Source: botocore 1.44.5
(`bedrock-runtime/2023-09-30/service-2.json`), read 2026-11.
"""

import binascii
from typing import Any

import msgspec

from protocol.messages import Citation, FinishReason, Message, State, Usage
from protocol.replies import Chunk
from sidecar.codecs.frame import Frame
from sidecar.core.json_values import parse_json, read_object, read_objects, read_text
from sidecar.wires.bedrock_converse.errors import classify_document, classify_in_stream
from sidecar.wires.bedrock_converse.usage import read_usage
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unexpected_body_error
from sidecar.wires.shared.state import make_state
from sidecar.wires.shared.types import Outcome, Route

CODEC = "aws_eventstream"


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


class WholeReply(msgspec.Struct, rename="camel"):
    """A reply that was not streamed."""

    output: Any = None
    stop_reason: str | None = None
    usage: Any = None
    trace: Any = None


_event_reader = msgspec.json.Decoder(_Event)
_reply_reader = msgspec.json.Decoder(WholeReply)

_EVENTS = frozenset({"contentBlockStart", "contentBlockStop", "messageStop", "metadata"})
"""The events that matter, beside the deltas."""


def _read_event(data: bytes) -> _Event:
    try:
        return _event_reader.decode(data)
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
    """Events of one message. A block without a start begins with its first delta; text blocks never have a start."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._draft = Draft(route)
        self._model = route.model
        self._stopped = False
        self._stop_reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._index: int | None = None
        """The block that the open text or reasoning belongs to."""
        self._signature = ""
        """The signature of the open reasoning so far."""
        self._opaque_blocks: dict[int, dict[str, Any]] = {}
        """Open blocks that the protocol has no part for, by index."""
        self._opaque_json: dict[int, list[str]] = {}
        """Fragments of their `input`, by index."""

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

        Raises: SidecarError for an exception or an event that cannot be read.
        """
        if self.finished:
            return
        name, data = frame
        if name == "contentBlockDelta":
            event = _read_event(data)
            if event.delta is not None:
                self._take_delta(event.content_block_index or 0, event.delta, out)
        elif name in _EVENTS:
            self._take_event(name, _read_event(data), out)
        elif (kind := name.partition(":"))[0] in ("exception", "error"):
            raise classify_in_stream(kind[2], data)

    def _take_event(self, name: str, event: _Event, out: list[Chunk]) -> None:
        if name == "contentBlockStart":
            self._begin_block(event.content_block_index or 0, read_object(event.start), out)
        elif name == "contentBlockStop":
            self._end_block(event.content_block_index or 0, out)
        elif name == "messageStop":
            self._stopped = True
            self._stop_reason = event.stop_reason or self._stop_reason
        else:
            self._take_metadata(event.usage, event.trace)
            # The metadata follow the stop and are the last event.
            self.finished = self._stopped

    def build_partial(self) -> Message:
        """Return the message so far."""
        return self._draft.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome, even of a stream whose metadata never came.

        Raises: SidecarError `stream_interrupted` before `messageStop`.
        """
        # An interrupted call is never reported as whole.
        if not self._stopped:
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
        )

    def take_reply(self, reply: WholeReply, out: list[Chunk]) -> None:
        """Append the chunks of a reply that was not streamed to *out*."""
        content = read_object(read_object(reply.output).get("message")).get("content")
        for index, block in enumerate(read_objects(content)):
            self._take_block(index, block, out)
            self._end_block(index, out)
        self._take_metadata(reply.usage, reply.trace)
        self._stop_reason = reply.stop_reason
        self.finished = self._stopped = reply.stop_reason is not None

    def _take_metadata(self, usage: object, trace: object) -> None:
        self._usage |= {key: value for key, value in read_object(usage).items() if value is not None}
        # A prompt router says which model it has chosen.
        router = read_object(read_object(trace).get("promptRouter"))
        self._model = read_text(router.get("invokedModelId")) or self._model

    # --- blocks

    def _enter_block(self, index: int | None) -> None:
        if index != self._index:
            self._index = index
            self._signature = ""
            self._draft.close_block()

    def _begin_block(self, index: int, start: dict[str, Any], out: list[Chunk]) -> None:
        self._enter_block(index)
        for kind, value in start.items():
            block = read_object(value)
            if kind == "toolUse" and block and block.get("type") in (None, "tool_use"):
                self._draft.begin_call(index, read_text(block.get("toolUseId")), read_text(block.get("name")), out)
            elif block:
                # A tool that runs at the provider, its result, or an image.
                self._opaque_blocks[index] = {kind: dict(block)}

    def _take_delta(self, index: int, delta: _Delta, out: list[Chunk]) -> None:
        self._enter_block(index)
        if delta.text is not None:
            self._draft.add_text(delta.text, out)
        elif delta.tool_use is not None:
            self._add_arguments(index, delta.tool_use.input or "", out)
        elif delta.reasoning_content is not None:
            self._add_reasoning(read_object(delta.reasoning_content), out)
        elif delta.citation is not None:
            self._draft.add_citation(_read_citation(read_object(delta.citation)), out)
        elif index in self._opaque_blocks:
            _extend_opaque_block(self._opaque_blocks[index], delta)

    def _add_arguments(self, index: int, fragment: str, out: list[Chunk]) -> None:
        if index in self._opaque_blocks:
            self._opaque_json.setdefault(index, []).append(fragment)
        elif self._draft.has_call(index):
            self._draft.add_arguments(index, fragment, out)

    def _add_reasoning(self, raw: dict[str, Any], out: list[Chunk]) -> None:
        if text := read_text(raw.get("text")):
            self._draft.add_reasoning(text, out)
        if signature := read_text(raw.get("signature")):
            self._signature += signature
            self._draft.set_reasoning_state(self._make_state({"signature": self._signature}))
        if redacted := read_text(raw.get("redactedContent")):
            self._signature = _join_base64(self._signature, redacted)
            self._draft.set_reasoning_state(self._make_state({"redactedContent": self._signature}))

    def _end_block(self, index: int, out: list[Chunk]) -> None:
        if self._draft.has_call(index):
            self._draft.end_call(index, out)
        elif (block := self._opaque_blocks.pop(index, None)) is not None:
            if "toolUse" in block:
                text = "".join(self._opaque_json.pop(index, ()))
                block["toolUse"].setdefault("input", read_object(parse_json(text.encode())))
            self._draft.add_opaque(next(iter(block)), self._make_state(block))
        if index == self._index:
            self._enter_block(None)

    def _take_block(self, index: int, block: dict[str, Any], out: list[Chunk]) -> None:
        """Append the chunks of a block that came whole to *out*."""
        self._enter_block(index)
        if (text := block.get("text")) is not None:
            self._draft.add_text(read_text(text), out)
        elif reasoning := read_object(block.get("reasoningContent")):
            self._add_reasoning(reasoning | read_object(reasoning.get("reasoningText")), out)
        elif cited := read_object(block.get("citationsContent")):
            self._draft.add_text(_join_texts(cited.get("content")), out)
            for citation in read_objects(cited.get("citations")):
                self._draft.add_citation(_read_citation(citation), out)
        else:
            self._begin_block(index, block, out)
            arguments = read_object(block.get("toolUse")).get("input")
            if arguments and self._draft.has_call(index):
                self._draft.add_arguments(index, msgspec.json.encode(arguments).decode(), out)

    def _make_state(self, data: dict[str, Any]) -> State:
        return make_state(self._route, data)


def _extend_opaque_block(block: dict[str, Any], delta: _Delta) -> None:
    if isinstance(delta.tool_result, list) and "toolResult" in block:
        block["toolResult"].setdefault("content", []).extend(delta.tool_result)
    elif delta.image is not None and "image" in block:
        before = read_object(block["image"].get("source"))
        added = read_object(read_object(delta.image).get("source"))
        data = _join_base64(read_text(before.get("bytes")), read_text(added.get("bytes")))
        block["image"]["source"] = {"bytes": data}


def _join_base64(first: str, second: str) -> str:
    """Return two pieces of base64, each of which may be padded, as one."""
    if not first:
        return second
    try:
        data = binascii.a2b_base64(first) + binascii.a2b_base64(second)
    except ValueError:  # `binascii.Error` among them, and text that is not ASCII.
        return first + second
    return binascii.b2a_base64(data, newline=False).decode()


def _join_texts(blocks: object) -> str:
    return "".join(read_text(block.get("text")) for block in read_objects(blocks))


def _read_citation(raw: dict[str, Any]) -> Citation:
    web = read_object(read_object(raw.get("location")).get("web"))
    return Citation(
        url=read_text(web.get("url")) or read_text(raw.get("source")) or None,
        title=read_text(raw.get("title")) or None,
        cited_text=_join_texts(raw.get("sourceContent")) or None,
    )


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document.

    Raises: SidecarError for an error document or for anything that is not a message.
    """
    try:
        reply = _reply_reader.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_unexpected_body_error() from None
    if not isinstance(reply.output, dict) or "message" not in reply.output:
        raise classify_document(body)
    decoder, out = Decoder(route), list[Chunk]()
    decoder.take_reply(reply, out)
    return decoder, out
