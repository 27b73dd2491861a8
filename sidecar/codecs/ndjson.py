"""Newline-delimited JSON → frames, one for each line. [sans-IO]

Knows lines and the bound of their size. Must not know the meaning of a line.
"""

from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError

MAX_LINE_BYTES = 16 * 1024 * 1024
"""The longest line of a reply."""


class Codec:
    """One stream. Lines end in LF; `finish` returns a last line without one."""

    SNIFF_DOCUMENT = False
    """A stream begins like a JSON document, because each of its lines is one."""

    stray = b""
    """All bytes belong to lines."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Return the lines that *data* completes, without blank ones.

        Raises: SidecarError `provider_error` for a line over MAX_LINE_BYTES.
        """
        head, *rest = data.split(b"\n")
        if not rest:
            self._keep(head)
            return []
        if self._pieces:
            head = b"".join((*self._pieces, head))
            self._pieces.clear()
        self._size_bytes = 0
        self._keep(rest.pop())
        return [("", line) for line in (head, *rest) if line.strip()]

    def finish(self) -> list[Frame]:
        """Return the last line if it lacks its LF."""
        line = b"".join(self._pieces)
        self._pieces.clear()
        return [("", line)] if line.strip() else []

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._size_bytes += len(piece)
            if self._size_bytes > MAX_LINE_BYTES:
                raise SidecarError(
                    "provider_error",
                    f"The provider sent a line of more than {MAX_LINE_BYTES} bytes.",
                    reason="event_too_large",
                )
