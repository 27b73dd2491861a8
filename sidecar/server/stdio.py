"""Descriptors 0, 1 and 2: claimed at the start, each served by a thread of its own.

The only module that touches them. The threads are daemons: the process can leave although the host keeps its end of
a pipe open. Must not know lines or requests.
"""

import io
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from queue import Full, Queue, SimpleQueue
from typing import NamedTuple

from sidecar.core import event_loop, platforms

READ_BYTES = 64 * 1024

SHORTAGE_SECONDS = 0.02
"""How long the thread that reads stdin waits for memory before it asks for it again."""

MAX_STDERR_LINES = 1000
"""How many writes to stderr wait for a host that does not read it; further ones are dropped and counted."""


MAX_PIECES = 32
"""How many pieces of a batch are written where none may block. The thread, which must be woken, writes the rest."""


class ClosedDescriptorError(Exception):
    """stdin or stdout was closed when the process started, so there is no host to serve."""


class Descriptors(NamedTuple):
    """Private duplicates of the descriptors that the process was started with."""

    stdin: int
    stdout: int
    stderr: int


def claim() -> Descriptors:
    """Reserve descriptors 0 and 1 for the protocol, so that everything else that prints reaches stderr.

    Descriptor 0 becomes the null device and 1 a duplicate of stderr: no library and no child process can read the
    host's requests or break a line of ours. A closed stderr becomes the null device.

    Raises: ClosedDescriptorError if 0 or 1 is not open.
    """
    missing = [name for fd, name in ((0, "stdin"), (1, "stdout")) if not _is_open(fd)]
    if not _is_open(2):
        _open_null_as(2)
    if missing:
        raise ClosedDescriptorError(" and ".join(missing))
    claimed = Descriptors(os.dup(0), os.dup(1), os.dup(2))
    for fd in claimed:
        platforms.make_binary(fd)
    _open_null_as(0)
    os.dup2(2, 1)
    return claimed


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _open_null_as(fd: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != fd:
        os.dup2(null, fd)
        os.close(null)


class Input:
    """stdin as an async iterator of bytes. Reads nothing further until the last piece has been processed.

    None stands for a moment without memory for the next piece, which comes after it.
    """

    def __init__(self, fd: int, on_shortage: Callable[[], None] = lambda: None) -> None:
        """Read *fd*. *on_shortage* is called in the thread that reads, when it gets no memory."""
        self._fd = fd
        self._on_shortage = on_shortage
        self._call_in_loop = event_loop.make_thread_caller()
        self._arrived = event_loop.Event()
        self._data: bytes | None = b""
        self._processed = threading.Semaphore(0)
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[bytes | None]:
        while True:
            await self._arrived.wait()
            data, self._arrived = self._data, event_loop.Event()
            if data == b"":
                return
            yield data
            self._processed.release()

    def _read(self) -> None:
        while True:
            data: bytes | None
            try:
                data = _read_some(self._fd)
            except MemoryError:
                # Nothing was read yet.
                self._on_shortage()
                data = None
            try:
                self._hand_over(data)
            except RuntimeError:
                return
            if data == b"":
                return
            self._processed.acquire()
            if data is None:
                time.sleep(SHORTAGE_SECONDS)

    def _hand_over(self, data: bytes | None) -> None:
        while True:
            try:
                self._call_in_loop(self._deliver, data)
            except MemoryError:
                self._on_shortage()
                time.sleep(SHORTAGE_SECONDS)
            else:
                return

    def _deliver(self, data: bytes | None) -> None:
        self._data = data
        self._arrived.set()


def _read_some(fd: int) -> bytes:
    while True:
        try:
            return os.read(fd, READ_BYTES)
        except BlockingIOError:
            platforms.wait_readable(fd)
        except OSError:
            # A terminal that hung up or a broken pipe is the end of input.
            return b""


class Output:
    """stdout: a thread that writes one batch at a time and reports when it is written."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._find_room = platforms.make_room_check(fd)
        self._nowait = platforms.get_nowait_flag(fd)
        """With it a write says itself whether there is room, which saves a call of the system for each event."""
        self._call_in_loop = event_loop.make_thread_caller()
        self._batches: SimpleQueue[tuple[bytes, Callable[[bool], None]]] = SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        threading.Thread(target=self._write, name="stdout", daemon=True).start()

    def write(self, batch: bytes, on_written: Callable[[bool], None]) -> bool | None:
        """Write the lines of *batch*, right now as far as that cannot block, the rest in the thread.

        Returns: whether they were written (false: the host has closed its end), or None when the thread writes the
        rest and then passes that answer to *on_written* in the event loop.
        """
        start, size = 0, len(batch)
        for _ in range(MAX_PIECES):
            # Whole lines alone: leaving breaks none.
            room = platforms.PIPE_BYTES
            end = size if size - start <= room else batch.rfind(b"\n", start, start + room) + 1
            if end <= start:
                break
            try:
                self._write_piece(batch[start:end])
            except BlockingIOError:
                break
            except OSError:
                return False
            if end == size:
                return True
            start = end
        self._idle.clear()
        self._batches.put((batch[start:], on_written))
        return None

    def wait_until_written(self, seconds: float) -> None:
        """Wait at most *seconds* for the batch that is being written, so that leaving breaks no line."""
        self._idle.wait(seconds)

    @property
    def reader_gone(self) -> bool:
        """Whether the host has closed its end."""
        return platforms.is_reader_gone(self._fd)

    def _write_piece(self, piece: bytes) -> None:
        """Write *piece*, of at most PIPE_BYTES.

        Raises: BlockingIOError if that would block; another OSError if the host has closed its end.
        """
        if self._nowait:
            try:
                os.pwritev(self._fd, (piece,), -1, self._nowait)
            except (BlockingIOError, BrokenPipeError):
                raise
            except OSError:
                # A system that does not know the flag has written nothing.
                self._nowait = 0
            else:
                return
        if self._find_room() < len(piece):
            raise BlockingIOError
        os.write(self._fd, piece)

    def _write(self) -> None:
        while True:
            batch, on_written = self._batches.get()
            try:
                ok = _write_all(self._fd, batch)
            except (MemoryError, RuntimeError, ValueError):
                # The queue must hear of it, or it waits for ever.
                ok = False
            self._idle.set()
            try:
                self._call_in_loop(on_written, ok)
            except RuntimeError:
                return
            if not ok:
                return


def _write_all(fd: int, batch: bytes) -> bool:
    rest = memoryview(batch)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            platforms.wait_writable(fd)
        except OSError:
            return False
    return True


class Stderr(io.TextIOBase):
    """The `sys.stderr` and `sys.stdout` of the process. Writing never blocks, even if the host never reads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: Queue[str] = Queue(MAX_STDERR_LINES)
        self._dropped = 0
        # Now and not when there is something to write: without memory a thread may die before its start returns, and
        # the event loop would wait for that.
        self._started = self._start()

    def _start(self) -> bool:
        try:
            threading.Thread(target=self._write_queued, name="stderr", daemon=True).start()
        except (RuntimeError, MemoryError):
            return False
        return True

    def writable(self) -> bool:
        """Return true."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, for libraries that ask for it."""
        return self._fd

    def write(self, text: str) -> int:
        """Queue *text*; drop it if the queue is full or no thread could be started to write it."""
        try:
            if self._started:
                self._lines.put_nowait(text)
        except (Full, MemoryError):
            self._dropped += 1
        return len(text)

    def wait_until_written(self, seconds: float) -> None:
        """Wait at most *seconds* until everything that is queued has been written."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, seconds)

    def _write_queued(self) -> None:
        while True:
            pieces = [self._lines.get()]
            while len(pieces) < MAX_STDERR_LINES and not self._lines.empty():
                pieces.append(self._lines.get())
            taken = len(pieces)
            if dropped := self._dropped:
                self._dropped = 0
                pieces.append(f"{dropped} writes were dropped because stderr was not read\n")
            if not _write_all(self._fd, "".join(pieces).encode("utf-8", "backslashreplace")):
                return
            for _ in range(taken):
                self._lines.task_done()


def redirect_prints(fd: int) -> Stderr:
    """Replace `sys.stdout` and `sys.stderr` by a stream that writes to *fd* without blocking, and return it."""
    stream = Stderr(fd)
    sys.stdout = sys.stderr = stream
    return stream
