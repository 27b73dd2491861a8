"""OpenAI's Chat Completions, `POST /chat/completions`, and its imitations: the stream and whole replies. [pure]

Knows when an answer ends and how its parts come together; `chunks`, `tool_calls` and `reasoning` know
the parts. Must not know the request or the meaning of an error. Sources: openai 3.52.0
(`types/chat/chat_completion_chunk.py`), openrouter 1.3.84, groq 1.7.0, cerebras_cloud_sdk 1.91.0,
mistralai 3.7.0 and xAI's OpenAPI, read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import Citation, FinishReason, Message, Usage
from protocol.replies import Chunk
from sidecar.codecs.frame import Frame
from sidecar.core.json_values import parse_json, read_count, read_objects, read_text
from sidecar.wires.openai_chat.chunks import (
    CallDelta,
    ChatChunk,
    Choice,
    Delta,
    chunk_reader,
    holds_only_text,
    join_text,
    list_extensions,
)
from sidecar.wires.openai_chat.errors import classify_in_stream, reports_error
from sidecar.wires.openai_chat.reasoning import ReasoningAssembler
from sidecar.wires.openai_chat.tool_calls import CallAssembler
from sidecar.wires.openai_chat.usage import read_cost_usd, read_usage
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unexpected_body_error
from sidecar.wires.shared.state import make_state
from sidecar.wires.shared.types import Outcome, Route

CODEC = "sse"

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "length": "length",
    "model_length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
}


class Decoder:
    """Chunks of one answer: the choices of one index. Of choices with another index only the tool calls count."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._draft = Draft(route)
        self._calls = CallAssembler(self._draft, route)
        self._reasoning = ReasoningAssembler(self._draft, route)
        self._model = ""
        self._reply_id: str | None = None
        self._provider_reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._citations: Any = None
        self._cited: set[tuple[str, int | None, int | None]] = set()
        self._choice: int | None = None
        """The index of the choice whose text counts."""
        self._has_text = False
        self._has_refusal = False
        self._has_tool_calls = False
        """Whether the field `tool_calls` has come: then `function_call` says the same again."""
        self._expects_text = False
        """Whether the previous chunk was of choice 0 and left no reasoning open: then a text alone needs no checks."""

    @property
    def answer_chars(self) -> int:
        """How many characters of the answer have come."""
        return self._draft.answer_chars

    @property
    def usage(self) -> Usage | None:
        """The usage so far."""
        if not self._usage:
            return None
        return read_usage(self._usage, reasoning_outside=self._route.quirks.reasoning_outside_output)

    @property
    def provider_cost_usd(self) -> str | None:
        """What the request cost, as far as the provider has said it."""
        return read_cost_usd(self._usage)

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append the chunks of one event to *out*.

        Raises: SidecarError for an error in any of its shapes, or for an event that cannot be read.
        """
        data = frame[1]
        if self.finished or (data[:1] != b"{" and self._take_marker(data)):
            return
        try:
            chunk = chunk_reader.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise make_bad_event_error() from None
        choices = chunk.choices
        if self._expects_text and choices is not None and len(choices) == 1 and (choice := choices[0]) is not None:
            delta = choice.delta
            if delta is not None and not choice.index and holds_only_text(delta, choice, chunk):
                self._draft.add_text(delta.content, out)
                return
        extensions = list_extensions(parse_json(data)) if b'"x_' in data else []
        self.take_chunk(chunk, extensions, out)
        if reports_error(chunk, frame[0], extensions):
            raise classify_in_stream(parse_json(data))

    def build_partial(self) -> Message:
        """Return the message so far."""
        self._calls.flush()
        return self._draft.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` without a terminal marker; then an open call is not ended.
        """
        if not self.finished and (self._route.quirks.done_marker or not self._provider_reason):
            raise make_interrupted_error()
        for source in self._citations if isinstance(self._citations, list) else ():
            self._add_citation({"url": source} if isinstance(source, str) else source, out)
        self._reasoning.end()
        self._calls.flush()
        self._draft.end(out)
        return Outcome(
            finish_reason=self._get_finish_reason(),
            provider_finish_reason=self._provider_reason,
            usage=self.usage,
            message=self._draft.build_message(),
            model=self._model or self._route.model,
            request_id=self._reply_id,
            provider_cost_usd=self.provider_cost_usd,
        )

    def _take_marker(self, data: bytes) -> bool:
        """Return whether *data* is blank or the end marker, which finishes the stream."""
        data = data.strip()
        self.finished = data == b"[DONE]"
        return self.finished or not data

    def take_chunk(self, chunk: ChatChunk, extensions: list[dict[str, Any]], out: list[Chunk]) -> None:
        """Append the chunks of *chunk* to *out*: an event of the stream, or a whole completion."""
        self._model = self._model or read_text(chunk.model)
        self._reply_id = self._reply_id or read_text(chunk.id) or None
        self._citations = chunk.citations or self._citations
        for usage in (*(extension.get("usage") for extension in extensions), chunk.usage):
            # Some providers report 0 until they know; a prompt is never empty.
            if isinstance(usage, dict) and (usage.get("prompt_tokens") or usage.get("completion_tokens")):
                self._usage = usage
        for choice in chunk.choices or ():
            if choice is not None:
                self._take_choice(choice, out)
        self._expects_text = self._choice == 0 and not self._reasoning.is_open

    def _take_choice(self, choice: Choice, out: list[Chunk]) -> None:
        index = choice.index if isinstance(choice.index, int) else 0
        if self._choice is None or (index == 0 and not self._has_text):
            self._choice = index
        delta = choice.delta if choice.delta is not None else choice.message
        if index == self._choice:
            if isinstance(choice.finish_reason, str) and (choice.finish_reason or not self._provider_reason):
                self._provider_reason = choice.finish_reason
            if delta is not None:
                self._take_delta(delta, out)
        if delta is None:
            return
        fragments = [fragment for fragment in delta.tool_calls or () if fragment is not None]
        self._has_tool_calls = self._has_tool_calls or bool(fragments)
        if delta.function_call is not None and not self._has_tool_calls:
            # llama-cpp-python says each call in both fields.
            fragments.append(CallDelta(index="function_call", function=delta.function_call))
        for fragment in fragments:
            self._calls.take(fragment, index, out)
            self._reasoning.is_open = False

    def _take_delta(self, delta: Delta, out: list[Chunk]) -> None:
        if self._reasoning.take(delta, out):
            self._has_text = True
        content = delta.content
        if isinstance(content, list):
            for part in content:
                self._add_part(part, out)
        else:
            self._add_text(read_text(content), out)
        if refusal := read_text(delta.refusal):
            self._add_text(refusal, out, refusal=True)
            if not self._has_refusal:
                # The state marks whose refusal it is: no other provider has a field for it.
                self._draft.set_text_state(make_state(self._route, {}))
            self._has_refusal = True
        for annotation in read_objects(delta.annotations):
            self._add_citation(annotation.get("url_citation"), out)

    def _add_text(self, text: str, out: list[Chunk], *, refusal: bool = False) -> None:
        if text:
            self._reasoning.is_open = False
            self._has_text = True
            self._draft.add_text(text, out, refusal=refusal)

    def _add_part(self, part: Any, out: list[Chunk]) -> None:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            self._add_text(read_text(part.get("text")), out)
        elif kind in ("thinking", "reasoning"):
            self._reasoning.add_text(join_text(part.get("thinking") or part.get("summary") or part.get("text")), out)
            self._has_text = True
        elif kind:
            self._reasoning.is_open = False
            self._draft.add_opaque(str(kind), make_state(self._route, {"part": part}))

    def _add_citation(self, raw: Any, out: list[Chunk]) -> None:
        if not isinstance(raw, dict):
            return
        url = read_text(raw.get("url"))
        start, end = read_count(raw.get("start_index")), read_count(raw.get("end_index"))
        if (url, start, end) in self._cited:
            return
        self._cited.add((url, start, end))
        self._reasoning.is_open = False
        self._draft.add_citation(
            Citation(
                url=url or None,
                title=read_text(raw.get("title")) or None,
                cited_text=read_text(raw.get("content")) or None,
                # Providers that do not know the place say 0 to 0.
                start=start if end else None,
                end=end or None,
            ),
            out,
        )

    def _get_finish_reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self._provider_reason, "other") if self._provider_reason else "stop"
        if reason == "stop" and self._draft.has_tool_calls:
            return "tool_calls"
        return "refusal" if reason == "stop" and self._has_refusal else reason


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document.

    Raises: SidecarError for an error document or for anything that is not a completion.
    """
    try:
        chunk = chunk_reader.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_unexpected_body_error() from None
    document = parse_json(body)
    extensions = list_extensions(document)
    if reports_error(chunk, "", extensions):
        raise classify_in_stream(document)
    if not chunk.choices:
        raise make_unexpected_body_error()
    decoder, out = Decoder(route), list[Chunk]()
    decoder.take_chunk(chunk, extensions, out)
    decoder.finished = True
    return decoder, out
