"""Gemini's `generateContent` and `streamGenerateContent`, at AI Studio and in the cloud. [pure]

Knows the chunks of its event stream, the same chunks as one JSON document, and why an answer
ends. The request is built by `gemini_request`, errors are judged by `gemini_errors`. Sources:
google-genai 3.4.0 (`types.py` GenerateContentResponse, `_api_client.py`), read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import Citation, FinishReason, Message, State, Usage
from protocol.replies import Chunk
from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import parse_json
from sidecar.wires.gemini import errors as gemini_errors
from sidecar.wires.gemini import parts as gemini_parts
from sidecar.wires.gemini.errors import classify
from sidecar.wires.gemini.request import encode
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unexpected_body_error
from sidecar.wires.shared.types import Outcome, Route

__all__ = ["CODEC", "Decoder", "classify", "decode_whole", "encode"]

CODEC = "sse"

# --- chunks ----------------------------------------------------------------------------------


class _FunctionCall(msgspec.Struct, rename="camel"):
    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = msgspec.Raw()
    partial_args: list[dict[str, Any]] | None = None
    will_continue: bool | None = None


class _Part(msgspec.Struct, rename="camel"):
    """The parts that most are; any other is read again for what it is."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None


class _Content(msgspec.Struct):
    parts: list[msgspec.Raw] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    index: int | None = None
    content: _Content | None = None
    finish_reason: str | int | None = None
    finish_message: str | None = None
    citation_metadata: Any = None
    grounding_metadata: Any = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | int | None = None
    block_reason_message: str | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate | None] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: dict[str, Any] | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


_chunk = msgspec.json.Decoder(_Chunk)
_document = msgspec.json.Decoder(list[_Chunk] | _Chunk)
_part = msgspec.json.Decoder(_Part | None)

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_SIDEBAND = frozenset({"text", "thought", "thoughtSignature", "partMetadata", "mediaResolution", "videoMetadata"})
"""The fields of a part that do not say what it is."""

# --- why it ends -----------------------------------------------------------------------------

_REASONS: dict[FinishReason, tuple[str, ...]] = {
    "stop": ("STOP",),
    "length": ("MAX_TOKENS",),
    "content_filter": (
        *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "JAILBREAK"),
        *("ESCALATION", "PUP_LIMITED_DISABLED"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER"),
    ),
    "error": (
        *("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        "MISSING_THOUGHT_SIGNATURE",
    ),
}
FINISH_REASONS = {reason: finish for finish, reasons in _REASONS.items() for reason in reasons}
"""Reasons of an answer and of a blocked prompt; whatever else it says is `other`."""

NOT_FINAL = frozenset({"", "FINISH_REASON_UNSPECIFIED", "CONTINUATION"})
"""What stands where a reason would, of an answer that is not at its end."""

NUMBERED = {0: "", 1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}
"""Reasons as some of the hosts write them. Beyond these, the hosts' numbers differ."""


def _own_block(raw: msgspec.Raw) -> tuple[str, dict[str, Any]] | None:
    """Return kind and content of a part of the provider's own, None for one that is nothing but text."""
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
    except _UNREADABLE:
        raise make_bad_event_error() from None
    kind = next((key for key, value in fields.items() if key not in _SIDEBAND and value is not None), None)
    return None if kind is None else (kind, fields)


def _word(reason: str | int | None) -> str:
    return NUMBERED.get(reason, str(reason)) if isinstance(reason, int) else reason or ""


# --- stream ----------------------------------------------------------------------------------


class _Call:
    """A function call that may not be whole yet."""

    __slots__ = ("continues", "key", "pieces", "state", "text")

    def __init__(self, key: int) -> None:
        self.key = key
        self.text = ""
        self.pieces: gemini_parts.Pieces | None = None
        self.continues = False
        self.state: dict[str, Any] = {}

    @property
    def arguments(self) -> str:
        """The arguments as JSON. Of pieces that were to continue it is none, so that nobody runs them."""
        text = self.text if self.pieces is None else self.pieces.encoded()
        return (text or "{}")[:-1] if self.continues else text


class Decoder:
    """Chunks of one answer. Text, counts and another reason may follow a reason: only the end of the stream is one."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._draft = Draft(route.seed)
        self._model = route.model
        self._response_id: str | None = None
        self._reason = ""
        self._message: str | None = None
        self._counts: dict[str, int] = {}
        self._call: _Call | None = None
        self._calls = 0
        self._answered = False
        self._answer: list[str] = []
        self._answer_chars = 0
        self._part_begin: int | None = None
        """Where in the answer the open text part begins, in characters."""
        self._cited: set[Citation] = set()

    @property
    def finished(self) -> bool:
        """Never before the end of the stream."""
        return False

    @property
    def usage(self) -> Usage | None:
        """The usage known so far."""
        return gemini_parts.usage(self._counts) if self._counts else None

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append what one event says to *out*.

        Raises: SidecarError for an error, a prompt that was blocked, or an event that cannot be read.
        """
        try:
            chunk = _chunk.decode(frame[1])
        except _UNREADABLE:
            if frame[1].strip() == b"[DONE]":
                # What servers that imitate the API like to add.
                return
            raise make_bad_event_error() from None
        self.take(chunk, out)

    def take(self, chunk: _Chunk, out: list[Chunk]) -> None:
        """Append what *chunk* says to *out*.

        Raises: SidecarError as `feed`.
        """
        if chunk.error:
            raise gemini_errors.in_stream(chunk.error)
        self._model = chunk.model_version or self._model
        self._response_id = chunk.response_id or self._response_id
        # The counts of a chunk are totals; what it leaves out stays as it was.
        self._counts |= gemini_parts.counts(chunk.usage_metadata)
        for candidate in chunk.candidates or ():
            if candidate is not None and not candidate.index:
                self._candidate(candidate, out)
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason and not chunk.candidates:
            self._blocked(str(feedback.block_reason), feedback.block_reason_message)

    def build_partial(self) -> Message:
        """Return the message as far as it has come."""
        return self._draft.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` when no reason has come, `content_filtered` when nothing but one has.
        """
        if not self._reason:
            raise make_interrupted_error()
        self._end_call(out)
        self._draft.end(out)
        finish = FINISH_REASONS.get(self._reason, "other")
        if finish == "content_filter" and not self._answered:
            raise _filtered("answer", self._reason, self._message)
        return Outcome(
            finish_reason="tool_calls" if finish == "stop" and self._draft.has_tool_calls else finish,
            provider_finish_reason=self._reason,
            usage=self.usage,
            message=self._draft.build_message(),
            model=self._model,
            request_id=self._response_id,
        )

    def _candidate(self, candidate: _Candidate, out: list[Chunk]) -> None:
        raw_parts = (candidate.content and candidate.content.parts) or []
        try:
            parts = [(part, raw) for raw in raw_parts if (part := _part.decode(raw)) is not None]
        except _UNREADABLE:
            raise make_bad_event_error() from None
        # The last chunk often has an empty part for a signature, which the sources in it are not about.
        says = any(part.text for part, _ in parts)
        if not says:
            self._sources(candidate, out)
        for part, raw in parts:
            self._take_part(part, raw, out)
        if says:
            self._sources(candidate, out)
        reason = _word(candidate.finish_reason)
        if reason not in NOT_FINAL:
            self._reason = reason
            self._message = candidate.finish_message or self._message

    def _blocked(self, reason: str, message: str | None) -> None:
        if not self._answered:
            raise _filtered("prompt", reason, message)
        self._reason = reason

    # --- parts ---

    def _take_part(self, part: _Part, raw: msgspec.Raw, out: list[Chunk]) -> None:
        if part.function_call is not None:
            self._function_call(part.function_call, part.thought_signature, out)
        elif part.text and not part.thought_signature:
            self._say(part.text, out, thought=bool(part.thought))
        elif not part.text and (own := _own_block(raw)) is not None:
            self._end_call(out)
            self._close_text()
            self._draft.add_opaque(own[0], self._state(own[1]))
            self._answered = True
        elif part.thought_signature:
            self._signed(part, part.thought_signature, out)

    def _signed(self, part: _Part, signature: str, out: list[Chunk]) -> None:
        """Keep a text, which may be empty, as a part of its own: with its signature it goes back as it came."""
        self._close_text()
        self._say(part.text or "", out, thought=bool(part.thought))
        attach = self._draft.set_reasoning_state if part.thought else self._draft.set_text_state
        attach(self._state({"thoughtSignature": signature}))
        self._close_text()

    def _say(self, text: str, out: list[Chunk], *, thought: bool) -> None:
        self._end_call(out)
        if thought:
            self._part_begin = None
            self._draft.add_reasoning(text, out)
            return
        if self._part_begin is None:
            self._part_begin = self._answer_chars
        self._answer.append(text)
        self._answer_chars += len(text)
        self._answered = self._answered or bool(text)
        self._draft.add_text(text, out)

    def _close_text(self) -> None:
        self._part_begin = None
        self._draft.close_block()

    def _sources(self, candidate: _Candidate, out: list[Chunk]) -> None:
        if not candidate.citation_metadata and not candidate.grounding_metadata:
            return
        # Without an open part there is nothing that an offset could be counted in.
        begin = self._answer_chars + 1 if self._part_begin is None else self._part_begin
        answer = "".join(self._answer)
        for source in gemini_parts.citations(candidate.citation_metadata, candidate.grounding_metadata, answer, begin):
            # Later chunks may repeat what earlier ones have said.
            if source not in self._cited and (source.url or source.title or source.cited_text):
                self._cited.add(source)
                self._draft.add_citation(source, out)

    # --- function calls ---

    def _function_call(self, part: _FunctionCall, signature: str | None, out: list[Chunk]) -> None:
        call = self._call
        repeats = call is not None and call.continues and part.id is not None and part.id == call.state.get("id")
        if part.name and not repeats:
            call = self._begin_call(part.name, part.id, out)
        elif call is None:
            if not part.partial_args and len(part.args) <= len(b"null"):
                # The closing fragment of a call that is closed already.
                return
            call = self._begin_call("", part.id, out)
        self._note_state(call, part.id, signature)
        for piece in part.partial_args or ():
            call.pieces = call.pieces or gemini_parts.Pieces()
            call.pieces.add(piece)
        if len(part.args) and bytes(part.args) != b"null":
            call.text = str(part.args, "utf-8", "replace")
        was_continued, call.continues = call.continues, bool(part.will_continue)
        # A call that has neither arguments nor the promise of some may get them from a fragment without a name.
        whole = was_continued or call.text.strip("{} \r\n\t")
        if whole and not call.continues:
            self._end_call(out)

    def _begin_call(self, name: str, call_id: str | None, out: list[Chunk]) -> _Call:
        self._end_call(out)
        self._part_begin = None
        self._call = call = _Call(self._calls)
        self._calls += 1
        self._answered = True
        self._draft.begin_call(call.key, call_id or "", name, out)
        return call

    def _note_state(self, call: _Call, call_id: str | None, signature: str | None) -> None:
        # The server is told no id but its own, so what it gave is kept apart from the one that the host sees.
        given = {"id": call_id, "thoughtSignature": signature}
        if new := {key: value for key, value in given.items() if value}:
            call.state |= new
            self._draft.set_call_state(call.key, self._state(dict(call.state)))

    def _end_call(self, out: list[Chunk]) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._draft.add_arguments(call.key, call.arguments, out)
            self._draft.end_call(call.key, out)

    def _state(self, data: dict[str, Any]) -> State:
        return State(provider=self._route.provider, wire=self._route.wire, model=self._model, data=data)


def _filtered(what: str, reason: str, message: str | None) -> SidecarError:
    return SidecarError(
        "content_filtered", message or f"The provider has blocked the {what}: {reason}.", provider_code=reason
    )


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document: a chunk, or a list of them.

    Raises: SidecarError for an error document or for anything that is no answer.
    """
    if error := gemini_errors.error_in(parse_json(body)):
        raise gemini_errors.in_stream(error)
    try:
        document = _document.decode(body)
    except _UNREADABLE:
        raise make_unexpected_body_error() from None
    chunks = document if isinstance(document, list) else [document]
    if not any(chunk.candidates or chunk.prompt_feedback for chunk in chunks):
        raise make_unexpected_body_error()
    decoder, out = Decoder(route), list[Chunk]()
    for chunk in chunks:
        decoder.take(chunk, out)
    return decoder, out
