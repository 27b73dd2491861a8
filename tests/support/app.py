"""The program within the test's own process: a real `App`, whose host and whose HTTP client are the test."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple

import anyio
import msgspec

from sidecar.config.values import Config
from sidecar.core import event_loop
from sidecar.core.http import HttpRequest, HttpTimeouts, Response, RetryBudget, Trace
from sidecar.server import dispatch
from sidecar.server.app import App
from sidecar.server.write_queue import WriteQueue
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.lines import Id, Object


class Asked(NamedTuple):
    """A request that a provider got."""

    request: HttpRequest
    auth: Mapping[str, str]


class ScriptedTransport:
    """An HTTP client whose replies are set beforehand: one for each request, in turn."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._replies: deque[tuple[int, dict[str, str], list[bytes]]] = deque()

    def answer(self, *pieces: bytes, status: int = 200, content_type: str = "application/json") -> None:
        """Answer one more request with *pieces*."""
        self._replies.append((status, {"content-type": content_type}, list(pieces)))

    def answer_with(self, document: object, status: int = 200) -> None:
        """Answer one more request with a JSON document."""
        self.answer(msgspec.json.encode(document), status=status)

    @asynccontextmanager
    async def send(
        self,
        request: HttpRequest,
        auth: Mapping[str, str],
        timeouts: HttpTimeouts,  # noqa: ARG002 - the signature of a transport
        trace: Trace | None = None,  # noqa: ARG002 - as above
        *,
        budget: RetryBudget | None = None,  # noqa: ARG002 - as above
        link_local: bool = False,  # noqa: ARG002 - as above
    ) -> AsyncIterator[Response]:
        self.asked.append(Asked(request, auth))
        status, headers, pieces = self._replies.popleft()

        async def body() -> AsyncIterator[bytes]:
            for piece in pieces:
                await anyio.lowlevel.checkpoint()
                yield piece

        yield Response(status=status, headers=headers, body=body())

    async def aclose(self) -> None:
        """Close nothing."""


def _is_terminal(line: Object) -> bool:
    return "streaming" not in line or line["data"]["type"] == "done"


class Host:
    """Writes requests to an `App` and reads its lines."""

    def __init__(self, config: Config, tasks: anyio.abc.TaskGroup, http: ScriptedTransport, *, reads: bool) -> None:
        self.http = http
        self.lines: list[Object] = []
        self._reads = reads
        self._changed = anyio.Event()
        self._ids = count(1)
        self.app = App(config, WriteQueue(self._write, event_loop.call_soon), tasks, http)

    def _write(self, batch: bytes, on_written: Callable[[bool], None]) -> bool | None:  # noqa: ARG002 - as the queue calls it
        self.lines += [msgspec.json.decode(line) for line in batch.splitlines()]
        self._changed.set()
        self._changed = anyio.Event()
        # The write of a host that does not read never ends.
        return True if self._reads else None

    def write(self, line: bytes) -> None:
        """Write *line* as it is."""
        dispatch.accept(self.app, line)

    def send(self, action: str, params: Object | None = None, **envelope: Any) -> Id:
        """Send a request and return its id."""
        request = {"id": next(self._ids), "action": action, "params": params or {}} | envelope
        self.write(msgspec.json.encode(request))
        return request["id"]

    async def read_reply(self, request_id: Id, *, terminal_lines: int = 1) -> list[Object]:
        """Wait for the terminal line of a request, or of several with that id, and return all its lines."""
        with anyio.fail_after(WAIT_SECONDS):
            while True:
                lines = [line for line in self.lines if line.get("id") == request_id]
                if sum(map(_is_terminal, lines)) >= terminal_lines:
                    return lines
                await self._changed.wait()

    async def wait_for_lines(self) -> None:
        """Wait until there are more lines."""
        with anyio.fail_after(WAIT_SECONDS):
            await self._changed.wait()

    async def ask(self, action: str, params: Object | None = None, **envelope: Any) -> Object:
        """Send a request and return its terminal line."""
        return (await self.read_reply(self.send(action, params, **envelope)))[-1]


@asynccontextmanager
async def running(*, reads: bool = True, **config: Any) -> AsyncIterator[Host]:
    """Run an app with the values of *config*. Without *reads* its host reads one batch and no more."""
    with anyio.fail_after(2 * WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            yield Host(Config(path="", **config), tasks, ScriptedTransport(), reads=reads)
            tasks.cancel_scope.cancel()
