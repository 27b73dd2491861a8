"""`text/event-stream` → frames, by the WHATWG specification. [sans-IO]

Knows line ends (LF, CRLF, CR), fields, comments and the byte order mark. Must not know the meaning of
an event. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, 2026-11.
"""

from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""The largest event, with room for an inline image."""

LINE_OVERHEAD_BYTES = 40
"""What a line takes in memory beside its text: an event of millions of short lines counts for what it holds."""

MAX_STRAY_BYTES = 64 * 1024
"""How much is kept of lines that are not fields of an event: some providers put a bare JSON error there."""

_BOM = b"\xef\xbb\xbf"
_IGNORED = (b"id", b"retry")


class Codec:
    """One stream. An event is complete at its blank line."""

    SNIFF_DOCUMENT = True
    """A reply that begins like a JSON document is one, and not a stream."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = b""
        self._after_cr = False
        self._at_start = True
        self._stray: list[bytes] = []
        self._stray_bytes = 0
        self.comments = 0
        """Comment lines so far: a sign of life that is not an event."""

    @property
    def stray(self) -> bytes:
        """The lines so far that are not fields of an event, at most MAX_STRAY_BYTES of them."""
        return b"\n".join(self._stray)

    @property
    def pending(self) -> bool:
        """Whether the stream has stopped inside an event."""
        return bool(self._data or any(self._pieces))

    def feed(self, data: bytes) -> list[Frame]:
        """Return the events that *data* completes.

        Raises: SidecarError `provider_error` for an event over MAX_EVENT_BYTES.
        """
        is_between = not (self._pieces or self._data or self._event or self._after_cr or self._at_start)
        if is_between and (event := _parse_whole_event(data)):
            # The fast path: most providers write one event at a time.
            return [event]
        if self._data_bytes + self._pieces_bytes > MAX_EVENT_BYTES:
            raise _make_too_large_error()
        if b"\r" in data or self._after_cr:
            data = self._unify_line_ends(data)
        head, *rest = data.split(b"\n")
        frames: list[Frame] = []
        if not rest:
            self._keep(head)
            return frames
        if self._pieces:
            head = b"".join((*self._pieces, head))
            self._pieces.clear()
            self._pieces_bytes = 0
        self._take_line(head, frames)
        for line in rest[:-1]:
            self._take_line(line, frames)
        self._keep(rest[-1])
        return frames

    def finish(self) -> list[Frame]:
        """Return the last event if the stream ended after its data but before its blank line."""
        frames: list[Frame] = []
        self._take_line(b"".join(self._pieces), frames)
        self._pieces.clear()
        self._take_line(b"", frames)
        return frames

    def _unify_line_ends(self, data: bytes) -> bytes:
        if not data:
            return data
        ends_in_cr = data.endswith(b"\r")
        if self._after_cr and data.startswith(b"\n"):
            # The second half of a CRLF whose first half has already ended a line.
            data = data[1:]
        self._after_cr = ends_in_cr
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._pieces_bytes += len(piece)

    def _take_line(self, line: bytes, frames: list[Frame]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                frames.append((self._event.decode("utf-8", "replace") if self._event else "", data))
                self._data.clear()
                self._data_bytes = 0
            self._event = b""
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            self._data_bytes += len(line) + LINE_OVERHEAD_BYTES
        else:
            self._take_other_field(line)

    def _take_other_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if not name:
            self.comments += 1
        elif name == b"event":
            self._event = value.removeprefix(b" ")
        elif name == b"data":
            self._data.append(b"")
            self._data_bytes += len(line) + LINE_OVERHEAD_BYTES
        elif name not in _IGNORED and self._stray_bytes < MAX_STRAY_BYTES:
            self._stray.append(line[:MAX_STRAY_BYTES])
            self._stray_bytes += len(line)


def _make_too_large_error() -> SidecarError:
    return SidecarError(
        "provider_error", f"The provider sent an event of more than {MAX_EVENT_BYTES} bytes.", reason="event_too_large"
    )


def _parse_whole_event(data: bytes) -> Frame | None:
    """Return the event in *data* when that is exactly one event, spelled as most providers do; else None."""
    last, line_end = len(data) - 2, data.find(b"\n")
    if line_end == last and data.startswith(b"data: "):
        event, payload = "", data[6:last]
    elif (
        data.startswith(b"event: ")
        and data.startswith(b"data: ", line_end + 1)
        and data.find(b"\n", line_end + 1) == last
    ):
        event, payload = data[7:line_end].decode("utf-8", "replace"), data[line_end + 7 : last]
    else:
        return None
    return (event, payload) if data.endswith(b"\n") and b"\r" not in data else None
