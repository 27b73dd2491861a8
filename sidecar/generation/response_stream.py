"""The bytes of one reply → chunks: codec and decoder joined. [sans-IO]

Knows what a reply may turn out to be (a stream, one JSON document, a web page, nothing).
Must not know where the bytes come from or where the chunks go.
"""

import re

import msgspec

from protocol.messages import Message, Usage
from protocol.replies import Chunk
from sidecar.codecs.frame import Frame
from sidecar.codecs.registry import make_codec
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import LARGE_JSON_BYTES, MAX_LEVELS, is_too_deep, parse_json, require_memory
from sidecar.wires.shared import costs
from sidecar.wires.shared.answer_size import MAX_REPLY_BYTES, make_too_large_error
from sidecar.wires.shared.errors import make_bad_event_error, make_unexpected_body_error
from sidecar.wires.shared.types import Cursor, Outcome, Route, StreamDecoder, Wire
from sidecar.wires.shared.undeclared_calls import hides_all_calls

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
"""Largest reply that is one JSON document."""

MAX_EVENT_LEVELS = MAX_LEVELS + 40
"""How deeply an event may be nested: what is kept of it, and what the API puts around that."""


class ResponseStream:
    """One reply of status 200. Call `feed` with its bytes, and `end` when it is `finished` or there are no more."""

    def __init__(self, wire: Wire, route: Route, headers: dict[str, str]) -> None:
        self._wire = wire
        self._route = route
        self._headers = headers
        self._codec = make_codec(wire.CODEC)
        self._decoder: StreamDecoder = wire.Decoder(route)
        self._has_begun = False
        self._document: list[bytes] | None = None
        self._document_bytes = 0
        self._reply_bytes = 0
        self._cost_usd: str | None = None
        """As reported beside the usage."""
        self._early_output_tokens: int | None = None
        """The count that was reported before there was any output: some providers report 1."""
        self._has_output = False
        self._cost_field = route.quirks.cost_field.partition(".")[0].encode()
        self.skip_until: int | None = None
        """The number of the last event whose chunks the host has already."""

    @property
    def finished(self) -> bool:
        """Whether the provider has said that the reply is complete."""
        return self._decoder.finished

    @property
    def usage(self) -> Usage | None:
        """The usage known so far."""
        return self._decoder.usage

    def feed(self, data: bytes, out: list[Chunk]) -> None:
        """Append the chunks that *data* completes to *out*.

        Raises: SidecarError for an error in the reply. Chunks appended before it stay valid.
        """
        if not self._has_begun:
            self._begin(data)
        if self._document is not None:
            self._collect_document(data)
            return
        self._reply_bytes += len(data)
        if self._reply_bytes > MAX_REPLY_BYTES:
            raise make_too_large_error(f"more than {MAX_REPLY_BYTES} bytes")
        decoder = self._decoder
        for frame in self._codec.feed(data):
            # What follows the end marker is not read, whether or not it came in the same piece.
            if decoder.finished:
                return
            self._take(frame, out)

    def _take(self, frame: Frame, out: list[Chunk]) -> None:
        """Append the chunks of one event to *out*."""
        size_bytes = len(frame[1])
        if size_bytes > 2 * MAX_EVENT_LEVELS:
            # A level takes two brackets, so a shorter event is not too deep. Nearly all are shorter.
            if size_bytes > LARGE_JSON_BYTES:
                require_memory(frame[1])
            if is_too_deep(frame[1], MAX_EVENT_LEVELS):
                raise make_bad_event_error()
        count = len(out)
        if not self._has_output:
            usage = self._decoder.usage
            self._early_output_tokens = usage.output_tokens if usage else None
        if self._cost_field and self._cost_field in frame[1]:
            self._note_cost(frame[1])
        try:
            self._decoder.feed(frame, out)
        except SidecarError as error:
            repaired = _replace_half_characters(frame[1])
            if error.body.reason != "bad_event" or repaired == frame[1]:
                raise
            self._decoder.feed((frame[0], repaired), out)
        if self.skip_until is not None and (cursor := self.cursor) and cursor.sequence <= self.skip_until:
            del out[count:]
        if len(out) > count:
            self._has_output = True

    @property
    def uncounted_chars(self) -> int:
        """The characters of an answer without a token count, or with one that is older than itself; 0 otherwise.

        Most providers count only at the end, and some at the beginning too.
        """
        usage = self.usage
        if usage is not None and usage.output_tokens != self._early_output_tokens:
            return 0
        chars: int = getattr(self._decoder, "answer_chars", 0)
        return chars

    @property
    def provider_cost_usd(self) -> str | None:
        """The cost of the request so far, as the provider reports it."""
        return self._cost_usd or getattr(self._decoder, "provider_cost_usd", None)

    @property
    def cursor(self) -> Cursor | None:
        """How far a background response has come; None for any other reply."""
        cursor: Cursor | None = getattr(self._decoder, "cursor", None)
        return cursor

    def expect_new_connection(self) -> None:
        """Expect that the next bytes begin with a new event, because they come from another connection."""
        self._codec = make_codec(self._wire.CODEC)

    def build_partial(self) -> Message:
        """Return the assistant message so far, without incomplete tool calls."""
        return self._decoder.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Append the last chunks to *out* and return the outcome.

        Raises: SidecarError, `stream_interrupted` without a terminal marker.
        """
        if not self._has_begun:
            raise SidecarError("provider_error", "The provider sent an empty reply.", reason="empty_response")
        if self._document is not None:
            body = b"".join(self._document)
            require_memory(body)
            if is_too_deep(body, MAX_EVENT_LEVELS):
                raise make_unexpected_body_error()
            self._decoder, chunks = self._wire.decode_whole(body, self._route)
            self._note_cost(body)
            out.extend(chunks)
        elif not self._decoder.finished:
            self._feed_last_frames(out)
        outcome = self._decoder.end(out)
        if outcome.finish_reason == "tool_calls" and hides_all_calls(outcome.message):
            outcome = msgspec.structs.replace(outcome, finish_reason="other")
        return msgspec.structs.replace(outcome, provider_cost_usd=self.provider_cost_usd or outcome.provider_cost_usd)

    def _begin(self, data: bytes) -> None:
        first = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if not first:
            return
        self._has_begun = True
        if first == b"<" or "html" in self._headers.get("content-type", ""):
            raise make_unexpected_body_error()
        # No stream begins like a JSON document, whatever the content type says.
        if first in b"{[" and self._codec.SNIFF_DOCUMENT:
            self._document = []

    def _note_cost(self, data: bytes) -> None:
        if self._cost_field:
            self._cost_usd = costs.read_cost_usd(parse_json(data), self._route.quirks) or self._cost_usd

    def _collect_document(self, data: bytes) -> None:
        if self._document is not None:
            self._document.append(data)
            self._document_bytes += len(data)
            if self._document_bytes > MAX_DOCUMENT_BYTES:
                raise SidecarError("provider_error", "The provider's reply is too large.", reason="event_too_large")

    def _feed_last_frames(self, out: list[Chunk]) -> None:
        """Read a last event that lacks its blank line. A terminal marker counts; half an event does not."""
        try:
            for frame in self._codec.finish():
                if is_too_deep(frame[1], MAX_EVENT_LEVELS):
                    return
                self._decoder.feed(frame, out)
        except SidecarError as error:
            if error.body.reason != "bad_event":
                raise
        if self._decoder.finished:
            return
        # Some providers write a bare JSON error between events.
        document = parse_json(self._codec.stray)
        if isinstance(document, dict) and "error" in document:
            raise self._wire.classify(0, {}, self._codec.stray)


_ESCAPED = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""In JSON: a backslash, a character of two escapes, and one half of such a character."""


def _replace_half_characters(data: bytes) -> bytes:
    """Return the JSON *data* with U+FFFD for each half of a character.

    Our JSON reader refuses halves. Servers in JavaScript write them when they cut a text between the two.
    """
    return _ESCAPED.sub(lambda match: rb"\ufffd" if match["half"] else match[0], data)
