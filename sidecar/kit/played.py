"""The process of a played sidecar: its descriptors, its signals, and the log that the kit reads.

It runs `script.py`, starts without third-party packages because a host waits for it, and ends by itself when its time
is over, so that a killed kit leaves nothing running. Each process of a scenario writes `start-N.ndjson`; while it
runs, it holds a lock on `start-N.lock`.
"""

import json
import os
import queue
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sidecar.core import platforms
from sidecar.kit.lines import LineCutter
from sidecar.kit.script import (
    Close,
    Exit,
    Finished,
    Ignore,
    Pause,
    Player,
    Read,
    Wait,
    Write,
    WriteError,
    choose_section,
)

TIME_OVER = 70
"""The exit code of a process whose time is over."""

READ_BYTES = 65_536

LATE_SECONDS = 0.02
"""How long after a step the reader of stdin may do what the step says."""


class Played:
    """One process: the script, the reader of stdin, the log."""

    def __init__(self, folder: Path) -> None:
        self._number, self._lock = claim_number(folder)
        path = folder / f"start-{self._number}.ndjson"
        self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        setup = json.loads((folder / "play.json").read_bytes())
        self._player = Player(choose_section(setup["steps"], self._number))
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._may_read = threading.Event()
        self._may_read.set()
        self._ignored: list[str] = []
        self._taken = 0
        self._stdin_open = True
        self._stdin_closed = threading.Event()
        self._note("start", pid=os.getpid())
        timer = threading.Timer(setup["limit_ms"] / 1000, self._end, (TIME_OVER, "time_over"))
        timer.daemon = True
        timer.start()

    def run(self) -> None:
        """Play the script, then answer what comes until stdin ends."""
        signal.signal(signal.SIGTERM, lambda *_: self._take_signal())
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            self._play()
            self._receive()

    def _play(self) -> None:
        """Act until the script waits for a line."""
        while True:
            action = self._player.advance()
            self._note_progress()
            match action:
                case Wait() | Finished():
                    return
                case Write(pieces, pause_us):
                    self._write(pieces, pause_us)
                case WriteError(text):
                    _write_all(2, text)
                case Pause(ms):
                    time.sleep(ms / 1000)
                case Read(on):
                    (self._may_read.set if on else self._may_read.clear)()
                case Ignore(what):
                    self._ignored = what
                case Close(what):
                    self._close(what)
                case Exit(code):
                    self._exit(code)

    def _write(self, pieces: list[bytes], pause_us: int) -> None:
        try:
            for piece in pieces:
                _write_all(1, piece)
                if pause_us:
                    time.sleep(pause_us / 1_000_000)
        except OSError:
            self._end(1, "host_gone")
        if self._player.told_to_exit:
            self._end(0, "shutdown")

    def _close(self, what: str) -> None:
        if what == "stdout":
            os.close(1)
        else:
            # The reader does it: a pipe stays open while somebody reads it.
            self._stdin_open = False
            self._stdin_closed.wait(1)

    def _exit(self, code: int | None) -> None:
        if code is not None:
            self._end(code, "exit")
        self._note("die")
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    def _receive(self) -> None:
        """Take the next line, or the end of stdin."""
        line = self._lines.get()
        if line is not None:
            self._player.receive(line)
        elif "eof" in self._ignored:
            while True:
                time.sleep(1)
        else:
            self._end(0, "exit")

    def _read(self) -> None:
        """Read stdin to its end, in a thread."""
        cutter = LineCutter()
        while self._may_read.wait() and self._stdin_open:
            if not _is_readable():
                continue
            data = os.read(0, READ_BYTES)
            if not data:
                break
            for line in cutter.feed(data):
                self._take_line(line)
        if not self._stdin_open:
            os.close(0)
            self._stdin_closed.set()
            return
        if last := cutter.end():
            self._take_line(last)
        self._note("eof")
        self._lines.put(None)

    def _take_line(self, line: bytes) -> None:
        self._note("line", text=line.decode("utf-8", "surrogateescape"))
        self._lines.put(line)

    def _take_signal(self) -> None:
        self._note("term")
        if "term" not in self._ignored:
            self._end(0, "exit")

    def _note_progress(self) -> None:
        for number in self._player.taken[self._taken :]:
            self._note("taken", number=number)
        self._taken = len(self._player.taken)
        self._note("step", number=self._player.step, names=self._player.names)

    def _note(self, event: str, **details: Any) -> None:
        """Write a line of the log."""
        entry = {"at_ms": time.monotonic() * 1000, "event": event, **details}
        os.write(self._log, (json.dumps(entry) + "\n").encode())

    def _end(self, code: int, event: str) -> None:
        self._note(event, code=code)
        os._exit(code)


def claim_number(folder: Path) -> tuple[int, int]:
    """Return the number of this process, from 1, and the descriptor that holds its lock."""
    number = 1
    while True:
        try:
            lock = os.open(folder / f"start-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            number += 1
        else:
            platforms.try_lock(lock)
            return number, lock


def _is_readable() -> bool:
    """Return whether stdin has something to read, or its end; wait a little for it, as long as a step may be late."""
    return platforms.WINDOWS or bool(select.select([0], [], [], LATE_SECONDS)[0])


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def main() -> None:
    """Play in the folder that the command line names."""
    Played(Path(sys.argv[1])).run()
