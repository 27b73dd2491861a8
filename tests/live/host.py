"""A host that asks one thing after the other: it writes a line and waits for the lines of that id."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent.parent

Object = dict[str, Any]


class SilentError(Exception):
    """No line came in time."""


class Line(NamedTuple):
    """One line and when it was read."""

    at: float
    data: Object

    @property
    def terminal(self) -> bool:
        """Whether it ends its request."""
        return "streaming" not in self.data or self.data["data"]["type"] == "done"


class Host:
    """The process and its open requests."""

    def __init__(self, env: Mapping[str, str] = os.environ, seconds: float = 120.0) -> None:
        self._seconds = seconds
        self._last_id = 0
        self._lines: dict[int, SimpleQueue[Line]] = defaultdict(SimpleQueue)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sidecar"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=dict(env),
            bufsize=0,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as pipe, open(pipe.fileno(), "rb", closefd=False) as lines:
            for raw in lines:
                at, data = time.monotonic(), json.loads(raw)
                self._lines[data.get("id", 0)].put(Line(at, data))

    def send(self, action: str, params: Object | None = None, provider: str | None = None) -> int:
        """Write a request and return its id."""
        self._last_id += 1
        request = {"id": self._last_id, "action": action, "params": params or {}, "timeout": int(self._seconds * 1000)}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request | ({"provider": provider} if provider else {})).encode() + b"\n")
        return self._last_id

    def line(self, request_id: int) -> Line:
        """Return the next line of that id, waiting for it.

        Raises: SilentError when none comes.
        """
        try:
            # A little longer than the request's own limit, whose end is a line.
            return self._lines[request_id].get(timeout=self._seconds + 5)
        except Empty:
            raise SilentError(f"no line came within {self._seconds:.0f} s") from None

    def stream(self, request_id: int) -> list[Line]:
        """Return all lines of that id that are still to come."""
        lines = [self.line(request_id)]
        while not lines[-1].terminal:
            lines.append(self.line(request_id))
        return lines

    def ask(self, action: str, params: Object | None = None, provider: str | None = None) -> Object:
        """Send a request and return its terminal line."""
        return self.stream(self.send(action, params, provider))[-1].data
