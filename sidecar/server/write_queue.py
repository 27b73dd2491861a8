"""The lines that wait to be written: one lane per request, served round-robin, and bounded.

Knows fairness, order and backpressure. Must not know descriptors or the content of a line.
A full lane makes its own producer wait, which stops reading the provider's socket. Nothing here
makes the reader of requests wait.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from protocol.replies import Chunk, ReplyId, Streamed
from sidecar.core import event_loop
from sidecar.core.log import find_origin, log
from sidecar.server.framing import encode_line, encoder, escape_line_breaks

if TYPE_CHECKING:
    # Most processes never need them.
    from protocol.compare import CompareChunk
    from protocol.completion import CompletionChunk
    from protocol.embeddings import EmbedChunk
    from protocol.logins import LoginChunk
    from protocol.model_streams import ListChunk

    AnyChunk = Chunk | LoginChunk | ListChunk | CompareChunk | CompletionChunk | EmbedChunk

BATCH_BYTES = 64 * 1024
"""The size of one write: what a pipe usually holds, so that a cancelled request leaves little in it."""

LANE_BYTES = 256 * 1024
"""A lane that holds more than this is full."""

TOTAL_BYTES = 32 * 1024 * 1024
"""The size of all lanes together. With many lanes, each is full at its share of this."""

MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""When more than this waits, requests are refused. Replies of one line have no other bound."""

MAX_LANES = 100_000
"""When more lanes than this wait, the host counts as dead: it writes and never reads."""

SEGMENT_BYTES = 4096
"""The size of a lane's turn: new lines join the last segment until it is this long."""

MIN_LANE_BYTES = 8192
"""A lane that holds no more than this is never full, however many lanes there are."""


UNWRITABLE = (ValueError, OverflowError, RecursionError, TypeError, MemoryError)
"""Exceptions of the encoder for a value that JSON cannot hold, or that is nested too deeply or too large."""

SLICE_LANES = 32
"""So many lanes are written before the turn of the loop ends that fills them: it may read a thousand sockets first."""

QUIET_SECONDS = 0.0005
"""After so long without a write, lines are written at once. Otherwise all lines of a turn of the loop are one write."""


class _Segment:
    """Whole lines of one lane, with the `seq` of the last chunk among them."""

    __slots__ = ("last_seq", "lines")

    def __init__(self, lines: bytearray, last_seq: int | None) -> None:
        self.lines = lines
        self.last_seq = last_seq


class Lane:
    """The lines of one request that wait to be written, in order."""

    __slots__ = (
        "_has_room",
        "_queue",
        "_segments",
        "closed",
        "dropped",
        "id",
        "is_scheduled",
        "next_seq",
        "queued_bytes",
        "sent_seq",
    )

    def __init__(self, queue: "WriteQueue", request_id: ReplyId) -> None:
        self._queue = queue
        self._segments: deque[_Segment] = deque()
        self._has_room: event_loop.Event | None = None
        self.id = request_id
        self.closed = False
        self.dropped = False
        """Whether the request was cancelled, so that only its last lines are still queued."""
        self.is_scheduled = False
        """Whether the lane waits for its turn."""
        self.queued_bytes = 0
        self.next_seq = 0
        self.sent_seq: int | None = None
        """The `seq` of the last chunk that was handed to the writer."""

    def send(self, chunks: "Sequence[AnyChunk]", ending: bytes = b"") -> None:
        """Queue *chunks* as lines with the next sequence numbers; *ending* replaces the last `}}` of each.

        An ending such as `,"branch":0}}` adds a field to the data, at less than the cost of another struct.
        """
        if self.closed or self.dropped or not chunks:
            return
        queue = self._queue
        is_alone = queue.is_quiet()
        lines = bytearray() if is_alone else self._open_segment().lines
        before, seq, encode_into = len(lines), self.next_seq, encoder.encode_into
        try:
            for chunk in chunks:
                encode_into(Streamed(self.id, True, True, seq, chunk), lines, -1)  # type: ignore[arg-type]  # noqa: FBT003 - wire fields, alike for both
                if ending:
                    lines[-2:] = ending
                lines += b"\n"
                seq += 1
            if not lines.isascii() or b"\x7f" in lines:
                lines[before:] = escape_line_breaks(lines[before:])
        except BaseException:
            # Half a line must not reach the host.
            del lines[before:]
            if not lines and not is_alone:
                self._segments.pop()
            raise
        self.next_seq = seq
        if is_alone:
            self.sent_seq = seq - 1
            queue.write_at_once(bytes(lines))
            return
        self._segments[-1].last_seq = seq - 1
        self.queued_bytes += len(lines) - before
        queue.queued_bytes += len(lines) - before
        if not self.is_scheduled:
            queue.schedule(self)

    def close(self, line: msgspec.Struct) -> None:
        """Queue the terminal *line*. What is sent later is ignored.

        Raises: one of UNWRITABLE when the line cannot be encoded; the lane stays open for another one.
        """
        if not self.closed:
            lines = encode_line(line)
            self.closed = True
            is_alone = not self._segments
            self._segments.append(_Segment(lines, None))
            self.queued_bytes += len(lines)
            self._queue.queued_bytes += len(lines)
            self._queue.schedule(self, first=is_alone and len(lines) <= SEGMENT_BYTES)

    def drop(self) -> None:
        """Discard the chunks that still wait, and those that are sent later. A closed lane keeps its lines."""
        if self.closed:
            return
        self.dropped = True
        self._queue.unschedule(self)
        self._segments.clear()
        self._queue.queued_bytes -= self.queued_bytes
        self.queued_bytes = 0
        self.next_seq = 0 if self.sent_seq is None else self.sent_seq + 1
        self._wake()

    def send_last(self, chunks: "Sequence[Chunk]", ending: bytes = b"") -> None:
        """Queue *chunks* in place of those that `drop` has discarded; *ending* as in `send`."""
        if self.dropped:
            self.dropped = False
            self.send(chunks, ending)
            self.dropped = True

    @property
    def delivered_seq(self) -> int | None:
        """The `seq` of the last chunk that the host gets before a terminal line queued now; None: no chunk."""
        return self.next_seq - 1 if self.next_seq else None

    @property
    def full(self) -> bool:
        """Whether the producer should wait."""
        return self.queued_bytes > MIN_LANE_BYTES and self.queued_bytes > self._queue.lane_bytes

    async def wait_for_room(self) -> None:
        """Wait until the lane is no longer full."""
        while self.full:
            if self._has_room is None:
                self._has_room = event_loop.Event()
            await self._has_room.wait()

    def take_segment(self) -> bytearray:
        """Remove the first segment and return its lines."""
        segment = self._segments.popleft()
        self.queued_bytes -= len(segment.lines)
        self._queue.queued_bytes -= len(segment.lines)
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
        if self._has_room is not None:
            self._has_room.set()
            self._has_room = None


Write = Callable[[bytes, Callable[[bool], None]], bool | None]
"""Writes a batch and returns whether that succeeded, or None when it will pass that answer to the callback."""


class WriteQueue:
    """All lanes, and the one write that is running. Used in the event loop's thread only."""

    def __init__(
        self,
        write: Write,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Write batches with *write*; *call_soon* runs a function in the loop's next turn.

        *clock* returns seconds. With it, a line after a quiet time is written at once; None: each write waits for the
        loop's next turn.
        """
        self._write = write
        self._call_soon = call_soon
        self._clock = clock
        self._quiet_since = 0.0
        self._scheduled: deque[Lane] = deque()
        self._first: deque[Lane] = deque()
        """Lanes with nothing but a short last line: a ping's answer or a cancelled stream's end waits for no stream."""
        self.queued_bytes = 0
        """What all lanes hold."""
        self._writing = False
        """Whether a write is running or scheduled."""
        self._is_due = False
        """Whether it is scheduled for the loop's next turn."""
        self._drained: event_loop.Event | None = None
        """Set when nothing is queued any more; None: no task waits for that."""
        self.reader_gone = event_loop.Event()
        """Set when the host has closed its end, or counts as dead."""

    def open_lane(self, request_id: ReplyId) -> Lane:
        """Return a new lane for the lines of one request."""
        return Lane(self, request_id)

    @property
    def is_overfull(self) -> bool:
        """Whether the host has left so much unread that no request should begin."""
        return self.queued_bytes > MAX_QUEUED_BYTES

    @property
    def lane_bytes(self) -> int:
        """How many bytes one lane may hold now."""
        return min(LANE_BYTES, TOTAL_BYTES // max(1, len(self._scheduled)))

    def is_quiet(self) -> bool:
        """Return whether nothing waits and nothing was written just now, so that a line need not be queued."""
        clock = self._clock
        return not self._writing and clock is not None and clock() - self._quiet_since > QUIET_SECONDS

    def write_at_once(self, lines: bytes) -> None:
        """Write *lines* while the queue `is_quiet`."""
        self._writing = True
        ok = self._write_batch(lines)
        if ok and self._clock is not None:
            self._writing, self._quiet_since = False, self._clock()
        elif ok is not None:
            self._continue(ok)

    def schedule(self, lane: Lane, *, first: bool = False) -> None:
        """Give *lane*, which has lines, a turn after the lanes that wait already; *first*: before all streams."""
        if not lane.is_scheduled:
            lane.is_scheduled = True
            (self._first if first else self._scheduled).append(lane)
            if len(self._first) + len(self._scheduled) > MAX_LANES:
                self._give_up()
        if self._writing:
            if self._is_due and len(self._scheduled) >= SLICE_LANES:
                self._write_due()
            return
        # A lone line does not wait for the next turn of the loop.
        is_quiet, self._writing = self.is_quiet(), True
        if is_quiet:
            self._write_batches()
        else:
            # What the rest of this turn of the loop queues goes into the same write.
            self._is_due = True
            self._call_soon(self._write_due)

    def unschedule(self, lane: Lane) -> None:
        """Take back the turn of *lane*."""
        if lane.is_scheduled:
            lane.is_scheduled = False
            self._scheduled.remove(lane)

    async def flush(self) -> None:
        """Wait until everything that is queued has been written."""
        if self._writing:
            self._drained = self._drained or event_loop.Event()
            await self._drained.wait()

    def _write_due(self) -> None:
        if self._is_due:
            self._is_due = False
            self._write_batches()

    def _write_batches(self) -> None:
        self._writing = True
        while (self._first or self._scheduled) and not self.reader_gone.is_set():
            ok = self._write_batch()
            if ok is None:
                return
            if not ok:
                self._give_up()
        self._writing = False
        if self._clock is not None:
            self._quiet_since = self._clock()
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def _write_batch(self, lines: bytes | None = None) -> bool | None:
        """Write *lines*, by default those that wait, and return what `Write` does."""
        try:
            return self._write(self._take_batch() if lines is None else lines, self._continue)
        except (MemoryError, OSError, RuntimeError, ValueError) as error:
            # The lines are lost: nothing after them may reach the host.
            log("error", "write.failed", **find_origin(error))
            return False

    def _take_batch(self) -> bytes:
        batch: list[bytearray] = []
        size_bytes = 0
        while (self._first or self._scheduled) and size_bytes < BATCH_BYTES:
            lane = (self._first or self._scheduled).popleft()
            lines = lane.take_segment()
            batch.append(lines)
            size_bytes += len(lines)
            lane.is_scheduled = not lane.empty
            if lane.is_scheduled:
                self._scheduled.append(lane)
        return b"".join(batch)

    def _continue(self, ok: bool) -> None:  # noqa: FBT001 - a callback's one argument
        if not ok:
            self._give_up()
        self._write_batches()

    def _give_up(self) -> None:
        """Write nothing any more."""
        self.reader_gone.set()
        self._clock = None
