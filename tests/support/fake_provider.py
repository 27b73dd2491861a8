"""A provider on 127.0.0.1 that plays byte scripts and notes what arrives and when the other side hangs up.

It runs in a thread of its own. A script is a list of steps: bytes are sent as they are, the
rest is below. What makes HTTP and a provider's events of them is in `tests.support.reply_scripts`.
"""

import asyncio
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, Self

WAIT_SECONDS = 10.0
"""How long a test waits for anything before it fails."""

SEND_BUFFER_BYTES = 64 * 1024
"""What the system holds for a reader that is slow: little, so that the provider notices soon."""


class Act(Enum):
    """Steps without a parameter."""

    STALL = "send nothing more, until the other side hangs up"
    RESET = "end the connection with RST"
    CLOSE = "end the connection with FIN"


STALL, RESET, CLOSE = Act


class Repeat(NamedTuple):
    """Send *data* so many times, as fast as it is taken."""

    data: bytes
    times: int


class Pause(NamedTuple):
    """Let some time pass: what a model does between two tokens."""

    seconds: float


class Gate:
    """Go on when the test says so. `Provider.gate` makes one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.is_open = asyncio.Event()

    def open(self) -> None:
        """Let every script that waits here go on."""
        self._loop.call_soon_threadsafe(self.is_open.set)


Step = bytes | Act | Repeat | Pause | Gate

NOT_FOUND: list[Step] = [b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"]


class Call:
    """One request that came, and what became of it."""

    def __init__(
        self, connection: int, target: str, headers: dict[str, str], body: bytes, transport: asyncio.WriteTransport
    ) -> None:
        self.connection = connection
        """Which connection it came on, counted from 0."""
        self.target = target
        """Method and path, such as `POST /v1/messages`."""
        self.headers = headers
        self.body = body
        self.name = str((self.json if body else {}).get("model") or target.split()[1])
        """What its script is found by: the model that it asks for, else its path, or a name that its path has."""
        self.at = time.monotonic()
        self.sent_at: list[float] = []
        """When each step of bytes was handed to the socket."""
        self.sent_bytes = 0
        self.transport = transport
        self.played = False
        """Whether the script has come to its end."""
        self.closed_at: float | None = None
        """When the other side hung up before that."""

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Provider:
    """The server. Everything but its own thread reads it under `changed`, which tells of every event."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.connections = 0
        """How many have been accepted."""
        self.begun = 0
        """How many requests, or handshakes, have begun to come."""
        self.open: set[int] = set()
        """Those that neither side has closed."""
        self.port = 0
        self._calls: list[Call] = []
        self._scripts: dict[str, deque[list[Step]]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="provider", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait(lambda: self.port > 0, "the provider to listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_SECONDS)

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Begin anew: no script and no call so far. Connections stay."""
        self._calls.clear()
        self._scripts.clear()

    def gate(self) -> Gate:
        """Return a step that waits until it is opened."""
        return Gate(self._loop)

    def play(self, name: str, steps: Iterable[Step]) -> str:
        """Answer every request for the model, or path, *name* with *steps*, and return *name*."""
        return self.play_in_turn(name, steps)

    def play_in_turn(self, name: str, *scripts: Iterable[Step]) -> str:
        """Answer the requests for *name* with one script each, and all that follow with the last of them."""
        self._scripts[name] = deque(map(list, scripts))
        return name

    def calls(self, name: str) -> list[Call]:
        """Return the requests for *name* so far."""
        with self.changed:
            return [call for call in self._calls if call.name == name]

    def received(self, secret: str) -> bool:
        """Return whether *secret* stands anywhere in a request so far."""
        with self.changed:
            return any(secret in f"{call.target}{call.headers}{call.body!r}" for call in self._calls)

    def call(self, name: str, index: int = 0) -> Call:
        """Return the request for *name* of that index, waiting for it."""
        self._wait(lambda: len(self.calls(name)) > index, f"request {index} for {name}")
        return self.calls(name)[index]

    def hears(self, count: int) -> None:
        """Wait until so many requests, or handshakes, have begun to come."""
        self._wait(lambda: self.begun >= count, f"the beginning of request {count}")

    def closed(self, call: Call) -> float:
        """Return when the other side hung up on *call*, waiting for it."""
        self._wait(lambda: call.closed_at is not None, f"the end of the connection of {call.name}")
        assert call.closed_at is not None
        return call.closed_at

    def hung_up(self, name: str, count: int) -> None:
        """Wait until the other side has hung up on so many requests for *name*."""
        self._wait(
            lambda: sum(call.closed_at is not None for call in self.calls(name)) >= count, f"{count} ends of {name}"
        )

    def disconnected(self) -> None:
        """Wait until no connection is open."""
        self._wait(lambda: not self.open, "the connections to be closed")

    def closes(self, connection: int) -> None:
        """Wait until the *connection* is closed on this side."""
        self._wait(lambda: connection not in self.open, f"connection {connection} to be closed")

    def sent(self, call: Call, steps: int) -> None:
        """Wait until so many *steps* of bytes of the script have been sent."""
        self._wait(lambda: len(call.sent_at) >= steps, f"step {steps} of {call.name}")

    def stuck(self, seconds: float) -> None:
        """Wait until nothing has been sent for so long: every script has ended, or is not listened to."""
        with self.changed:
            while self.changed.wait(seconds):
                pass

    def reset(self, call: Call) -> None:
        """End the connection of *call* with RST, wherever its script is."""
        self._loop.call_soon_threadsafe(_reset, call)

    def reset_all(self) -> None:
        """End every connection that answers a request with RST."""
        with self.changed:
            for call in self._busy():
                self.reset(call)

    def quiet(self, seconds: float = 2.0) -> bool:
        """Return whether, within *seconds*, every connection is closed or idle between two requests."""
        with self.changed:
            return self.changed.wait_for(lambda: not self._busy(), seconds)

    def _busy(self) -> list[Call]:
        return [call for call in self._calls if not call.played and call.closed_at is None]

    def _wait(self, happened: Callable[[], bool], what: str) -> None:
        with self.changed:
            assert self.changed.wait_for(happened, WAIT_SECONDS), f"waited in vain for {what}"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self.changed:
            yield
            self.changed.notify_all()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024))
        with self._changing():
            self.port = server.sockets[0].getsockname()[1]
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(_end(asyncio.all_tasks(self._loop)))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        with self._changing():
            number, self.connections = self.connections, self.connections + 1
            self.open.add(number)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The byte that is read ahead is the next request's first, or tells that there will be none.
            ahead = asyncio.ensure_future(reader.read(1))
            while first := await ahead:
                with self._changing():
                    self.begun += 1
                call = await _read_call(number, first, reader, writer)
                if call.name not in self._scripts:
                    call.name = next((name for name in self._scripts if f"/{name}" in call.target), call.name)
                ahead = asyncio.ensure_future(reader.read(1))
                ahead.add_done_callback(partial(self._hung_up, call))
                with self._changing():
                    self._calls.append(call)
                await self._answer(call, writer, ahead)
                with self._changing():
                    call.played = True
        writer.close()
        with suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()
        with self._changing():
            self.open.discard(number)

    def _hung_up(self, call: Call, read: "asyncio.Future[bytes]") -> None:
        gone = read.cancelled() or read.exception() is not None or not read.result()
        if gone and not call.played:
            with self._changing():
                call.closed_at = time.monotonic()

    async def _answer(self, call: Call, writer: asyncio.StreamWriter, hung_up: "asyncio.Future[bytes]") -> None:
        scripts = self._scripts.get(call.name, deque([NOT_FOUND]))
        for step in scripts.popleft() if len(scripts) > 1 else scripts[0]:
            match step:
                case bytes():
                    await self._send(call, writer, step)
                case Repeat(data, times):
                    for _ in range(times):
                        await self._send(call, writer, data)
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case Gate():
                    await _opened(step, hung_up)
                case Act.STALL:
                    await asyncio.wait([hung_up])
                    raise ConnectionError
                case Act.RESET:
                    _reset(call)
                    raise ConnectionError
                case Act.CLOSE:
                    call.played = True
                    raise ConnectionError

    async def _send(self, call: Call, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        with self._changing():
            call.sent_at.append(time.monotonic())
            call.sent_bytes += len(data)
        await writer.drain()


async def _opened(gate: Gate, hung_up: "asyncio.Future[bytes]") -> None:
    opened = asyncio.ensure_future(gate.is_open.wait())
    either: list[asyncio.Future[Any]] = [opened, hung_up]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not opened.done():
        opened.cancel()
        raise ConnectionError


def _reset(call: Call) -> None:
    linger = struct.pack("ii", 1, 0)
    call.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    call.played = True
    call.transport.abort()


async def _end(tasks: "set[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _read_call(connection: int, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    target, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Call(connection, target.rpartition(" ")[0], headers, body, writer.transport)
