"""Servers in memory, for `tests.support.in_memory_transport`.

`InMemoryProvider` plays scripts and `InMemoryServices` is the whole internet, both for `tests.support.in_process`;
`RuledServer` and `QueueServer` answer whatever is asked, for `tests.support.app`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import anyio.to_thread
import msgspec

from sidecar.core.http import HttpRequest
from tests.support.answer_rules import AnswerRules
from tests.support.fake_provider import WAIT_SECONDS, Call, Provider
from tests.support.fake_services import Answer, Seen, Services
from tests.support.in_memory_transport import EVERYWHERE, Pipe
from tests.support.virtual_loop import virtual_loop

_ports = count(20_000)
"""Each server has an address of its own, at which nobody listens."""


class InMemoryProvider(Provider):
    """A provider without a socket, in the loop of what asks it."""

    def __init__(self) -> None:
        super().__init__(virtual_loop())
        self.port = next(_ports)
        EVERYWHERE.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        EVERYWHERE.discard(self)

    def serves(self, url: str) -> bool:
        """Return whether *url* is one of its addresses."""
        return url.startswith(f"{self.url}/")

    async def serve(self, request: HttpRequest, pipe: Pipe, gone: "asyncio.Future[bytes]") -> None:
        """Play the script that *request* asks for."""
        with self._changing():
            number, self.connections = self.connections, self.connections + 1
            self.open.add(number)
            self.begun += 1
        target = f"{request.method} {request.url.removeprefix(self.url)}"
        call = Call(number, target, request.headers, request.body, lambda: None)
        call.reset = partial(self._reset, call, pipe)
        gone.add_done_callback(lambda _: self._hang_up(call))
        self._note(call)
        try:
            with suppress(ConnectionError):
                await self._answer(call, pipe, gone)
            pipe.close()
            await asyncio.wait([gone])
        finally:
            with self._changing():
                self.open.discard(number)

    def reset(self, call: Call) -> None:
        """End the connection of *call* with RST, wherever its script is."""
        call.reset()

    def _reset(self, call: Call, pipe: Pipe) -> None:
        call.played = True
        pipe.reset()

    def stuck(self, seconds: float) -> None:
        """Wait until nothing has been sent for so long: every script has ended, or is not listened to."""
        sent = -1
        while sent != (sent := sum(call.sent_bytes for call in self._calls)):
            virtual_loop().run_until(lambda: False, seconds)

    def quiet(self, seconds: float = 2.0) -> bool:
        """Return whether, within *seconds*, every connection is closed or idle between two requests."""
        return virtual_loop().run_until(lambda: not self._busy(), seconds)

    def _wait(self, happened: Callable[[], bool], what: str) -> None:
        assert virtual_loop().run_until(happened, WAIT_SECONDS), f"waited in vain for {what}"


class InMemoryServices(Services):
    """Every host of the internet."""

    def __init__(self) -> None:
        super().__init__()
        self._port = next(_ports)

    @property
    def port(self) -> int:
        """Where they are asked directly."""
        return self._port

    @property
    def env(self) -> dict[str, str]:
        """Nothing: no variable leads a program to them."""
        return {}

    def serves(self, url: str) -> bool:
        """Return whether *url* is one of the internet, or their own."""
        parts = urlsplit(url)
        return parts.port == self.port or parts.hostname not in ("127.0.0.1", "localhost")

    async def serve(self, request: HttpRequest, pipe: Pipe, gone: "asyncio.Future[bytes]") -> None:
        """Answer *request* as the rules say."""
        url = urlsplit(request.url)._replace(netloc=request.headers["host"]).geturl()
        seen = Seen(request.method, url, request.headers, request.body)
        try:
            # An answer may be one that waits.
            answer = await anyio.to_thread.run_sync(self.answer_to, seen)
        except OSError:
            # It hangs up.
            pipe.close()
            return
        pipe.write(_encoded(answer))
        if not answer.stalls:
            pipe.close()
        await asyncio.wait([gone])
        if answer.stalls:
            self.note(lambda: setattr(seen, "closed_at", time.monotonic()))

    def wait(self, happened: Callable[[], bool], what: str) -> None:
        """Wait until something has *happened*."""
        assert virtual_loop().run_until(happened, WAIT_SECONDS), f"waited in vain for {what}"


class RuledServer(AnswerRules):
    """Answers by rule, whatever the address."""

    def serves(self, url: str) -> bool:  # noqa: ARG002 - it serves all
        """Return True."""
        return True

    async def serve(self, request: HttpRequest, pipe: Pipe, gone: "asyncio.Future[bytes]") -> None:
        """Answer *request* as the rules say."""
        answering = asyncio.ensure_future(self.take(Seen(request.method, request.url, request.headers, request.body)))
        either: list[asyncio.Future[Any]] = [answering, gone]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            answering.cancel()
            return
        # A failure that a rule names is raised from here to whoever asks.
        answer = answering.result()
        pipe.write(_encoded(answer))
        if answer.stalls:
            await asyncio.wait([gone])


class QueueServer:
    """Gives each request the next of the answers that were set beforehand, whatever the address."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._replies: deque[list[bytes]] = deque()

    def answer(self, *pieces: bytes, status: int = 200, content_type: str = "application/json") -> None:
        """Answer one more request with *pieces*."""
        head = f"HTTP/1.1 {status} Whatever\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]
        self._replies.append([head.encode(), *chunks, b"0\r\n\r\n"])

    def answer_with(self, document: object, status: int = 200) -> None:
        """Answer one more request with a JSON document."""
        self.answer(msgspec.json.encode(document), status=status)

    def serves(self, url: str) -> bool:  # noqa: ARG002 - it serves all
        """Return True."""
        return True

    async def serve(self, request: HttpRequest, pipe: Pipe, gone: "asyncio.Future[bytes]") -> None:  # noqa: ARG002 - it never waits
        """Give *request* its answer."""
        self.asked.append(Asked(request))
        for data in self._replies.popleft():
            pipe.write(data)


class Asked(NamedTuple):
    """A request that a provider got, with what authorizes it in its headers."""

    request: HttpRequest


def _encoded(answer: Answer) -> bytes:
    headers = answer.headers | ({} if answer.stalls else {"content-length": str(len(answer.body))})
    lines = [f"HTTP/1.1 {answer.status} Whatever"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body
