"""A provider on 127.0.0.1, in a thread of its own."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Self

from tests.support.fake_provider import WAIT_SECONDS, Call, Provider

SEND_BUFFER_BYTES = 64 * 1024
"""What the system holds for a reader that is slow: little, so that the provider notices soon."""


class ListeningProvider(Provider):
    """The server."""

    def __init__(self) -> None:
        super().__init__(asyncio.new_event_loop())
        self._thread = threading.Thread(target=self._run, name="provider", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait(lambda: self.port > 0, "the provider to listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_SECONDS)

    def stuck(self, seconds: float) -> None:
        """Wait until nothing has been sent for so long: every script has ended, or is not listened to."""
        with self.changed:
            while self.changed.wait(seconds):
                pass

    def quiet(self, seconds: float = 2.0) -> bool:
        """Return whether, within *seconds*, every connection is closed or idle between two requests."""
        with self.changed:
            return self.changed.wait_for(lambda: not self._busy(), seconds)

    def _wait(self, happened: Callable[[], bool], what: str) -> None:
        with self.changed:
            assert self.changed.wait_for(happened, WAIT_SECONDS), f"waited in vain for {what}"

    # --- in the thread ----------------------------------------------------------------------

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
                ahead = asyncio.ensure_future(reader.read(1))
                ahead.add_done_callback(partial(self._look_whether_gone, call))
                self._note(call)
                await self._answer(call, writer, ahead)
        writer.close()
        with suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()
        with self._changing():
            self.open.discard(number)

    def _look_whether_gone(self, call: Call, read: "asyncio.Future[bytes]") -> None:
        if read.cancelled() or read.exception() is not None or not read.result():
            self._hang_up(call)


async def _end(tasks: "set[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _read_call(connection: int, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    target, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))

    def reset() -> None:
        writer.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        call.played = True
        writer.transport.abort()

    call = Call(connection, target.rpartition(" ")[0], headers, body, reset)
    return call
