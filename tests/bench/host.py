"""A host: it spawns the sidecar, writes requests and reads lines, and notes when they came."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from tests.bench import processes
from tests.bench.processes import EndedError
from tests.bench.streams import STREAMS

COMMAND = ("-m", "sidecar")

TERMINAL = frozenset({"done", "reply", "failed"})

_CHUNK = re.compile(rb'\{"id":(\d+),"success":true,"streaming":true,"seq":\d+,"data":\{"type":"(\w+)"')


class Seen(NamedTuple):
    """A line and when it came. `kind` is the type of a chunk, `reply` or `failed`."""

    at: float
    id: int
    kind: str
    line: bytes

    @property
    def content(self) -> Any:
        """The line, decoded."""
        return msgspec.json.decode(self.line)


class Host:
    """One sidecar."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.spawned = time.monotonic()
        self.process = process
        self.pid = process.pid
        self._port = port
        self._rest = b""
        self._last_id = 0

    def send(self, action: str, **fields: Any) -> int:
        """Write a request and return its id."""
        self._last_id += 1
        line = msgspec.json.encode({"id": self._last_id, "action": action} | fields) + b"\n"
        assert self.process.stdin is not None
        while line:
            line = line[self.process.stdin.write(line) or 0 :]
        return self._last_id

    def chat(
        self, wire: str, *, n: int, us: int = 0, hang: int = 0, together: int = 0, fault: int = 0, idle_ms: int = 60_000
    ) -> int:
        """Ask for a stream of *n* events and return its id, which is also the server's key for it."""
        stream = STREAMS[wire]
        load = f"n={n},us={us},hang={hang},together={together},fault={fault},key={self._last_id + 1}"
        return self.send(
            "stream_chat",
            provider=stream.provider,
            params={
                "model": load,
                "messages": [{"role": "user", "content": "Hello"}],
                "options": {"wire": wire, "timeouts": {"idle_ms": idle_ms}},
                "api_key": "k-test",
                "base_url": f"http://127.0.0.1:{self._port}{stream.base_path}",
            },
        )

    def compare(self, wire: str, branches: int, *, n: int, us: int = 0) -> int:
        """Ask for as many streams as branches of one request and return its id; `branch_key` is the server's key."""
        stream, request_id = STREAMS[wire], self._last_id + 1
        models = [
            {
                "model": f"n={n},us={us},key={branch_key(request_id, branch)}",
                "api_key": "k-test",
                "base_url": f"http://127.0.0.1:{self._port}{stream.base_path}",
            }
            for branch in range(branches)
        ]
        options = {"wire": wire, "timeouts": {"idle_ms": 60_000}}
        messages = [{"role": "user", "content": "Hello"}]
        params = {"models": models, "messages": messages, "options": options}
        return self.send("compare", provider=stream.provider, params=params)

    def read(self, seconds: float = 30) -> Iterator[Seen]:
        """Yield the whole lines of the next batch.

        Raises: EndedError when none comes.
        """
        assert self.process.stdout is not None
        data = processes.read_some(self.process.stdout, seconds)
        at = time.monotonic()
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = self._rest + lines[0]
            self._rest = rest
        else:
            self._rest += rest
        for line in lines:
            yield _seen(at, line)

    def wait(self, request_id: int, *kinds: str) -> Seen:
        """Return the first line of *request_id* that is one of *kinds*; others are dropped.

        Raises: EndedError when the request ends otherwise.
        """
        while True:
            for seen in self.read():
                if seen.id == request_id and seen.kind in kinds:
                    return seen
                if seen.id == request_id and seen.kind in TERMINAL:
                    raise EndedError(f"it ended in {seen.line[:300]!r}")

    def finish(self, ids: set[int]) -> list[Seen]:
        """Return every line until each of *ids* has had its `done`.

        Raises: EndedError when one ends otherwise.
        """
        lines: list[Seen] = []
        open_ids = set(ids)
        while open_ids:
            for seen in self.read():
                lines.append(seen)
                if seen.kind == "done":
                    open_ids.discard(seen.id)
                elif seen.kind in TERMINAL and seen.id in open_ids:
                    raise EndedError(f"a stream ended in {seen.line[:300]!r}")
        return lines

    def run(self, wire: str, *, n: int, us: int = 0) -> processes.Run:
        """Stream one chat, reading as fast as it comes, and return what it has cost the sidecar."""
        cpu, start = processes.cpu_s(self.pid), time.monotonic()
        lines = self.finish({self.chat(wire, n=n, us=us)})
        wall_s, cpu_s = time.monotonic() - start, processes.cpu_s(self.pid) - cpu
        first = next(seen.at for seen in lines if seen.kind == "content")
        events = sum(seen.kind == "content" for seen in lines)
        if events != n:
            raise EndedError(f"{events} of {n} events came")
        return processes.Run(cpu_s=cpu_s, wall_s=wall_s, first_s=first - start, events=events)

    def ping(self) -> float:
        """Return the seconds from a ping to its answer."""
        start = time.monotonic()
        return self.wait(self.send("ping"), "reply").at - start

    def terminate(self) -> None:
        """Send the signal that means: stop and leave."""
        self.process.send_signal(signal.SIGTERM)


def branch_key(request_id: int, branch: int) -> int:
    """Return the server's key for a branch."""
    return 1_000_000 + request_id * 100 + branch


def _seen(at: float, line: bytes) -> Seen:
    # A quick look, for lines come by the ten thousand; what it does not know is decoded.
    if match := _CHUNK.match(line):
        return Seen(at, int(match[1]), match[2].decode(), line)
    content = msgspec.json.decode(line)
    if not content["success"]:
        return Seen(at, content["id"], "failed", line)
    return Seen(at, content["id"], content["data"]["type"] if content.get("streaming") else "reply", line)


@contextmanager
def hosting(port: int = 0, *arguments: str) -> Iterator[Host]:
    """Spawn a sidecar whose chats go to *port*."""
    host = Host(processes.spawn(*(arguments or COMMAND)), port)
    try:
        yield host
    finally:
        processes.end(host.process)
