"""An `App` in the loop of an asynchronous test, which sees its inside; `tests.support.in_process` shows the outside.

Its HTTP client and servers are the same; time passes as it does.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import msgspec

from sidecar.config.values import Config
from sidecar.core import event_loop
from sidecar.server import dispatch
from sidecar.server.app import App
from sidecar.server.write_queue import WriteQueue
from tests.support import canaries
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.in_memory import QueueServer, RuledServer
from tests.support.in_memory_transport import InMemoryTransport, Server
from tests.support.lines import Id, Object
from tests.support.provider_rows import params


def _is_terminal(line: Object) -> bool:
    return "streaming" not in line or line["data"]["type"] == "done"


class Host:
    """Writes requests to an `App` and reads its lines."""

    def __init__(
        self,
        config: Config,
        tasks: anyio.abc.TaskGroup,
        http: QueueServer,
        *,
        reads: bool = True,
        server: Server | None = None,
    ) -> None:
        """*http* answers in turn whatever is asked, or *server* does. Without *reads* one batch is all it reads."""
        self.http = http
        self.lines: list[Object] = []
        self._reads = reads
        self._changed = anyio.Event()
        self._ids = count(1)
        self.app = App(config, WriteQueue(self._write, event_loop.call_soon), tasks, InMemoryTransport(server or http))

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
            yield Host(Config(path="", **config), tasks, QueueServer(), reads=reads)
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def online(services: RuledServer, **config: Any) -> AsyncIterator[Host]:
    """Run an app that takes *services* for the internet; afterwards no line of its shows a canary.

    *config* are values of `Config`; `env` is the whole environment.
    """
    with anyio.fail_after(2 * WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            host = Host(Config(path="", **config), tasks, QueueServer(), server=services)
            yield host
            tasks.cancel_scope.cancel()
    assert not canaries.tokens(str(host.lines))


@asynccontextmanager
async def logged_off(services: RuledServer, folder: Path, **config: Any) -> AsyncIterator[Host]:
    """Run an app with a store in *folder*, in which nothing is yet unless an earlier one has put it there."""
    async with online(services, store_dir=str(folder / "store"), **config) as host:
        yield host


def send_chats(host: Host, provider: str, count: int, **more: Any) -> list[Id]:
    """Send *count* chats at once and return their ids."""
    return [host.send("stream_chat", params(**more), provider=provider) for _ in range(count)]


async def read_codes(host: Host, ids: list[Id]) -> list[str | None]:
    """Return the error codes of requests, None for those that went well."""
    replies = [(await host.read_reply(each))[-1] for each in ids]
    return [None if reply["success"] else reply["error"]["code"] for reply in replies]


async def chat(host: Host, provider: str, **more: Any) -> Object:
    """Ask a chat once, without retries, and return its terminal line."""
    options = {"retry": {"max_attempts": 1}} | more.pop("options", {})
    return await host.ask("stream_chat", params(options=options, **more), provider=provider)
