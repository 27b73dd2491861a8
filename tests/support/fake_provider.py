"""A provider that plays byte scripts and notes what arrives and when the other side hangs up.

A script is a list of steps: bytes are sent as they are, the rest is below. What makes HTTP and a provider's events of
them is in `tests.support.reply_scripts`. `tests.support.listening_provider` has one on 127.0.0.1,
`tests.support.in_memory_transport` one without a socket.
"""

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, NamedTuple, Protocol

WAIT_SECONDS = 10.0
"""How long a test waits for anything before it fails."""


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


class Writer(Protocol):
    """The way back to whoever asks."""

    def write(self, data: bytes) -> None:
        """Send *data*, in its time."""

    async def drain(self) -> None:
        """Wait while too much is on its way."""


class Call:
    """One request that came, and what became of it."""

    def __init__(
        self, connection: int, target: str, headers: dict[str, str], body: bytes, reset: Callable[[], None]
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
        """When each step of bytes was handed over."""
        self.sent_bytes = 0
        self.reset = reset
        """Ends the connection with RST, whoever calls it in the provider's loop."""
        self.played = False
        """Whether the script has come to its end."""
        self.closed_at: float | None = None
        """When the other side hung up before that."""

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Provider:
    """What is played and what has come. Whoever is not its loop reads it under `changed`, which tells of each event."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.changed = threading.Condition()
        self.connections = 0
        """How many have been accepted."""
        self.begun = 0
        """How many requests, or handshakes, have begun to come."""
        self.open = set[int]()
        """Those connections that neither side has closed."""
        self.port = 0
        self._calls: list[Call] = []
        self._scripts: dict[str, deque[list[Step]]] = {}
        self._loop = loop

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

    def reset(self, call: Call) -> None:
        """End the connection of *call* with RST, wherever its script is."""
        self._loop.call_soon_threadsafe(call.reset)

    def reset_all(self) -> None:
        """End every connection that answers a request with RST."""
        with self.changed:
            for call in self._busy():
                self.reset(call)

    def _busy(self) -> list[Call]:
        return [call for call in self._calls if not call.played and call.closed_at is None]

    def stuck(self, seconds: float) -> None:
        """Wait until nothing has been sent for so long: every script has ended, or is not listened to."""
        raise NotImplementedError

    def quiet(self, seconds: float = 2.0) -> bool:
        """Return whether, within *seconds*, every connection is closed or idle between two requests."""
        raise NotImplementedError

    def _wait(self, happened: Callable[[], bool], what: str) -> None:
        raise NotImplementedError

    # --- in its own loop --------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self.changed:
            yield
            self.changed.notify_all()

    def _note(self, call: Call) -> None:
        """Take *call*, whose script may be known by a part of its path."""
        if call.name not in self._scripts:
            call.name = next((name for name in self._scripts if f"/{name}" in call.target), call.name)
        with self._changing():
            self._calls.append(call)

    def _hang_up(self, call: Call) -> None:
        """Note that the other side has hung up on *call*."""
        if not call.played:
            with self._changing():
                call.closed_at = time.monotonic()

    async def _answer(self, call: Call, writer: Writer, hung_up: "asyncio.Future[bytes]") -> None:
        """Play the script of *call*.

        Raises: ConnectionError where the connection is not to be used again.
        """
        scripts = self._scripts.get(call.name, deque([NOT_FOUND]))
        for step in scripts.popleft() if len(scripts) > 1 else scripts[0]:
            match step:
                case bytes():
                    await self._send(call, writer, step)
                case Repeat(data, times):
                    for _ in range(times):
                        await self._send(call, writer, data)
                case Pause(seconds):
                    await _unless(hung_up, asyncio.sleep(seconds))
                case Gate():
                    await _unless(hung_up, step.is_open.wait())
                case Act.STALL:
                    await asyncio.wait([hung_up])
                    raise ConnectionError
                case Act.RESET:
                    call.reset()
                    raise ConnectionError
                case Act.CLOSE:
                    call.played = True
                    raise ConnectionError
        with self._changing():
            call.played = True

    async def _send(self, call: Call, writer: Writer, data: bytes) -> None:
        writer.write(data)
        with self._changing():
            call.sent_at.append(time.monotonic())
            call.sent_bytes += len(data)
        await writer.drain()


async def _unless(hung_up: "asyncio.Future[bytes]", step: Coroutine[Any, Any, object]) -> None:
    """Do *step*.

    Raises: ConnectionError where the other side hangs up meanwhile.
    """
    done = asyncio.ensure_future(step)
    either: list[asyncio.Future[Any]] = [done, hung_up]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not done.done():
        done.cancel()
        raise ConnectionError
