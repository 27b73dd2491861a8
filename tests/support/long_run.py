"""The program for runs of hours: the real dispatch, framing and write queue in the virtual loop, over canned replies.

What it writes is checked line by line and forgotten, so that its memory is the program's own. A wait takes no time.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from sidecar.config import loader
from sidecar.core import event_loop, log, platforms
from sidecar.core.http import HttpRequest, HttpTimeouts, Response, RetryBudget, Trace
from sidecar.server import dispatch
from sidecar.server.app import App
from sidecar.server.framing import LineDecoder
from sidecar.server.write_queue import WriteQueue
from tests.support.environment import environment
from tests.support.virtual_loop import its_clock, virtual_loop

PIECE_BYTES = 4096

_TROUBLE = re.compile(r"Traceback|never retrieved|never awaited|Exception ignored|ResourceWarning")


class Canned(msgspec.Struct, frozen=True):
    """A reply. One that stalls has no end."""

    status: int
    headers: dict[str, str]
    body: bytes
    stalls: bool = False


class BrokenPromiseError(AssertionError):
    """The program has done what it never may."""


class CannedTransport:
    """The HTTP client: every reply is what *answer* makes of the request."""

    def __init__(self, answer: Callable[[HttpRequest], Canned]) -> None:
        self._answer = answer
        self.open = 0
        """Replies that are being read."""

    @asynccontextmanager
    async def send(
        self,
        request: HttpRequest,
        auth: Mapping[str, str],  # noqa: ARG002 - as any client takes it
        timeouts: HttpTimeouts,  # noqa: ARG002 - as above
        trace: Trace | None = None,  # noqa: ARG002 - as above
        *,
        budget: RetryBudget | None = None,  # noqa: ARG002 - as above
        link_local: bool = False,  # noqa: ARG002 - as above
    ) -> AsyncIterator[Response]:
        """Give the reply to *request*."""
        reply = self._answer(request)
        self.open += 1
        try:
            yield Response(status=reply.status, headers=reply.headers, body=_read_pieces(reply))
        finally:
            self.open -= 1

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


async def _read_pieces(reply: Canned) -> AsyncIterator[bytes]:
    for at in range(0, len(reply.body), PIECE_BYTES):
        await anyio.lowlevel.checkpoint()
        yield reply.body[at : at + PIECE_BYTES]
    if reply.stalls:
        await anyio.Event().wait()


class LongRun:
    """One app, its host, and its internet."""

    def __init__(
        self, home: Path, answer: Callable[[HttpRequest], Canned], secrets: Sequence[str] = (), **env: str
    ) -> None:
        """*secrets* may be in no line; *env* are further variables."""
        self._env = environment(home, **env)
        self._secrets = [secret.encode() for secret in secrets]
        self._decoder = LineDecoder()
        self._rest = b""
        self._broken: BrokenPromiseError | None = None
        self.http = CannedTransport(answer)
        self.app: App
        self.accepted = 0
        """Lines that were given to the program."""
        self.ends: Counter[str] = Counter()
        """Terminal lines by error code; `ok` for success."""
        self.stderr = _Stderr()

    def run(self, play: Callable[["LongRun"], Awaitable[None]]) -> None:
        """Run the app while *play* lasts.

        Raises: BrokenPromiseError.
        """
        before, streams = dict(os.environ), (sys.stdout, sys.stderr)
        os.environ.clear()
        os.environ.update(self._env)
        config = loader.load(path=None, record_dir=None, log_level="error", env=self._env)
        log.set_level(config.log_level)
        platforms.limit_malloc_arenas()
        sys.stdout = sys.stderr = self.stderr
        try:
            with its_clock() as loop:
                self.forget_turns()
                task = loop.create_task(self._serve(config, play))
                while not task.done():
                    loop.run_until(task.done, 3600)
                task.result()
        finally:
            log.set_level("warn")
            sys.stdout, sys.stderr = streams
            os.environ.clear()
            os.environ.update(before)
        if _TROUBLE.search(self.stderr.text):
            raise BrokenPromiseError(self.stderr.text[-4000:])

    @property
    def longest_turn_seconds(self) -> float:
        """The CPU time of the longest turn of the loop since `forget_turns`. No `ping` is answered within one."""
        return virtual_loop().longest_turn_seconds

    def forget_turns(self) -> None:
        """Measure turns from now on."""
        virtual_loop().longest_turn_seconds = 0.0

    async def _serve(self, config: Any, play: Callable[["LongRun"], Awaitable[None]]) -> None:
        async with anyio.create_task_group() as tasks:
            self.app = App(config, WriteQueue(self._take_batch, event_loop.call_soon), tasks, self.http)
            await play(self)
            await self.app.upstream.flush()
            tasks.cancel_scope.cancel()

    def accept(self, data: bytes) -> None:
        """Give the program *data*, which ends in a line end."""
        for line in self._decoder.feed(data):
            self.accepted += 1
            dispatch.accept(self.app, line)

    async def accept_all(self, data: bytes) -> None:
        """Give the program the lines of *data* as it takes what it reads at once."""
        self.accepted += data.count(b"\n")
        await dispatch.accept_all(partial(dispatch.accept, self.app), self._decoder.feed(data))

    async def wait_until_idle(self) -> None:
        """Wait until every request has ended and every line is written.

        Raises: BrokenPromiseError unless each line had one terminal line.
        """
        await self.app.requests.wait_until_idle()
        await self.app.write_queue.flush()
        if self._broken:
            raise self._broken
        if (count := self.ends.total()) != self.accepted:
            raise BrokenPromiseError(f"{count} terminal lines for {self.accepted} requests")

    def _take_batch(self, batch: bytes, on_written: Callable[[bool], None]) -> bool:  # noqa: ARG002 - it never waits
        *lines, self._rest = (self._rest + batch).split(b"\n")
        try:
            for line in lines:
                self._check(line)
        except BrokenPromiseError as error:
            # The program would not pass it on.
            self._broken = self._broken or error
        return True

    def _check(self, line: bytes) -> None:
        for secret in self._secrets:
            if secret in line:
                raise BrokenPromiseError(f"a secret is in a line: {line[:400]!r}")
        reply = _reader.decode(line)
        if reply.event:
            return
        if reply.error is not None:
            self.ends[reply.error.code] += 1
            if reply.error.code == "internal_error" and reply.error.reason != "no_memory":
                raise BrokenPromiseError(f"{line[:2000]!r}")
        elif not reply.streaming or reply.data.type == "done":
            self.ends["ok"] += 1


class _Stderr:
    """Keeps the end of what is printed."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text = (self.text + text)[-100_000:]
        return len(text)

    def flush(self) -> None:
        """Hold nothing back."""


class _Error(msgspec.Struct):
    code: str
    reason: str | None = None


class _Data(msgspec.Struct):
    type: str = ""


class _Reply(msgspec.Struct):
    event: str = ""
    success: bool = False
    streaming: bool = False
    error: _Error | None = None
    data: Any = None


class _Streamed(_Reply):
    data: _Data = msgspec.field(default_factory=_Data)


class _Reader:
    """Reads of a line what tells whether it ends its request."""

    def __init__(self) -> None:
        self._any = msgspec.json.Decoder(_Reply)
        self._streamed = msgspec.json.Decoder(_Streamed)

    def decode(self, line: bytes) -> Any:
        reply = self._any.decode(line)
        return self._streamed.decode(line) if reply.streaming and reply.error is None else reply


_reader = _Reader()
