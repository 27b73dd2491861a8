"""Child processes and what they cost: CPU, memory, and the clean surroundings that they run in. Linux only."""

import json
import os
import re
import resource
import select
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

import msgspec

ROOT = Path(__file__).resolve().parent.parent.parent

READ_BYTES = 1024 * 1024


class EndedError(Exception):
    """A process did not do what it was measured for."""


@cache
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sidecar-bench-")


def environment() -> dict[str, str]:
    """Return an environment without the user's keys, proxies and configuration."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": _home().name, "LANG": "C.UTF-8"}


def raise_file_limit() -> None:
    """Allow a socket for each of some thousand streams."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def spawn(*arguments: str, stderr: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start Python with *arguments*, unbuffered pipes on its stdin and stdout."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        bufsize=0,
        cwd=ROOT,
        env=environment(),
    )


def end(process: subprocess.Popen[bytes], seconds: float = 10) -> int:
    """Close the pipes of *process*, wait for it and return its exit code; kill it when it stays."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    return wait(process, seconds)


def wait(process: subprocess.Popen[bytes], seconds: float = 10) -> int:
    """Return the exit code of *process*, at the moment it is there; kill it when that takes longer than *seconds*."""
    if process.returncode is not None:
        return process.returncode
    # `Popen.wait` with a limit looks every 50 ms; a descriptor of the process is readable when it ends.
    ended = os.pidfd_open(process.pid)
    try:
        if not select.select([ended], [], [], seconds)[0]:
            process.kill()
    finally:
        os.close(ended)
    return process.wait()


def read_some(pipe: IO[bytes], seconds: float) -> bytes:
    """Return what has come from *pipe*.

    Raises: EndedError at its end, and when nothing has come after *seconds*.
    """
    if select.select([pipe], [], [], seconds)[0] and (data := os.read(pipe.fileno(), READ_BYTES)):
        return data
    raise EndedError("a process has ended or hangs")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds, user and system, that *pid* has used so far, to the nanosecond."""
    # The kernel's clock id of another process: clock_getcpuclockid(3).
    return time.clock_gettime((~pid << 3) | 2)


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """Return the resident memory of *pid* in MB: now (`VmRSS`) or at its highest (`VmHWM`)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    match = re.search(rf"{field}:\s+(\d+) kB", status)
    assert match, f"/proc/{pid}/status has no {field}"
    return int(match[1]) / 1024


class Server:
    """The provider of `tests.bench.server`."""

    def __init__(self, port: int) -> None:
        self.port = port

    def closed_at(self, key: int, seconds: float = 5) -> float | None:
        """Return when the stream with *key* was left by its client, or None if that has not come after *seconds*."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/closed") as reply:
                at: float | None = json.load(reply).get(str(key))
            if at is not None:
                return at
            time.sleep(0.005)
        return None


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server of its own."""
    process = spawn("-m", "tests.bench.server")
    try:
        assert process.stdout is not None
        yield Server(int(process.stdout.readline()))
    finally:
        process.terminate()
        end(process)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of a peer has cost."""

    cpu_s: float
    wall_s: float
    first_s: float
    """From the request to the first bytes, or the first event."""
    events: int
    all_first_s: float = 0.0
    """From the first request to when every stream had begun."""
    late_ms: list[float] = []
    """Of each event that was sent after that, how long it was on its way."""


class Peer:
    """A reference in a process of its own, kept warm: see `tests.bench.peers`."""

    def __init__(self, name: str, port: int) -> None:
        self._process = spawn("-m", "tests.bench.peers", name, str(port))

    def run(self, wire: str, **load: int) -> Run:
        """Run *load* and return its cost."""
        pipe, answer = self._process.stdin, self._process.stdout
        assert pipe is not None
        assert answer is not None
        order: dict[str, Any] = {"wire": wire} | load
        pipe.write(msgspec.json.encode(order) + b"\n")
        line = bytearray()
        while not line.endswith(b"\n"):
            line += read_some(answer, 60)
        return msgspec.json.decode(line, type=Run)

    def end(self) -> None:
        """Let it go."""
        end(self._process)


@contextmanager
def peers(port: int, *names: str) -> Iterator[dict[str, Peer]]:
    """Run the named peers, each in its process."""
    running = {name: Peer(name, port) for name in names}
    try:
        yield running
    finally:
        for peer in running.values():
            peer.end()
