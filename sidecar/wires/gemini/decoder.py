"""Gemini's `generateContent` and `streamGenerateContent`: the stream, or the same chunks as one document. [pure]

Must not know the request or the meaning of an error. Sources: google-genai 3.4.0
(`types.py` GenerateContentResponse, `_api_client.py`), read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import Citation, Message, State, Usage
from protocol.replies import Chunk
from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import parse_json
from sidecar.wires.gemini.arguments import PartialArguments
from sidecar.wires.gemini.chunks import (
    FINISH_REASONS,
    NOT_FINAL,
    UNREADABLE,
    Candidate,
    FunctionCall,
    Part,
    ResponseChunk,
    chunk_reader,
    document_reader,
    part_reader,
    read_opaque_part,
    read_reason,
)
from sidecar.wires.gemini.citations import AnswerText, list_citations
from sidecar.wires.gemini.errors import classify_in_stream, get_error
from sidecar.wires.gemini.usage import read_usage, select_counts
from sidecar.wires.shared.draft import Draft
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unexpected_body_error
from sidecar.wires.shared.state import make_state
from sidecar.wires.shared.types import Outcome, Route

CODEC = "sse"


class _OpenCall:
    """A function call that may not be whole yet."""

    __slots__ = ("continues", "key", "partial", "state", "text")

    def __init__(self, key: int) -> None:
        self.key = key
        self.text = ""
        """The arguments that came whole."""
        self.partial: PartialArguments | None = None
        """The arguments that come in pieces."""
        self.continues = False
        self.state: dict[str, Any] = {}

    def encode_arguments(self) -> str:
        """Return the arguments as JSON, or as text that is not JSON when the call was cut, so that nobody runs it."""
        text = self.text if self.partial is None else self.partial.encode()
        return (text or "{}")[:-1] if self.continues else text


class Decoder:
    """Chunks of one answer. Text, counts or another reason may follow a reason: only the stream's end is final."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._draft = Draft(route)
        self._model = route.model
        self._response_id: str | None = None
        self._reason = ""
        self._finish_message: str | None = None
        self._counts: dict[str, int] = {}
        self._call: _OpenCall | None = None
        self._call_count = 0
        self._has_content = False
        self._answer = AnswerText()
        self._part_begin: int | None = None
        """Where the open text part begins in the answer, in characters."""
        self._cited: set[Citation] = set()

    @property
    def finished(self) -> bool:
        """Never true: the end of the stream is the only end."""
        return False

    @property
    def answer_chars(self) -> int:
        """How many characters of the answer have come."""
        return self._draft.answer_chars

    @property
    def usage(self) -> Usage | None:
        """The usage so far."""
        return read_usage(self._counts) if self._counts else None

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append the chunks of one event to *out*.

        Raises: SidecarError for an error, a blocked prompt, or an event that cannot be read.
        """
        try:
            chunk = chunk_reader.decode(frame[1])
        except UNREADABLE:
            if frame[1].strip() == b"[DONE]":
                # Servers that imitate the API like to add it.
                return
            raise make_bad_event_error() from None
        self.take_chunk(chunk, out)

    def take_chunk(self, chunk: ResponseChunk, out: list[Chunk]) -> None:
        """Append the chunks of *chunk* to *out*.

        Raises: SidecarError as `feed` does.
        """
        if chunk.error:
            raise classify_in_stream(chunk.error)
        self._model = chunk.model_version or self._model
        self._response_id = chunk.response_id or self._response_id
        # The counts of a chunk are totals; one that is missing stays as it was.
        self._counts |= select_counts(chunk.usage_metadata)
        for candidate in chunk.candidates or ():
            if candidate is not None and not candidate.index:
                self._take_candidate(candidate, out)
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason and not chunk.candidates:
            self._block(str(feedback.block_reason), feedback.block_reason_message)

    def build_partial(self) -> Message:
        """Return the message so far."""
        return self._draft.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome.

        Raises: SidecarError `stream_interrupted` without a reason, `content_filtered` with a filter's reason alone.
        """
        if not self._reason:
            raise make_interrupted_error()
        self._end_call(out)
        self._draft.end(out)
        finish_reason = FINISH_REASONS.get(self._reason, "other")
        if finish_reason == "content_filter" and not self._has_content:
            raise _make_filter_error("answer", self._reason, self._finish_message)
        if finish_reason == "stop" and self._draft.has_tool_calls:
            finish_reason = "tool_calls"
        return Outcome(
            finish_reason=finish_reason,
            provider_finish_reason=self._reason,
            usage=self.usage,
            message=self._draft.build_message(),
            model=self._model,
            request_id=self._response_id,
        )

    def _take_candidate(self, candidate: Candidate, out: list[Chunk]) -> None:
        raw_parts = (candidate.content and candidate.content.parts) or []
        try:
            parts = [(part, raw) for raw in raw_parts if (part := part_reader.decode(raw)) is not None]
        except UNREADABLE:
            raise make_bad_event_error() from None
        # The last chunk often has an empty part for a signature; its sources belong to the text before that.
        has_text = any(part.text for part, _ in parts)
        if not has_text:
            self._add_citations(candidate, out)
        for part, raw in parts:
            self._take_part(part, raw, out)
        if has_text:
            self._add_citations(candidate, out)
        reason = read_reason(candidate.finish_reason)
        if reason not in NOT_FINAL:
            self._reason = reason
            self._finish_message = candidate.finish_message or self._finish_message

    def _block(self, reason: str, message: str | None) -> None:
        if not self._has_content:
            raise _make_filter_error("prompt", reason, message)
        self._reason = reason

    # --- parts

    def _take_part(self, part: Part, raw: msgspec.Raw, out: list[Chunk]) -> None:
        if part.function_call is not None:
            self._take_call(part.function_call, part.thought_signature, out)
        elif part.text and not part.thought_signature:
            self._add_text(part.text, out, thought=bool(part.thought))
        elif not part.text and (opaque := read_opaque_part(raw)) is not None:
            self._end_call(out)
            self._close_text()
            self._draft.add_opaque(opaque[0], self._make_state(opaque[1]))
            self._has_content = True
        elif part.thought_signature:
            self._add_signed_text(part, part.thought_signature, out)

    def _add_signed_text(self, part: Part, signature: str, out: list[Chunk]) -> None:
        """Add a text, which may be empty, as a part of its own, so that it goes back with its signature as it came."""
        self._close_text()
        self._add_text(part.text or "", out, thought=bool(part.thought))
        set_state = self._draft.set_reasoning_state if part.thought else self._draft.set_text_state
        set_state(self._make_state({"thoughtSignature": signature}))
        self._close_text()

    def _add_text(self, text: str, out: list[Chunk], *, thought: bool) -> None:
        self._end_call(out)
        if thought:
            self._part_begin = None
            self._draft.add_reasoning(text, out)
            return
        if self._part_begin is None:
            self._part_begin = self._answer.chars
        self._answer.add(text)
        self._has_content = self._has_content or bool(text)
        self._draft.add_text(text, out)

    def _close_text(self) -> None:
        self._part_begin = None
        self._draft.close_block()

    def _add_citations(self, candidate: Candidate, out: list[Chunk]) -> None:
        if not candidate.citation_metadata and not candidate.grounding_metadata:
            return
        # Without an open part no offset can be right, so the part begins behind the answer.
        begin = self._answer.chars + 1 if self._part_begin is None else self._part_begin
        for citation in list_citations(candidate.citation_metadata, candidate.grounding_metadata, self._answer, begin):
            # Later chunks may repeat the sources of earlier ones.
            if citation not in self._cited and (citation.url or citation.title or citation.cited_text):
                self._cited.add(citation)
                self._draft.add_citation(citation, out)

    # --- function calls

    def _take_call(self, part: FunctionCall, signature: str | None, out: list[Chunk]) -> None:
        call = self._call
        is_same = call is not None and call.continues and part.id is not None and part.id == call.state.get("id")
        if part.name and not is_same:
            call = self._begin_call(part.name, part.id, out)
        elif call is None:
            if not part.partial_args and len(part.args) <= len(b"null"):
                # The closing fragment of a call that has ended already.
                return
            call = self._begin_call("", part.id, out)
        self._set_call_state(call, part.id, signature)
        for piece in part.partial_args or ():
            call.partial = call.partial or PartialArguments()
            call.partial.add(piece)
        if len(part.args) and bytes(part.args) != b"null":
            call.text = str(part.args, "utf-8", "replace")
        was_continued, call.continues = call.continues, bool(part.will_continue)
        # A call without arguments, and without a promise of some, may get them from a fragment without a name.
        is_whole = was_continued or call.text.strip("{} \r\n\t")
        if is_whole and not call.continues:
            self._end_call(out)

    def _begin_call(self, name: str, call_id: str | None, out: list[Chunk]) -> _OpenCall:
        self._end_call(out)
        self._part_begin = None
        self._call = call = _OpenCall(self._call_count)
        self._call_count += 1
        self._has_content = True
        self._draft.begin_call(call.key, call_id or "", name, out)
        return call

    def _set_call_state(self, call: _OpenCall, call_id: str | None, signature: str | None) -> None:
        # The server gets back only ids of its own, so its id is kept apart from the one that the host sees.
        fields = {"id": call_id, "thoughtSignature": signature}
        if added := {key: value for key, value in fields.items() if value}:
            call.state |= added
            self._draft.set_call_state(call.key, self._make_state(dict(call.state)))

    def _end_call(self, out: list[Chunk]) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._draft.add_arguments(call.key, call.encode_arguments(), out)
            self._draft.end_call(call.key, out)

    def _make_state(self, data: dict[str, Any]) -> State:
        return make_state(self._route, data, self._model)


def _make_filter_error(what: str, reason: str, message: str | None) -> SidecarError:
    return SidecarError(
        "content_filtered", message or f"The provider has blocked the {what}: {reason}.", provider_code=reason
    )


def decode_whole(body: bytes, route: Route) -> tuple[Decoder, list[Chunk]]:
    """Return the decoder and the chunks of a reply that came as one JSON document: a chunk, or a list of chunks.

    Raises: SidecarError for an error document or for anything that is not an answer.
    """
    if error := get_error(parse_json(body)):
        raise classify_in_stream(error)
    try:
        document = document_reader.decode(body)
    except UNREADABLE:
        raise make_unexpected_body_error() from None
    chunks = document if isinstance(document, list) else [document]
    if not any(chunk.candidates or chunk.prompt_feedback for chunk in chunks):
        raise make_unexpected_body_error()
    decoder, out = Decoder(route), list[Chunk]()
    for chunk in chunks:
        decoder.take_chunk(chunk, out)
    return decoder, out
