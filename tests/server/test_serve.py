"""The life of a process within the test's own: requests through real pipes, and every way to leave."""

import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest

from sidecar.config.values import Config
from sidecar.core import platforms
from sidecar.core.platforms import Parent
from sidecar.server import dispatch, serve, stdio
from sidecar.server.actions import ACTIONS, TaskAction
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.lines import Object

PING = b'{"id":1,"action":"ping"}\n'
WAIT = b'{"id":2,"action":"calculate_cost","params":{"model":"m","usage":{"input_tokens":1,"output_tokens":1}}}\n'


class Process:
    """What a host has of a process: two pipes, and the exit code in the end."""

    def __init__(self) -> None:
        self._requests, self.stdin = os.pipe()
        self.stdout, self._replies = os.pipe()
        self.exits: list[int] = []
        self._open = {self.stdin, self.stdout}

    async def serve(self) -> None:
        descriptors = stdio.Descriptors(self._requests, self._replies, self._replies)
        with anyio.fail_after(WAIT_SECONDS):
            await serve.serve(Config(path=""), descriptors, self.exits.append)

    def write(self, lines: bytes) -> None:
        os.write(self.stdin, lines)

    def close(self, fd: int) -> None:
        """Close the host's end of a pipe."""
        self._open.discard(fd)
        os.close(fd)

    def end(self) -> None:
        """Close every end; the thread that reads requests ends with it."""
        for fd in [*self._open]:
            self.close(fd)

    async def read_replies(self, number: int) -> list[Object]:
        """Wait for so many lines."""
        data = b""
        with anyio.fail_after(WAIT_SECONDS):
            while data.count(b"\n") < number:
                data += await anyio.to_thread.run_sync(os.read, self.stdout, 65536)
        return [msgspec.json.decode(line) for line in data.splitlines()]


@pytest.fixture
def parent_ends() -> list[bool]:
    """Return a list that the end of the parent is put into."""
    return []


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, parent_ends: list[bool]) -> Iterator[Process]:
    """Return a process that leaves the signals and the garbage collector of the test's own alone."""
    monkeypatch.setattr(platforms, "LEAVE_SIGNALS", ())
    monkeypatch.setattr(platforms, "IGNORED_SIGNALS", ())
    monkeypatch.setattr(platforms, "PARENT_SIGNAL", None)
    monkeypatch.setattr(platforms, "find_parent", lambda: Parent(lambda: bool(parent_ends), None))
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    monkeypatch.setattr(serve, "HOST_CHECK_SECONDS", 0.01)
    made = Process()
    yield made
    made.end()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> anyio.Event:
    """Have `calculate_cost` wait for ever, and return what is set once it does."""
    event = anyio.Event()

    async def wait(*_: Any) -> None:
        event.set()
        await anyio.sleep_forever()

    monkeypatch.setitem(ACTIONS, "calculate_cost", TaskAction(lambda: wait))
    return event


async def test_the_end_of_input_lets_every_request_be_answered(process: Process) -> None:
    process.write(PING * 3 + b'{"id":4,"action":"ping"}')
    process.close(process.stdin)
    await process.serve()
    replies = await process.read_replies(4)
    assert [reply["data"]["pong"] for reply in replies] == [True] * 4
    assert process.exits == [0]


async def test_a_shutdown_ends_every_open_request_with_its_line(process: Process, begun: anyio.Event) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.serve)
        process.write(WAIT)
        await begun.wait()
        process.write(b'{"id":3,"action":"shutdown"}\n')
    replies = {reply["id"]: reply for reply in await process.read_replies(2)}
    assert replies[2]["error"]["code"] == "shutting_down"
    assert replies[3]["data"] == {"shutting_down": True}
    assert process.exits == [0]


@pytest.mark.long
@pytest.mark.parametrize("gone", ["the parent", "the reader of stdout"])
async def test_a_host_that_is_gone_ends_the_process_although_requests_are_open(
    process: Process, parent_ends: list[bool], begun: anyio.Event, gone: str
) -> None:
    end: Callable[[], object] = lambda: process.close(process.stdout)  # noqa: E731 - one of two
    if gone == "the parent":
        end = lambda: parent_ends.append(True)  # noqa: E731 - the other
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.serve)
        process.write(WAIT)
        await begun.wait()
        end()
    assert process.exits == [0]


async def test_a_failure_of_the_process_ends_every_open_request_with_its_line(
    process: Process, begun: anyio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = dispatch.accept

    def fail_at_ping(app: Any, line: Any) -> None:
        if b"ping" in line:
            raise MemoryError
        accept(app, line)

    monkeypatch.setattr(dispatch, "accept", fail_at_ping)

    async def write() -> None:
        process.write(WAIT)
        await begun.wait()
        process.write(PING)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await process.serve()
    (reply,) = await process.read_replies(1)
    assert (reply["id"], reply["error"]["code"]) == (2, "internal_error")
    assert process.exits == [1]
