"""OpenAI's Chat Completions, `POST /chat/completions`, and the many that imitate it. [pure]

Knows its stream and its whole replies, with what each imitation makes of them. The request is built
by `openai_chat_request`, what chunks are made of stands in `openai_chat_parts`, failures are told by
`openai_chat_errors`. Sources: openai 3.52.0 (`types/chat/chat_completion_chunk.py`), openrouter 1.3.84,
groq 1.7.0, cerebras_cloud_sdk 1.91.0, mistralai 3.7.0 and xAI's OpenAPI, read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import Citation, FinishReason, Message, Usage
from protocol.replies import Chunk
from sidecar.codecs.frame import Frame
from sidecar.core.json_values import parse_json
from sidecar.wires.openai_chat.errors import classify, in_stream, tells_failure
from sidecar.wires.openai_chat.parts import (
    CallDelta,
    Calls,
    ChatChunk,
    Choice,
    Delta,
    Thoughts,
    cost,
    count,
    extensions,
    joined,
    state_of,
    text_of,
    usage,
)
from sidecar.wires.openai_chat.request import encode
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unexpected_body_error
from sidecar.wires.shared.types import Outcome, Route

__all__ = ["CODEC", "Decoder", "classify", "decode_whole", "encode"]

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


# --- stream ----------------------------------------------------------------------------------

_chunk = msgspec.json.Decoder(ChatChunk)


class Decoder:
    """Chunks of one answer. Choices of one index are one answer; of choices with another only the calls count."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._draft = Draft(route.seed)
        self._calls = Calls(self._draft, route)
        self._thoughts = Thoughts(self._draft, route)
        self._model = ""
        self._reply_id: str | None = None
        self._finish: str | None = None
        self._usage: dict[str, Any] = {}
        self._citations: Any = None
        self._cited: set[tuple[str, int | None, int | None]] = set()
        self._choice: int | None = None
        """The index of the choice whose text counts."""
        self._spoken = False
        self._refused = False
        self._plain = False
        """Whether the chunk before was of choice 0 and left no reasoning open: text alone needs no second look then."""

    @property
    def usage(self) -> Usage | None:
        """The usage known so far."""
        return usage(self._usage, outside=self._route.quirks.reasoning_outside_output) if self._usage else None

    @property
    def provider_cost_usd(self) -> str | None:
        """What the provider has said so far that the request cost."""
        return cost(self._usage)

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append what one chunk says to *out*.

        Raises: SidecarError for an error in any of its shapes, or for what is no chunk.
        """
        data = frame[1]
        if self.finished or (data[:1] != b"{" and self._is_marker(data)):
            return
        try:
            chunk = _chunk.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise make_bad_event_error() from None
        choices = chunk.choices
        if self._plain and choices is not None and len(choices) == 1 and (choice := choices[0]) is not None:
            delta = choice.delta
            if delta is not None and not choice.index and _is_text_alone(delta, choice, chunk):
                self._draft.add_text(delta.content, out)
                return
        own = extensions(parse_json(data)) if b'"x_' in data else []
        self._take(chunk, own, out)
        if tells_failure(chunk, frame[0], own):
            raise in_stream(parse_json(data))

    def build_partial(self) -> Message:
        """Return the message as far as it has come."""
        return self._draft.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` without a terminal marker; a call that is open is not closed then.
        """
        if not self.finished and (self._route.quirks.done_marker or not self._finish):
            raise make_interrupted_error()
        for each in self._citations if isinstance(self._citations, list) else ():
            self._cite({"url": each} if isinstance(each, str) else each, out)
        self._thoughts.end()
        self._draft.end(out)
        return Outcome(
            finish_reason=self._finish_reason(),
            provider_finish_reason=self._finish,
            usage=self.usage,
            message=self._draft.build_message(),
            model=self._model or self._route.model,
            request_id=self._reply_id,
            provider_cost_usd=self.provider_cost_usd,
        )

    def _is_marker(self, data: bytes) -> bool:
        data = data.strip()
        self.finished = data == b"[DONE]"
        return self.finished or not data

    def _take(self, chunk: ChatChunk, own: list[dict[str, Any]], out: list[Chunk]) -> None:
        self._model = self._model or text_of(chunk.model)
        self._reply_id = self._reply_id or text_of(chunk.id) or None
        self._citations = chunk.citations or self._citations
        for reported in (*(extension.get("usage") for extension in own), chunk.usage):
            # Some say 0 until they know, and a prompt is never empty.
            if isinstance(reported, dict) and (reported.get("prompt_tokens") or reported.get("completion_tokens")):
                self._usage = reported
        for choice in chunk.choices or ():
            if choice is not None:
                self._take_choice(choice, out)
        self._plain = self._choice == 0 and not self._thoughts.under_way

    def _take_choice(self, choice: Choice, out: list[Chunk]) -> None:
        index = choice.index if isinstance(choice.index, int) else 0
        if self._choice is None or (index == 0 and not self._spoken):
            self._choice = index
        delta = choice.delta if choice.delta is not None else choice.message
        if index == self._choice:
            if isinstance(choice.finish_reason, str) and (choice.finish_reason or not self._finish):
                self._finish = choice.finish_reason
            if delta is not None:
                self._say(delta, out)
        if delta is None:
            return
        pieces = [call for call in delta.tool_calls or () if call is not None]
        if delta.function_call is not None:
            pieces.append(CallDelta(index="function_call", function=delta.function_call))
        for call in pieces:
            self._calls.take(call, index, out)
            self._thoughts.under_way = False

    def _say(self, delta: Delta, out: list[Chunk]) -> None:
        if self._thoughts.take(delta, out):
            self._spoken = True
        content = delta.content
        if isinstance(content, list):
            for part in content:
                self._part(part, out)
        else:
            self._text(text_of(content), out)
        if refusal := text_of(delta.refusal):
            self._text(refusal, out, refusal=True)
            if not self._refused:
                # Marks whose refusal it is: nobody else has a field for it.
                self._draft.set_text_state(state_of(self._route, {}))
            self._refused = True
        for each in delta.annotations if isinstance(delta.annotations, list) else ():
            if isinstance(each, dict):
                self._cite(each.get("url_citation"), out)

    def _text(self, text: str, out: list[Chunk], *, refusal: bool = False) -> None:
        if text:
            self._thoughts.under_way = False
            self._spoken = True
            self._draft.add_text(text, out, refusal=refusal)

    def _part(self, part: Any, out: list[Chunk]) -> None:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            self._text(text_of(part.get("text")), out)
        elif kind in ("thinking", "reasoning"):
            self._thoughts.say(joined(part.get("thinking") or part.get("summary") or part.get("text")), out)
            self._spoken = True
        elif kind:
            self._thoughts.under_way = False
            self._draft.add_opaque(str(kind), state_of(self._route, {"part": part}))

    def _cite(self, raw: Any, out: list[Chunk]) -> None:
        if not isinstance(raw, dict):
            return
        url, start, end = text_of(raw.get("url")), count(raw.get("start_index")), count(raw.get("end_index"))
        if (url, start, end) in self._cited:
            return
        self._cited.add((url, start, end))
        self._thoughts.under_way = False
        self._draft.add_citation(
            Citation(
                url=url or None,
                title=text_of(raw.get("title")) or None,
                cited_text=text_of(raw.get("content")) or None,
                # Whoever does not know the place says that it is 0 to 0.
                start=start if end else None,
                end=end or None,
            ),
            out,
        )

    def _finish_reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self._finish, "other") if self._finish else "stop"
        if reason == "stop" and self._draft.has_tool_calls:
            return "tool_calls"
        return "refusal" if reason == "stop" and self._refused else reason


def _is_text_alone(delta: Delta, choice: Choice, chunk: ChatChunk) -> bool:
    """Return whether a chunk is the ordinary one: some text, and nothing else."""
    return (
        type(delta.content) is str
        and delta.content != ""
        and choice.finish_reason is None
        and chunk.usage is None
        and chunk.error is None
        and chunk.citations is None
        and not (
            delta.tool_calls
            or delta.reasoning
            or delta.reasoning_content
            or delta.reasoning_text
            or delta.reasoning_opaque
            or delta.reasoning_details
            or delta.refusal
            or delta.annotations
            or delta.function_call
            or choice.error
        )
    )


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document.

    Raises: SidecarError for an error document or for anything that is no completion.
    """
    try:
        chunk = _chunk.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_unexpected_body_error() from None
    own = extensions(parse_json(body))
    if tells_failure(chunk, "", own):
        raise in_stream(parse_json(body))
    if not chunk.choices:
        raise make_unexpected_body_error()
    decoder, out = Decoder(route), list[Chunk]()
    decoder._take(chunk, own, out)  # noqa: SLF001 - same module
    decoder.finished = True
    return decoder, out
