"""The finished program, spawned as an editor would, and what must be true of it whatever happens.

Three threads serve the test: one writes to stdin, one reads stdout, one reads stderr; none is
ever waited for without a limit. `Sidecar` as a context manager ends the process and asserts
the invariants.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from tests.support import canaries, process_probes, side_effects
from tests.support.environment import ROOT, environment, in_time
from tests.support.fake_provider import WAIT_SECONDS, Provider
from tests.support.lines import ABSENT, CANARY, Id, Line, Object, check_sequence, read_line, text
from tests.support.reply_scripts import ANTHROPIC, Shape

__all__ = ["ABSENT", "CANARY", "ROOT", "Id", "Line", "Object", "Sidecar", "environment", "in_time", "params", "text"]

READ_BYTES = 64 * 1024
MAX_GROWTH_BYTES = 64 * 1024 * 1024
MAX_EXTRA_DESCRIPTORS = 2
PING_SECONDS = 0.1
EXIT_SECONDS = 2.0

_TROUBLE = re.compile(
    r"Traceback|Task exception was never retrieved|was never awaited|Exception ignored|ResourceWarning"
)


def params(provider: Provider, model: str, shape: Shape = ANTHROPIC) -> Object:
    """Return the params of a chat with *provider*, which plays the script *model*."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": "Hi"}],
        "api_key": CANARY,
        "base_url": provider.url + shape.base,
        "options": {"wire": shape.wire},
    }


class Sidecar:
    """One process. Requests get ids of their own unless a test gives them."""

    def __init__(
        self,
        home: Path,
        provider: Provider | None = None,
        *,
        arguments: Sequence[str] = (),
        launcher: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.PIPE,
        stdout: int = subprocess.PIPE,
        ready: bool = True,
        hears_stderr: bool = True,
    ) -> None:
        self.provider = provider
        self.home = home
        self.expected_exit = 0
        self.expects_answers = True
        """False when the host is not there to hear the ends of its requests."""
        self.may_tear = False
        """True when the process is ended while a write waits for the host."""
        self.max_growth_bytes = MAX_GROWTH_BYTES
        env = environment(home) if env is None else dict(env)
        self.allowed = side_effects.Allowed(env, arguments)
        """What it may write, start and connect to."""
        self.lines: list[Line] = []
        self.events: list[Object] = []
        self.problems: list[str] = []
        self.stderr = b""
        self.exited_at: float | None = None
        self._ended = False
        """Whether the process has left and all that it wrote is read."""
        self._sent: Counter[Id] = Counter()
        self._taken: Counter[Id] = Counter()
        self._of: dict[Id, list[Line]] = defaultdict(list)
        self._ids = count(1)
        self._changed = threading.Condition()
        self._reading = threading.Event()
        self._reading.set()
        self._read_bytes, self._read_pause = READ_BYTES, 0.0
        self._writes: SimpleQueue[bytes | None] = SimpleQueue()
        self._wait_until_ready = ready
        self._baseline: dict[int, str] = {}
        self._baseline_rss = 0
        self._notes = side_effects.Notes()
        self._kept_secrets = canaries.of_environment(env)
        self._environment = " ".join(env.values()) + canaries.of_configuration(arguments)
        self.spawned_at = time.monotonic()
        self.process = subprocess.Popen(
            [*launcher, sys.executable, str(side_effects.WATCHED), str(self._notes.path), *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=home,
            env=env,
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
                assert not (done := side_effects.misdeeds(self._notes, self.allowed)), done
        finally:
            self._notes.remove()

    # --- to the process ---------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write *data* to stdin, in its time."""
        self._writes.put(data)

    def close_stdin(self) -> None:
        """Tell the process that no request follows."""
        self._writes.put(None)

    def line(self, request: Object) -> bytes:
        """Return *request* as a line and expect an answer to it."""
        canaries.register_fields(request.get("params"))
        self._sent[request.get("id", ABSENT)] += 1
        return json.dumps(request).encode() + b"\n"

    def request(self, action: str, params: Object | None = None, **envelope: Any) -> Object:
        """Return a request; `id=ABSENT` for one without an id."""
        request = {"id": next(self._ids), "action": action} | envelope
        if request["id"] is ABSENT:
            del request["id"]
        return request if params is None else request | {"params": params}

    def send(self, action: str, params: Object | None = None, **envelope: Any) -> Id:
        """Send a request and return its id."""
        request = self.request(action, params, **envelope)
        self.write(self.line(request))
        return request.get("id", ABSENT)

    def chat(self, model: str, shape: Shape = ANTHROPIC, action: str = "stream_chat", **envelope: Any) -> Id:
        """Send a chat to the provider, which plays the script *model*, and return its id."""
        return self.send(action, self.params(model, shape), provider=shape.provider, **envelope)

    def params(self, model: str, shape: Shape = ANTHROPIC, **more: Any) -> Object:
        """Return the params of a chat with the provider."""
        assert self.provider
        return params(self.provider, model, shape) | more

    # --- from the process -------------------------------------------------------------------

    def lines_of(self, request_id: Id) -> list[Line]:
        """Return what has come for the id, so far."""
        with self._changed:
            return list(self._of[request_id])

    def stream(self, request_id: Id, seconds: float = WAIT_SECONDS) -> list[Line]:
        """Return the lines of the next request of that id, terminal line and all, waiting for it."""
        start = self._taken[request_id]
        found: list[Line] = []

        def ended() -> bool:
            lines = self._of[request_id][start:]
            ends = (index for index, line in enumerate(lines, 1) if line.terminal and not line.refuses_duplicate)
            end = next(ends, 0)
            found[:] = lines[:end]
            return bool(found)

        self._wait(ended, f"the end of {request_id!r}", seconds)
        self._taken[request_id] += len(found)
        return found

    def reply(self, request_id: Id, seconds: float = WAIT_SECONDS) -> Object:
        """Return the terminal line of the next request of that id, waiting for it."""
        return self.stream(request_id, seconds)[-1].data

    def ask(self, action: str, params: Object | None = None, **envelope: Any) -> Object:
        """Send a request and return its terminal line."""
        return self.reply(self.send(action, params, **envelope))

    def refusal(self, raw: bytes, request_id: Id = None) -> Object:
        """Write a line that is no good and return the error that it is answered with."""
        self._sent[request_id] += request_id is not None
        self.write(raw)
        error: Object = self.reply(request_id)["error"]
        return error

    def chunk(self, request_id: Id, index: int = 0) -> Line:
        """Return the line of that index of the next request of that id, waiting for it."""
        index += self._taken[request_id]
        self._wait(lambda: len(self._of[request_id]) > index, f"line {index} of {request_id!r}")
        return self._of[request_id][index]

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
        self._wait(lambda: self.exited_at is not None, "the process to leave", seconds)
        assert self.exited_at is not None
        return self.exited_at

    def _wait(self, happened: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
        with self._changed:
            self._changed.wait_for(lambda: happened() or self._ended, seconds)
            if not happened():
                state = f"exit code {self.process.returncode}" if self._ended else "it runs"
                raise AssertionError(f"waited in vain for {what}; {state}; stderr: {self.stderr[-2000:]!r}")

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
        assert min(self.ping() for _ in range(3)) < PING_SECONDS
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
            idle = len(self.provider.open) if self.provider else 0
            now = process_probes.descriptors(self.process.pid)
            if len(now) <= len(self._baseline) + idle + MAX_EXTRA_DESCRIPTORS:
                return
            assert time.monotonic() < deadline, f"still open: {set(now.values()) - set(self._baseline.values())}"
            self.ping()

    def _check_lines(self) -> None:
        assert not self.problems, self.problems
        said = self.stderr.decode()
        assert not _TROUBLE.search(said), said
        for request_id, lines in self._of.items():
            open_at_end = check_sequence(request_id, lines)
            ends = sum(line.terminal for line in lines)
            if self.expects_answers and request_id is not None:
                assert not open_at_end, f"{request_id!r} has no end"
                assert ends == self._sent[request_id], f"{request_id!r}: {ends} ends for {self._sent[request_id]}"
        if self.expects_answers:
            assert self._sent.keys() <= self._of.keys(), f"no answer: {self._sent.keys() - self._of.keys()}"

    def _check_secrets(self) -> None:
        """Assert that no secret is where it does not belong; stdout is looked through as it comes."""
        assert not (secret := canaries.seen_in(self.stderr)), secret
        for place in (self.home, *self.allowed.open_to_view):
            for path in (place, *place.rglob("*")):
                assert not path.is_file() or not (secret := canaries.seen_in(path.read_bytes())), (path, secret)
        if self.provider and self.provider.url not in self._environment:
            for secret in self._kept_secrets:
                assert not self.provider.received(secret), "a key came to a server that it was not given for"

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

    def _take(self, at: float, raw: bytes) -> None:
        try:
            line = read_line(at, raw)
        except ValueError as error:
            self.problems.append(f"{error}: {raw[:200]!r}")
            return
        with self._changed:
            if "event" in line.data:
                self.events.append(line.data)
            else:
                self.lines.append(line)
                self._of[line.id].append(line)
            self._changed.notify_all()

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
