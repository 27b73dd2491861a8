"""The bytes of one reply → chunks: codec and decoder joined. [sans-IO]

Knows what a reply may turn out to be (a stream, one JSON document, a web page, nothing).
Must not know where the bytes come from or where the chunks go.
"""

import re

import msgspec

from protocol.messages import Message, Usage
from protocol.replies import Chunk
from sidecar.codecs.registry import make_codec
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import parse_json
from sidecar.generation.request_limits import count_chars
from sidecar.wires.shared import costs
from sidecar.wires.shared.errors import make_unexpected_body_error
from sidecar.wires.shared.types import Cursor, Outcome, Route, StreamDecoder, Wire

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
"""Largest reply that is one JSON document."""


class ResponseStream:
    """One reply of status 200. `feed` what came; `end` when `finished` is set or the bytes are."""

    def __init__(self, wire: Wire, route: Route, headers: dict[str, str]) -> None:
        self._wire = wire
        self._route = route
        self._headers = headers
        self._codec = make_codec(wire.CODEC)
        self._decoder: StreamDecoder = wire.Decoder(route)
        self._begun = False
        self._document: list[bytes] | None = None
        self._document_bytes = 0
        self._cost_usd: str | None = None
        """As it is said beside the usage."""
        self._early_tokens: int | None = None
        """What was said of the output's length before there was any: some say 1."""
        self._spoken = False
        self._chars = 0
        """Of the output, where something was said."""
        self._cost_mark = route.quirks.cost_field.partition(".")[0].encode()
        self.skip_until: int | None = None
        """Chunks of events up to that number are known to the host."""

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

        Raises: SidecarError for an error in the reply; what was appended before stays good.
        """
        if not self._begun:
            self._begin(data)
        if self._document is not None:
            self._keep(data)
            return
        feed = self._decoder.feed
        for frame in self._codec.feed(data):
            known = len(out)
            if not self._spoken:
                said = self._decoder.usage
                self._early_tokens = said.output_tokens if said else None
            if self._cost_mark and self._cost_mark in frame[1]:
                self._note_cost(frame[1])
            try:
                feed(frame, out)
            except SidecarError as error:
                mended = _replace_half_characters(frame[1])
                if error.body.reason != "bad_event" or mended == frame[1]:
                    raise
                feed((frame[0], mended), out)
            if self.skip_until is not None and (cursor := self.cursor) and cursor.sequence <= self.skip_until:
                del out[known:]
            if len(out) > known:
                self._spoken = True
                self._chars += sum(map(count_chars, out[known:])) if self._early_tokens is not None else 0

    @property
    def uncounted_chars(self) -> int:
        """The characters of an answer whose only count of tokens is from before it began; 0: there is another, or none.

        So it is until the end where a provider counts at the beginning and at the end alone.
        """
        usage = self.usage
        return self._chars if usage is not None and usage.output_tokens == self._early_tokens else 0

    @property
    def provider_cost_usd(self) -> str | None:
        """What the provider has said so far that the request cost."""
        return self._cost_usd or getattr(self._decoder, "provider_cost_usd", None)

    @property
    def cursor(self) -> Cursor | None:
        """How far the reply has come, where its provider goes on with it whoever listens."""
        found: Cursor | None = getattr(self._decoder, "cursor", None)
        return found

    def expect_new_connection(self) -> None:
        """Expect that what comes next begins with a new event: on another connection, where this one has broken."""
        self._codec = make_codec(self._wire.CODEC)

    def partial(self) -> Message:
        """Return the assistant message as far as it has come, without tool calls that are not whole."""
        return self._decoder.build_partial()

    def end(self, out: list[Chunk]) -> Outcome:
        """Append what is still open to *out* and return the outcome.

        Raises: SidecarError, `stream_interrupted` when the terminal marker has not come.
        """
        if not self._begun:
            raise SidecarError("provider_error", "The provider sent an empty reply.", reason="empty_response")
        if self._document is not None:
            body = b"".join(self._document)
            self._decoder, chunks = self._wire.decode_whole(body, self._route)
            self._note_cost(body)
            out.extend(chunks)
        elif not self._decoder.finished:
            self._last_frames(out)
        outcome = self._decoder.end(out)
        return msgspec.structs.replace(outcome, provider_cost_usd=self.provider_cost_usd or outcome.provider_cost_usd)

    def _begin(self, data: bytes) -> None:
        first = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if not first:
            return
        self._begun = True
        if first == b"<" or "html" in self._headers.get("content-type", ""):
            raise make_unexpected_body_error()
        # No stream begins like a JSON document, whatever the content type says.
        if first in b"{[" and self._codec.SNIFF_DOCUMENT:
            self._document = []

    def _note_cost(self, data: bytes) -> None:
        if self._cost_mark:
            self._cost_usd = costs.read_cost_usd(parse_json(data), self._route.quirks) or self._cost_usd

    def _keep(self, data: bytes) -> None:
        if self._document is not None:
            self._document.append(data)
            self._document_bytes += len(data)
            if self._document_bytes > MAX_DOCUMENT_BYTES:
                raise SidecarError("provider_error", "The provider's reply is too large.", reason="event_too_large")

    def _last_frames(self, out: list[Chunk]) -> None:
        """Read what stands at the end without its blank line: a terminal marker counts, half an event does not."""
        try:
            for frame in self._codec.finish():
                self._decoder.feed(frame, out)
        except SidecarError as error:
            if error.body.reason != "bad_event":
                raise
        if self._decoder.finished:
            return
        # Some providers write a bare JSON error between the events.
        raw = parse_json(self._codec.stray)
        if isinstance(raw, dict) and "error" in raw:
            raise self._wire.classify(0, {}, self._codec.stray)


_ESCAPED = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""In JSON: a backslash, a character of two escapes, and half of one."""


def _replace_half_characters(data: bytes) -> bytes:
    """Return the JSON *data* with U+FFFD for each half of a character.

    No reader of JSON takes those; servers in JavaScript write them where they cut a text between the halves.
    """
    return _ESCAPED.sub(lambda found: rb"\ufffd" if found["half"] else found[0], data)
