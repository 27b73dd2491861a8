"""Lines waiting for the host: a lane for each request, served in turn, every queue bounded.

Knows fairness, order and backpressure. Must not know descriptors or what a line says.
A lane that is full makes its own producer wait (which stops reading the provider's socket);
nothing here ever makes the reader of requests wait.
"""

from collections import deque
from collections.abc import Callable, Sequence

import anyio
import msgspec

from protocol.replies import Chunk, LoginChunk, ReplyId, Streamed
from sidecar.server.framing import encode_line, encoder, escape_breakers

BATCH_BYTES = 64 * 1024
"""One write: as much as a pipe usually holds, so that a slow host is not far behind what we hold."""

LANE_BYTES = 256 * 1024
"""A lane with more than this is full."""

TOTAL_BYTES = 32 * 1024 * 1024
"""What all lanes may hold together before each is full at its share of it."""

MAX_LANES = 100_000
"""Requests with unread lines after which the host is taken for dead: it writes and never reads."""


SEGMENT_BYTES = 4096
"""A lane's turn: a segment that is shorter takes the lines that come next."""

ROOMY_BYTES = 8192
"""A lane with no more than this is never full, however many there are."""


class _Segment:
    """Whole lines of one lane, and the `seq` of the last chunk among them."""

    __slots__ = ("last_seq", "lines")

    def __init__(self, lines: bytearray, last_seq: int | None) -> None:
        self.lines = lines
        self.last_seq = last_seq


class Lane:
    """The lines of one request, in order."""

    __slots__ = (
        "_outbox",
        "_room",
        "_segments",
        "closed",
        "dropped",
        "id",
        "in_turn",
        "next_seq",
        "queued_bytes",
        "sent_seq",
    )

    def __init__(self, outbox: "Outbox", request_id: ReplyId) -> None:
        self._outbox = outbox
        self._segments: deque[_Segment] = deque()
        self._room: anyio.Event | None = None
        self.id = request_id
        self.closed = False
        self.dropped = False
        """Whether the host wants no more of it: only the terminal line is still taken."""
        self.in_turn = False
        """Whether the lane stands in the outbox's queue of turns."""
        self.queued_bytes = 0
        self.next_seq = 0
        self.sent_seq: int | None = None
        """`seq` of the last chunk that went to the writer."""

    def send(self, chunks: Sequence[Chunk | LoginChunk]) -> None:
        """Queue *chunks* as lines, numbered on."""
        if self.closed or self.dropped or not chunks:
            return
        segment = self._open_segment()
        lines, seq, encode_into = segment.lines, self.next_seq, encoder.encode_into
        before = len(lines)
        for chunk in chunks:
            encode_into(Streamed(self.id, True, True, seq, chunk), lines, -1)  # type: ignore[arg-type]  # noqa: FBT003 - wire fields, alike for both
            lines += b"\n"
            seq += 1
        if not lines.isascii() or b"\x7f" in lines:
            lines[before:] = escape_breakers(lines[before:])
        self.next_seq = seq
        segment.last_seq = seq - 1
        self.queued_bytes += len(lines) - before
        if not self.in_turn:
            self._outbox.ready(self)

    def close(self, line: msgspec.Struct) -> None:
        """Queue the terminal *line*; whatever comes later is ignored."""
        if not self.closed:
            self.closed = True
            lines = encode_line(line)
            self._segments.append(_Segment(bytearray(lines), None))
            self.queued_bytes += len(lines)
            self._outbox.ready(self)

    def drop(self) -> None:
        """Forget the chunks that have not gone to the writer yet, and those that are still to come."""
        self.dropped = True
        self._outbox.forget(self)
        self._segments.clear()
        self.queued_bytes = 0
        self._wake()

    @property
    def delivered_seq(self) -> int | None:
        """`seq` of the last chunk that the host gets before a terminal line that is queued now."""
        if self.dropped:
            return self.sent_seq
        return self.next_seq - 1 if self.next_seq else None

    @property
    def full(self) -> bool:
        """Whether the producer should wait."""
        return self.queued_bytes > ROOMY_BYTES and self.queued_bytes > self._outbox.lane_bytes

    async def room(self) -> None:
        """Wait until the lane is no longer full."""
        while self.full:
            if self._room is None:
                self._room = anyio.Event()
            await self._room.wait()

    def take(self) -> bytearray:
        """Return the first segment, for the writer."""
        segment = self._segments.popleft()
        self.queued_bytes -= len(segment.lines)
        if segment.last_seq is not None:
            self.sent_seq = segment.last_seq
        if not self.full:
            self._wake()
        return segment.lines

    @property
    def empty(self) -> bool:
        """Whether nothing is queued."""
        return not self._segments

    def _open_segment(self) -> _Segment:
        segment = self._segments[-1] if self._segments else None
        if segment is None or len(segment.lines) >= SEGMENT_BYTES:
            segment = _Segment(bytearray(), None)
            self._segments.append(segment)
        return segment

    def _wake(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None


Write = Callable[[bytes, Callable[[bool], None]], bool | None]
"""Writes a batch and returns whether it could, or None when it will call back with that answer."""


class Outbox:
    """All lanes, and the one write that is under way. Lives in the event loop's thread."""

    def __init__(self, write: Write, soon: Callable[[Callable[[], None]], object]) -> None:
        """Write by *write*; *soon* runs a function in the loop's next turn."""
        self._write = write
        self._soon = soon
        self._turns: deque[Lane] = deque()
        self._writing = False
        """Whether a write is under way or due."""
        self._empty = anyio.Event()
        self._empty.set()
        self.gone = anyio.Event()
        """Set when the host's end is closed, or the host is taken for dead."""

    def lane(self, request_id: ReplyId) -> Lane:
        """Return a new lane for the lines of one request."""
        return Lane(self, request_id)

    @property
    def lane_bytes(self) -> int:
        """What one lane may hold now."""
        return min(LANE_BYTES, TOTAL_BYTES // max(1, len(self._turns)))

    def ready(self, lane: Lane) -> None:
        """Give *lane*, which has something to write, its place in the queue of turns."""
        if not lane.in_turn:
            lane.in_turn = True
            self._turns.append(lane)
            if len(self._turns) > MAX_LANES:
                self.gone.set()
        if not self._writing:
            # All that this turn of the loop still brings goes into the same write.
            self._writing = True
            if self._empty.is_set():
                self._empty = anyio.Event()
            self._soon(self._next)

    def forget(self, lane: Lane) -> None:
        """Take *lane* out of the queue of turns."""
        if lane.in_turn:
            lane.in_turn = False
            self._turns.remove(lane)

    async def flush(self) -> None:
        """Wait until everything queued is written."""
        await self._empty.wait()

    def _next(self) -> None:
        self._writing = True
        while self._turns and not self.gone.is_set():
            ok = self._write(self._batch(), self._written)
            if ok is None:
                return
            if not ok:
                self.gone.set()
        self._writing = False
        self._empty.set()

    def _batch(self) -> bytes:
        batch: list[bytearray] = []
        size_bytes = 0
        while self._turns and size_bytes < BATCH_BYTES:
            lane = self._turns.popleft()
            lines = lane.take()
            batch.append(lines)
            size_bytes += len(lines)
            lane.in_turn = not lane.empty
            if lane.in_turn:
                self._turns.append(lane)
        return b"".join(batch)

    def _written(self, ok: bool) -> None:  # noqa: FBT001 - a callback's one argument
        if not ok:
            self.gone.set()
        self._next()
