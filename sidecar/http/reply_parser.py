"""One reply of a server: bytes go in, a head and the pieces of a body come out. [sans-IO]

Knows where a reply ends, and refuses an ambiguous one. Must not know connections, or what a reply means. `httptools`
parses; the methods whose names begin with `on_` are its callbacks.
"""

from typing import Any

import httptools

from sidecar.http.message import MAX_HEAD_BYTES, CutReplyError, Fields, MalformedReplyError, ReplyHead, read_head

_BEGINNING = b"HTTP/"


class _AfterTheEnd(Exception):  # noqa: N818 - not an error; it never leaves this module
    """More came than belongs to the reply."""


class ReplyParser:
    """One reply. `feed` what came, then look; `finish` when nothing more will come."""

    __slots__ = (
        "_beginning",
        "_fields",
        "_parser",
        "_quiet_bytes",
        "_trailer_bytes",
        "complete",
        "excess",
        "head",
        "on_body",
        "parts",
        "reusable",
    )

    def __init__(self) -> None:
        self.head: ReplyHead | None = None
        """None until the head of the final reply is whole."""
        self.parts: list[bytes] = []
        """What has come of the body and was not taken yet: whoever takes it clears the list."""
        self.complete = False
        self.excess = False
        """Whether more came than belongs to the reply."""
        self.reusable = False
        """Whether the connection is good for another exchange, once this reply is complete."""
        self.on_body = self.parts.append
        self._fields: Fields = []
        self._beginning = b""
        self._trailer_bytes = 0
        self._quiet_bytes = 0
        """What has come since there was something to show for it: heads, sizes of chunks, trailers."""
        self._parser: Any = httptools.HttpResponseParser(self)
        # Some servers pad chunk sizes with blanks, which is unambiguous.
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)

    def feed(self, data: bytes | memoryview) -> None:
        """Parse the next bytes.

        Raises: MalformedReplyError if this is not a reply. What `parts` has so far stays valid.
        """
        if len(self._beginning) < len(_BEGINNING):
            self._begin(data)
        had = len(self.parts)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if isinstance(error.__context__, MemoryError):
                raise error.__context__ from None
            if not self.complete:
                raise MalformedReplyError("syntax") from None
            self.excess = True
        if len(self.parts) > had:
            self._quiet_bytes = 0
        else:
            self._quiet_bytes += len(data)
            if self._quiet_bytes > MAX_HEAD_BYTES and not self.complete:
                raise MalformedReplyError("endless heads or chunk sizes")

    def finish(self) -> None:
        """Note the end of the connection.

        Raises: CutReplyError if the reply is not complete.
        """
        if self.complete:
            return
        if self.head is None or self.head.framing != "until_close":
            raise CutReplyError
        self.complete = True

    def close(self) -> None:
        """Let go of what refers back here, for the parser would keep it all until cycles are collected."""
        self._parser = None

    def on_message_begin(self) -> None:
        """Refuse a second reply."""
        if self.complete:
            raise _AfterTheEnd

    def on_status(self, reason: bytes) -> None:
        """Look at a part of the reason phrase."""
        if b"\0" in reason:
            raise MalformedReplyError("status line")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of a head; one that follows the body says nothing."""
        if self.head is None:
            self._fields.append((name, value))
            return
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > MAX_HEAD_BYTES:
            raise MalformedReplyError("size of the trailer")

    def on_headers_complete(self) -> None:
        """Read a head."""
        head = read_head(self._parser.get_http_version(), self._parser.get_status_code(), self._fields)
        self._fields = []
        if head.status >= 200:
            self.head = head
            self._quiet_bytes = 0
            self.reusable = self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """Note the end of the reply, unless it was a provisional one."""
        self.complete = self.head is not None

    def _begin(self, data: bytes | memoryview) -> None:
        self._beginning += bytes(data[: len(_BEGINNING)])
        self._beginning = self._beginning[: len(_BEGINNING)]
        if not _BEGINNING.startswith(self._beginning):
            # The parser knows other protocols too.
            raise MalformedReplyError("status line")
