"""OpenAI's Chat Completions, `POST /chat/completions`, and the many that imitate it. [pure]

Knows its chunks, its whole replies and its error bodies, with what each imitation makes of them;
the request is built by `openai_chat_request`. Sources: openai 3.52.0
(`types/chat/chat_completion_chunk.py`, `types/completion_usage.py`), openrouter 1.3.84, groq
1.7.0, cerebras_cloud_sdk 1.91.0, mistralai 3.7.0 and xAI's OpenAPI, read 2026-11.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from protocol.messages import Citation, FinishReason, State, Usage
from protocol.replies import Chunk
from sidecar.codecs import Frame
from sidecar.errors import SidecarError
from sidecar.wires import faults
from sidecar.wires.draft import Draft, parse_arguments
from sidecar.wires.faults import Rule
from sidecar.wires.openai_chat_request import encode
from sidecar.wires.types import Outcome, Route

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

TICKS_PER_USD_EXPONENT = 10
"""`cost_in_usd_ticks` counts 10^-10 US dollars."""


# --- chunks ----------------------------------------------------------------------------------

# What has no fixed type among the imitations is `Any`, and looked at where it is used.


class _Function(msgspec.Struct, gc=False):
    name: Any = None
    arguments: Any = None
    thought_signature: Any = None


class _Call(msgspec.Struct, gc=False):
    index: Any = None
    id: Any = None
    type: Any = None
    function: _Function | None = None
    extra_content: Any = None


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    tool_calls: list[_Call | None] | None = None
    reasoning: Any = None
    reasoning_content: Any = None
    reasoning_text: Any = None
    reasoning_opaque: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    annotations: Any = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct, gc=False):
    index: Any = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: Any = None
    error: Any = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice | None] | None = None
    usage: Any = None
    error: Any = None
    id: Any = None
    model: Any = None
    object: Any = None
    citations: Any = None
    x_groq: Any = None


_chunk = msgspec.json.Decoder(_Chunk)


class Decoder:
    """Chunks of one answer. Several choices are one answer when they share an index; of others only the calls count."""

    def __init__(self, route: Route) -> None:
        self.finished = False
        self._route = route
        self._draft = Draft()
        self._calls = _Calls(self._draft, route)
        self._thoughts = _Thoughts(self._draft, route)
        self._model = ""
        self._reply_id: str | None = None
        self._finish: str | None = None
        self._usage: dict[str, Any] | None = None
        self._citations: Any = None
        self._cited: set[tuple[object, ...]] = set()
        self._choice: int | None = None
        """The index of the choice whose text counts."""
        self._spoken = False
        self._refused = False
        self._plain = False
        """Whether the last chunk was text of choice 0, so that one with text alone needs no second look."""

    @property
    def usage(self) -> Usage | None:
        """The usage known so far."""
        return usage(self._usage, outside=self._route.quirks.reasoning_outside_output) if self._usage else None

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append what one chunk says to *out*."""
        data = frame[1]
        if self.finished or (data[:1] != b"{" and self._is_marker(data)):
            return
        try:
            chunk = _chunk.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise faults.bad_event() from None
        choices = chunk.choices
        if self._plain and choices is not None and len(choices) == 1 and (choice := choices[0]) is not None:
            delta = choice.delta
            if delta is not None and not choice.index and _is_text_alone(delta, choice, chunk):
                self._draft.text(delta.content, out)
                return
        self._take(chunk, out)
        if _tells_failure(chunk, frame[0]):
            raise _in_stream(faults.document(data))

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` without a terminal marker; open calls then stay open.
        """
        if not self.finished and (self._route.quirks.done_marker or not self._finish):
            raise faults.interrupted()
        for each in self._citations if isinstance(self._citations, list) else ():
            self._cite({"url": each} if isinstance(each, str) else each, out)
        self._thoughts.end()
        self._draft.end(out)
        return Outcome(
            finish_reason=self._finish_reason(),
            provider_finish_reason=self._finish,
            usage=self.usage,
            message=self._draft.message(),
            model=self._model or self._route.model,
            request_id=self._reply_id,
            provider_cost_usd=cost(self._usage or {}),
        )

    def _is_marker(self, data: bytes) -> bool:
        data = data.strip()
        self.finished = data == b"[DONE]"
        return self.finished or not data

    def _take(self, chunk: _Chunk, out: list[Chunk]) -> None:
        self._model = self._model or _text(chunk.model)
        self._reply_id = self._reply_id or _text(chunk.id) or None
        self._citations = chunk.citations or self._citations
        reported = chunk.usage or (chunk.x_groq.get("usage") if isinstance(chunk.x_groq, dict) else None)
        # Some say 0 until they know, and a prompt is never empty.
        if isinstance(reported, dict) and (reported.get("prompt_tokens") or reported.get("completion_tokens")):
            self._usage = reported
        for choice in chunk.choices or ():
            if choice is not None:
                self._take_choice(choice, out)
        self._plain = self._choice == 0 and not self._thoughts.under_way

    def _take_choice(self, choice: _Choice, out: list[Chunk]) -> None:
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
        for call in delta.tool_calls or ():
            if call is not None:
                self._calls.take(call, index, out)
        if (function := delta.function_call) is not None:
            self._calls.take(_Call(index="function_call", function=function), index, out)

    def _say(self, delta: _Delta, out: list[Chunk]) -> None:
        if self._thoughts.take(delta, out):
            self._spoken = True
        content = delta.content
        if isinstance(content, str):
            self._text(content, out)
        elif isinstance(content, list):
            for part in content:
                self._part(part, out)
        if refusal := _text(delta.refusal):
            self._draft.text(refusal, out, refusal=True)
            if not self._refused:
                # Marks whose refusal it is: nobody else has a field for it.
                self._draft.text_state(_state(self._route, {}))
            self._refused = self._spoken = True
        for each in delta.annotations if isinstance(delta.annotations, list) else ():
            if isinstance(each, dict):
                self._cite(each.get("url_citation"), out)

    def _text(self, text: str, out: list[Chunk]) -> None:
        if text:
            self._thoughts.under_way = False
            self._spoken = True
            self._draft.text(text, out)

    def _part(self, part: Any, out: list[Chunk]) -> None:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            self._text(_text(part.get("text")), out)
        elif kind in ("thinking", "reasoning"):
            self._thoughts.say(_texts(part.get("thinking") or part.get("summary") or part.get("text")), out)
            self._spoken = True
        elif kind:
            self._thoughts.under_way = False
            self._draft.opaque(str(kind), _state(self._route, {"part": part}))

    def _cite(self, raw: Any, out: list[Chunk]) -> None:
        if not isinstance(raw, dict):
            return
        url, start, end = raw.get("url"), _count(raw.get("start_index")), _count(raw.get("end_index"))
        key = (str(url), start, end)
        if key in self._cited:
            return
        self._cited.add(key)
        self._draft.citation(
            Citation(
                url=_text(url) or None,
                title=_text(raw.get("title")) or None,
                cited_text=_text(raw.get("content")) or None,
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


def _is_text_alone(delta: _Delta, choice: _Choice, chunk: _Chunk) -> bool:
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
            or chunk.x_groq
            or choice.error
        )
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> str:
    """Return the text of a list of text parts, or of a string."""
    if isinstance(value, list):
        return "".join(_text(each.get("text")) for each in value if isinstance(each, dict))
    return _text(value)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _state(route: Route, data: dict[str, Any]) -> State:
    return State(provider=route.provider, wire=route.wire, model=route.model, data=data)


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document.

    Raises: SidecarError for an error document or for anything that is no completion.
    """
    try:
        chunk = _chunk.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        chunk = _Chunk(error=isinstance(faults.document(body), list))
    if _tells_failure(chunk, ""):
        raise _in_stream(faults.document(body))
    if not chunk.choices:
        raise faults.unexpected_body()
    decoder, out = Decoder(route), list[Chunk]()
    decoder._take(chunk, out)  # noqa: SLF001 - same module
    decoder.finished = True
    return decoder, out
