"""The bytes of one reply → pieces of text: codec and wire joined. [sans-IO]

Knows what a reply may turn out to be: a stream, one JSON document, a web page, nothing. Must not know where the bytes
come from or what becomes of the text.
"""

from protocol.messages import Usage
from sidecar.codecs.frame import Frame
from sidecar.codecs.registry import make_codec
from sidecar.core.errors import SidecarError
from sidecar.core.json_values import is_too_deep, require_memory
from sidecar.wires.completions.types import CompletionWire, Piece, Reading
from sidecar.wires.shared.errors import make_bad_event_error, make_interrupted_error, make_unexpected_body_error

MAX_REPLY_BYTES = 8 * 1024 * 1024
"""The largest reply. A completion is short."""

_SPACE = b" \t\r\n"


class CompletionStream:
    """One reply of status 200. Call `feed` with its bytes, and `end` when it is `finished` or there are no more."""

    def __init__(self, wire: CompletionWire, headers: dict[str, str]) -> None:
        self._wire = wire
        self._is_page = "html" in headers.get("content-type", "")
        self._codec = make_codec(wire.CODEC)
        self._head: bytes | None = b""
        """The first bytes, while it is not known what they begin; None: it is."""
        self._document: list[bytes] | None = None
        self._size_bytes = 0
        self._ended: set[int] = set()
        self._seen: set[int] = set()
        self.finished = False
        """Whether the provider has said that nothing follows."""
        self.usage: Usage | None = None
        self.model: str | None = None
        self.request_id: str | None = None
        self.reasons: dict[int, str | None] = {}
        """The items that have ended, and why in the provider's own word."""

    def feed(self, data: bytes, out: list[Piece]) -> None:
        """Append the pieces that *data* completes to *out*.

        Raises: SidecarError for an error in the reply. Pieces appended before it stay valid.
        """
        self._size_bytes += len(data)
        if self._size_bytes > MAX_REPLY_BYTES:
            raise SidecarError("provider_error", "The provider's reply is too large.", reason="event_too_large")
        if self._head is not None:
            data = self._begin(self._head + data)
        if self._document is not None:
            self._document.append(data)
        elif data:
            self._take(self._codec.feed(data), out)

    def end(self, out: list[Piece]) -> None:
        """Append the last pieces to *out*.

        Raises: SidecarError, `stream_interrupted` without a sign that the reply is complete.
        """
        if self._head is not None:
            if not self._head.strip(_SPACE):
                raise SidecarError("provider_error", "The provider sent an empty reply.", reason="empty_response")
            self._document, self._head = [self._head], None
        if self._document is not None:
            self._take_document(b"".join(self._document), out)
        elif not self.finished:
            self._take_last(out)
        if not self.finished and not (self._ended and self._seen <= self._ended):
            raise make_interrupted_error()

    def _begin(self, data: bytes) -> bytes:
        """Return the bytes to read, once it is known what they are; until then nothing."""
        first = data.lstrip(b"\xef\xbb\xbf" + _SPACE)[:2]
        if len(first) < 2:
            self._head = data
            return b""
        self._head = None
        if first[:1] == b"<" or self._is_page:
            raise make_unexpected_body_error()
        # A line of NDJSON begins like a document; one that is written over several lines is a document.
        if first[:1] in b"{[" and (self._codec.SNIFF_DOCUMENT or first[1:] in (b"\n", b"\r")):
            self._document = []
        return data

    def _take_document(self, body: bytes, out: list[Piece]) -> None:
        require_memory(body)
        if is_too_deep(body):
            raise make_unexpected_body_error()
        try:
            self._add(self._wire.read(("", body.lstrip(b"\xef\xbb\xbf"))), out)
        except SidecarError as error:
            if error.body.reason == "bad_event":
                raise make_unexpected_body_error() from None
            raise
        if not self._seen and not self._ended:
            # Whatever it is, it is no completion.
            raise make_unexpected_body_error()
        self.finished = True

    def _take(self, frames: list[Frame], out: list[Piece]) -> None:
        for frame in frames:
            if self.finished:
                return
            if is_too_deep(frame[1]):
                raise make_bad_event_error()
            self._add(self._wire.read(frame), out)

    def _take_last(self, out: list[Piece]) -> None:
        """Read a last event that lacks its blank line. A sign of the end counts; half an event does not."""
        try:
            self._take(self._codec.finish(), out)
        except SidecarError as error:
            if error.body.reason != "bad_event":
                raise

    def _add(self, reading: Reading, out: list[Piece]) -> None:
        out += reading.pieces
        self._seen.update(piece.item for piece in reading.pieces)
        self._ended |= reading.reasons.keys()
        self.reasons |= {item: reason or self.reasons.get(item) for item, reason in reading.reasons.items()}
        self.usage = reading.usage or self.usage
        self.model = reading.model or self.model
        self.request_id = reading.request_id or self.request_id
        self.finished = reading.is_end
