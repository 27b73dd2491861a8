"""One connection: a request is written, a reply is read as fast as its reader takes it, one exchange at a time.

Knows the event loop's own interface to sockets (asyncio's protocols), which is several times as fast
as the layers above it, and the limits of time within an exchange. Must not know addresses, pools or
the codes of errors.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from sidecar.http.message import CutReplyError, IdleError, MalformedReplyError, UnwrittenError
from sidecar.http.reply_parser import ReplyParser
from sidecar.http.turns import Turns
from sidecar.http.unread import Unread, hold_unread

READ_BYTES = 16 * 1024
"""The most that is read at once."""

LARGE_BYTES = 4 * 1024
"""A piece of this size waits for its turn: it comes of a server that is faster than we are."""

UNREAD_BYTES = 32 * 1024
"""What may wait for a reader that is slow; the server's own window closes soon after."""

WRITE_BYTES = 64 * 1024
"""What is handed to the system at once: of a large request it holds no second copy."""

WRITE_SECONDS = 30.0
"""How long a server may take nothing of a request."""


Failure = OSError | MemoryError | CutReplyError | MalformedReplyError | IdleError | UnwrittenError
"""What a reply may end with in the place of its end."""


class Connection(asyncio.BufferedProtocol):
    """One connection. `begin`, then wait for `arrival` and look at the reply; `end` once it is read, or left."""

    def __init__(self, buffer: memoryview, turns: Turns, hang_up: Callable[[], None]) -> None:
        """Read into *buffer*, which nobody else uses while a read lasts; *turns* share out the loop's time.

        *hang_up* ends what goes over the socket at once; the loop closes it in its next turn, which may be a while off.
        """
        self._loop = asyncio.get_running_loop()
        self._buffer = buffer
        self._turns = turns
        self._hang_up = hang_up
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[bool] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._has_stopped = False
        """Whether that has returned false, of which its reader does not know yet."""
        self._is_late = False
        """Whether the reader is to be woken and must wait for that."""
        self._is_woken = False
        """Whether the reader was woken and has not read yet."""
        self._waiting_since = 0.0
        self._idle_seconds: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._is_reading = True
        self._unread_bytes = 0
        self._unsent = memoryview(b"")
        self._unread: Unread | None = None
        """Held while a large request is written."""
        self._write_timer: asyncio.TimerHandle | None = None
        self._has_room = True
        self.reply: ReplyParser | None = None
        """The reply that is under way; None between two exchanges."""
        self.failure: Failure | None = None
        """Why the rest of the reply cannot be read. What arrived before is valid."""
        self.closed = False
        """Whether the socket is closed, or will be in the next turn of the loop."""
        self._is_lost = False
        self._on_lost: Callable[[], None] | None = None

    def when_lost(self, on_lost: Callable[[], None]) -> None:
        """Call *on_lost* when the socket is closed, or at once if it is."""
        if self._is_lost:
            on_lost()
        else:
            self._on_lost = on_lost

    # --- an exchange -----------------------------------------------------------------------------

    def begin(self, head: bytes, body: bytes) -> ReplyParser:
        """Write a request and return its reply, which is still empty."""
        self.reply = reply = ReplyParser()
        self._idle_seconds = None
        if self.closed:
            self.failure = CutReplyError()
            return reply
        if len(body) <= WRITE_BYTES:
            self._transport.write(head + body)
        else:
            self._unread = hold_unread(self._transport)
            self._transport.write(head)
            self._unsent = memoryview(body)
            self._send_more()
        return reply

    def limit_silence(self, seconds: float) -> None:
        """Limit the silence of the server from now on. Before the head another limit applies."""
        self._idle_seconds = seconds
        if self._is_woken:
            self._rest()

    def wait_for_more(self, take: Callable[[bytes], bool] | None = None) -> asyncio.Future[bool]:
        """Return a future of the next news: a head, a part of the body, the end or a failure.

        Short parts of the body go to *take* as they are read, and are no news, until it returns false: then the
        future's result is true. It is false for all else.
        """
        if self._is_woken:
            self._rest()
        self._take, self._has_stopped = take, False
        self._waiter = waiter = self._loop.create_future()
        if self._idle_seconds is not None:
            self._waiting_since = now = self._loop.time()
            if self._idle_timer is None:
                # One timer for the whole body; when it fires, it is set anew if there was life.
                self._idle_timer = self._loop.call_at(now + self._idle_seconds, self._look_for_life)
        return waiter

    def resume_reading(self) -> None:
        """Read on: the parts of the body so far were taken."""
        self._unread_bytes = 0
        if self._is_woken:
            self._rest()
        if not self._is_reading and not self.closed:
            self._is_reading = True
            self._transport.resume_reading()

    def end(self) -> bool:
        """End the exchange at whatever point. Return whether the connection can be used again; if not, close it."""
        reply, self.reply = self.reply, None
        self._take = None
        if reply is None:
            return False
        reply.close()
        if self._is_woken:
            self._rest()
        if self._unread is not None:
            self._unread.close()
            self._unread = None
        self._end_timers()
        is_good = reply.complete and reply.reusable and not reply.excess and self.failure is None
        if not is_good or self._unsent or self.closed or self._transport.get_write_buffer_size():
            self.abort()
            return False
        self.resume_reading()
        return True

    def abort(self) -> None:
        """Close the socket at once."""
        self.closed = True
        self._hang_up()
        self._transport.abort()

    def has_data(self, is_readable: Callable[[int], bool]) -> bool:
        """Return whether something has come that was not asked for, or the end, of which the loop has not told yet."""
        return is_readable(self._transport.get_extra_info("socket").fileno())

    # --- what the event loop calls ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep *transport*."""
        # Every loop's is one, some by their shape alone.
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's interface
        """Return where to put what comes."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has come."""
        reply = self.reply
        if reply is None:
            # It would answer the next request.
            self.abort()
            return
        try:
            reply.feed(self._buffer[:nbytes])
        except (MalformedReplyError, MemoryError) as error:
            self._fail(error)
            return
        if reply.parts:
            take, waiter = self._take, self._waiter
            # A reader that is cancelled does not wait, and has not left yet.
            is_awaited = waiter is not None and not waiter.done()
            if take is not None and nbytes < LARGE_BYTES and is_awaited and not reply.complete:
                self._pass_on(reply, take)
                return
            self._unread_bytes += nbytes
            has_turn = nbytes < LARGE_BYTES or self._turns.take(nbytes, self._wake)
            if self._is_reading and (not has_turn or self._unread_bytes > UNREAD_BYTES):
                self._is_reading = False
                self._transport.pause_reading()
            if not has_turn:
                return
        elif not reply.complete and (reply.head is None or self._idle_seconds is not None):
            # A part of a head, or of the size of a chunk: nothing to look at.
            return
        self._wake()

    def eof_received(self) -> None:
        """Take the end of what the server sends; the loop closes the socket once what is written has gone."""
        self.closed = True
        if self.reply is None:
            self.abort()
            return
        try:
            self.reply.finish()
        except CutReplyError as error:
            self._fail(error)
        else:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""
        if exc is None and self.reply is not None and not self.closed:
            # So uvloop tells of TLS that just ends.
            self.eof_received()
        self.closed = self._is_lost = True
        if self.reply is not None and not self.reply.complete:
            self._fail(exc if isinstance(exc, OSError) else CutReplyError())
        self._end_timers()
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()

    def pause_writing(self) -> None:
        """Hold the rest of the request back: the server takes it more slowly than we have it."""
        self._has_room = False
        self._write_timer = self._loop.call_later(WRITE_SECONDS, self._fail, UnwrittenError())

    def resume_writing(self) -> None:
        """Write on."""
        self._has_room = True
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        self._send_more()

    # --- the inside ------------------------------------------------------------------------------

    def _send_more(self) -> None:
        while self._unsent and self._has_room and not self._transport.is_closing() and not self._is_refused():
            piece, self._unsent = self._unsent[:WRITE_BYTES], self._unsent[WRITE_BYTES:]
            self._transport.write(piece)

    def _is_refused(self) -> bool:
        """Return whether the reply is an error already: the server needs no more of the request."""
        return self.reply is not None and self.reply.head is not None and self.reply.head.status >= 400

    def _read_rest(self) -> None:
        """Take what the server had sent before it closed the connection to which a large request was being written."""
        unread, self._unread = self._unread, None
        if unread is None:
            return
        if self.reply is not None and not self.reply.complete and (rest := unread.read()):
            with suppress(MalformedReplyError):
                self.reply.feed(rest)
        unread.close()

    def _look_for_life(self) -> None:
        self._idle_timer = None
        if self._waiter is None or self._idle_seconds is None:
            # The reader is busy. Its next wait has a timer of its own.
            return
        until = self._waiting_since + self._idle_seconds
        if self._loop.time() >= until:
            self._fail(IdleError())
        else:
            self._idle_timer = self._loop.call_at(until, self._look_for_life)

    def _fail(self, failure: Failure) -> None:
        self._read_rest()
        if self.failure is None:
            self.failure = failure
        self._unsent = memoryview(b"")
        if not self._is_lost:
            self.abort()
        self._wake()

    def _pass_on(self, reply: ReplyParser, take: Callable[[bytes], bool]) -> None:
        """Give the parts to *take*: a task that is woken for each event costs as much as the event."""
        parts = reply.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._waiting_since = self._loop.time()
        try:
            goes_on = take(data)
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            waiter, self._waiter, self._take = self._waiter, None, None
            if waiter is not None:
                waiter.set_exception(error)
            return
        if not goes_on:
            self._take, self._has_stopped = None, True
            self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done() or self._is_late:
            return
        if self._turns.wake(self._wake_late):
            self._waiter = self._take = None
            self._is_woken = True
            waiter.set_result(self._has_stopped)
        else:
            self._is_late = True

    def _wake_late(self) -> None:
        self._is_late = False
        self._wake()

    def _rest(self) -> None:
        self._is_woken = False
        self._turns.rest()

    def _end_timers(self) -> None:
        for timer in (self._idle_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._idle_timer = self._write_timer = None
