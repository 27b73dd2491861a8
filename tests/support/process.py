"""The finished program, spawned as an editor would.

Three threads serve the test: one writes to stdin, one reads stdout, one reads stderr; none is ever waited for
without a limit.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from tests.support import process_probes, side_effects
from tests.support.canaries import Secrets
from tests.support.environment import ROOT, environment, in_time
from tests.support.fake_provider import WAIT_SECONDS, Provider
from tests.support.lines import ABSENT, CANARY, Id, Line, Object, text
from tests.support.program import Program, params

__all__ = ["ABSENT", "CANARY", "ROOT", "Id", "Line", "Object", "Sidecar", "environment", "in_time", "params", "text"]

READ_BYTES = 64 * 1024
MAX_GROWTH_BYTES = 64 * 1024 * 1024
MAX_EXTRA_DESCRIPTORS = 2
PING_SECONDS = 0.1
EXIT_SECONDS = 2.0


class Sidecar(Program):
    """One process."""

    def __init__(
        self,
        home: Path,
        provider: Provider | None = None,
        *,
        arguments: Sequence[str] = (),
        launcher: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        secrets: Secrets | None = None,
        stdin: int = subprocess.PIPE,
        stdout: int = subprocess.PIPE,
        ready: bool = True,
        hears_stderr: bool = True,
    ) -> None:
        super().__init__(home, provider, arguments=arguments, env=env, secrets=secrets)
        self.expected_exit = 0
        self.may_tear = False
        """True when the process is ended while a write waits for the host."""
        self.max_growth_bytes = MAX_GROWTH_BYTES
        self.count_connections: Callable[[], int] = lambda: len(provider.open) if provider else 0
        """Tells how many connections the servers of the test have; none is in use when the process is about to end."""
        self.exited_at: float | None = None
        self._ended = False
        """Whether the process has left and all that it wrote is read."""
        self._heard_at = 0.0
        """When the last line came."""
        self._reading = threading.Event()
        self._reading.set()
        self._read_bytes, self._read_pause = READ_BYTES, 0.0
        self._writes: SimpleQueue[bytes | None] = SimpleQueue()
        self._wait_until_ready = ready
        self._baseline: dict[int, str] = {}
        self._baseline_rss = 0
        self._notes = side_effects.Notes()
        self.spawned_at = time.monotonic()
        self.process = subprocess.Popen(
            [*launcher, sys.executable, str(side_effects.WATCHED), str(self._notes.path), *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=home,
            env=self.env,
            start_new_session=True,
            bufsize=0,
        )
        self._begin_to_hear(hears_stderr)

    def __enter__(self) -> Self:
        if self._wait_until_ready:
            self.ping()
            self.note_baseline()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.end()
        finally:
            self.process.kill()
            self._reading.set()
            self._writes.put(None)
            self._end.join(WAIT_SECONDS)
            for stream in (self.process.stdout, self.process.stderr):
                if stream:
                    stream.close()
        try:
            if kind is None:
                self._check_lines()
                self._check_secrets()
                assert not (done := side_effects.misdeeds(self._notes.deeds(), self.allowed)), done
        finally:
            self._notes.remove()

    # --- to the process ---------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write *data* to stdin, in its time."""
        self._writes.put(data)

    def close_stdin(self) -> None:
        """Tell the process that no request follows."""
        self._writes.put(None)

    # --- from the process -------------------------------------------------------------------

    def ping(self) -> float:
        """Return how many seconds a ping takes."""
        start = time.monotonic()
        lines = self.stream(self.send("ping"))
        return lines[-1].at - start

    def pause(self) -> None:
        """Stop reading stdout."""
        self._reading.clear()

    def resume(self, read_bytes: int = READ_BYTES, pause_seconds: float = 0.0) -> None:
        """Read stdout, so many bytes at a time."""
        self._read_bytes, self._read_pause = read_bytes, pause_seconds
        self._reading.set()

    def exit(self, seconds: float = EXIT_SECONDS) -> float:
        """Wait for the end of the process and return when it was."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.exited_at is not None, seconds):
                raise AssertionError(f"waited in vain for the process to leave; {self._state()}")
        assert self.exited_at is not None
        return self.exited_at

    def _wait(self, happened: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until something has *happened*; fail where the process has left, or has said nothing for *seconds*."""
        with self._changed:
            begun = time.monotonic()
            while not happened():
                silent = time.monotonic() - max(begun, self._heard_at)
                if self._ended or silent >= seconds:
                    raise AssertionError(f"waited in vain for {what}; {self._state()}")
                self._changed.wait(seconds - silent)

    def _state(self) -> str:
        """Return what there is to say of a process that does not do what is waited for."""
        runs = f"exit code {self.process.returncode}" if self._ended else "it runs"
        age = time.monotonic() - self._heard_at if self._heard_at else None
        reads = any(reader.name == "_read_stdout" and reader.is_alive() for reader in self._readers)
        said = f"{len(self.lines)} lines so far, the last {'never' if age is None else f'{age:.1f} s ago'}"
        unread = process_probes.unread_bytes(self.process.stdout) if self.process.stdout and reads else 0
        return f"{runs}; {said}; reads: {reads}; unread: {unread} bytes; stderr: {self.stderr[-2000:]!r}"

    # --- what must always be true -----------------------------------------------------------

    def note_baseline(self) -> None:
        """Remember what the process has open and what memory it takes, before anything happens to it."""
        if process_probes.LINUX:
            self._baseline = process_probes.descriptors(self.process.pid)
            self._baseline_rss = process_probes.rss_bytes(self.process.pid)

    def end(self) -> None:
        """Let the process leave in the normal way, if it still runs, and assert that it leaves clean."""
        if self.exited_at is None:
            if self.process.stdin and self._wait_until_ready:
                self._check_alive()
            self.close_stdin()
        self.exit()
        assert self.process.returncode == self.expected_exit

    def _check_alive(self) -> None:
        self.resume()
        in_time(self.ping, PING_SECONDS)
        assert self.provider is None or self.provider.quiet(), "a connection to the provider is still in use"
        if process_probes.LINUX:
            assert not process_probes.children(self.process.pid)
            assert process_probes.rss_bytes(self.process.pid) - self._baseline_rss < self.max_growth_bytes
            self._check_descriptors()
        assert self.ask("ping")["data"]["in_flight"] == 0

    def _check_descriptors(self) -> None:
        deadline = time.monotonic() + 2
        while True:
            # A connection that waits for the next request is no leak.
            now = process_probes.descriptors(self.process.pid)
            if len(now) <= len(self._baseline) + self.count_connections() + MAX_EXTRA_DESCRIPTORS:
                return
            assert time.monotonic() < deadline, f"still open: {set(now.values()) - set(self._baseline.values())}"
            self.ping()

    # --- threads ----------------------------------------------------------------------------

    def _begin_to_hear(self, stderr: bool) -> None:
        self._readers = [self._thread(self._read_stderr)] if stderr else []
        if self.process.stdout:
            self._readers.append(self._thread(self._read_stdout))
        if self.process.stdin:
            self._thread(self._write_stdin)
        self._end = self._thread(self._wait_for_exit)

    def _thread(self, run: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=run, name=run.__name__, daemon=True)
        thread.start()
        return thread

    def _write_stdin(self) -> None:
        assert self.process.stdin
        with self.process.stdin as pipe:
            while (data := self._writes.get()) is not None:
                try:
                    rest = memoryview(data)
                    while rest:
                        rest = rest[pipe.write(rest) or 0 :]
                except OSError:
                    return

    def _read_stdout(self) -> None:
        assert self.process.stdout
        fd, pieces = self.process.stdout.fileno(), list[bytes]()
        while True:
            self._reading.wait()
            data = os.read(fd, self._read_bytes)
            at = time.monotonic()
            if not data:
                break
            self._heard_at = at
            *whole, rest = data.split(b"\n")
            for tail in whole:
                self._take(at, b"".join((*pieces, tail)))
                pieces.clear()
            if rest:
                pieces.append(rest)
            if self._read_pause:
                time.sleep(self._read_pause)
        if pieces and not self.may_tear:
            self.problems.append(f"stdout ends within a line: {b''.join(pieces)[:200]!r}")

    def _read_stderr(self) -> None:
        assert self.process.stderr
        fd = self.process.stderr.fileno()
        while data := os.read(fd, READ_BYTES):
            self.stderr += data

    def _wait_for_exit(self) -> None:
        self.process.wait()
        with self._changed:
            self.exited_at = time.monotonic()
            self._changed.notify_all()
        for reader in self._readers:
            reader.join(WAIT_SECONDS)
        with self._changed:
            self._ended = True
            self._changed.notify_all()
