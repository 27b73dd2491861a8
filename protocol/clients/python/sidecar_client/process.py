"""One process of the sidecar: its three pipes, its lines, and its end."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence

STDERR_BYTES = 8192
"""How much of what a process writes for people is kept."""

DRAIN_S = 1
"""How long what has inherited the pipes of a process may hold them open after its end."""

MUTE_S = 0.2
"""How long a process may live on when its stdout has ended."""


class Process(asyncio.SubprocessProtocol):
    """A running sidecar. It reads both outputs all the time, and cuts stdout at the byte LF alone."""

    def __init__(self, on_lines: Callable[[list[str]], None], on_end: Callable[[int | None, str], None]) -> None:
        self._on_lines = on_lines
        self._on_end = on_end
        self._pieces: list[bytes] = []
        self._stderr = b""
        self._closed = False
        self._transport: asyncio.SubprocessTransport | None = None
        self.ended = asyncio.Event()

    async def start(self, command: Sequence[str]) -> None:
        """Start the program; where that fails, `on_end` has the code None and says why."""
        loop = asyncio.get_running_loop()
        try:
            await loop.subprocess_exec(lambda: self, *command)
        except OSError as error:
            self.ended.set()
            self._on_end(None, f"{command[0]}: {os.strerror(error.errno or 0)}")

    def write(self, line: bytes) -> None:
        """Write *line*; nothing happens if the process has closed its stdin."""
        pipe = self._transport and self._transport.get_pipe_transport(0)
        if isinstance(pipe, asyncio.WriteTransport) and not pipe.is_closing():
            pipe.write(line)

    def close_stdin(self) -> None:
        """Say that there are no more requests."""
        self._closed = True
        if self._transport and (pipe := self._transport.get_pipe_transport(0)):
            pipe.close()

    def send_signal(self, name: str) -> None:
        """Send the signal *name*, such as SIGTERM."""
        with contextlib.suppress(ProcessLookupError):
            if self._transport:
                self._transport.send_signal(getattr(signal, name, signal.SIGTERM))

    # --- what asyncio calls ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        if isinstance(transport, asyncio.SubprocessTransport):
            self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take bytes of stdout or stderr."""
        if fd != 1:
            self._stderr = (self._stderr + data)[-STDERR_BYTES:]
            return
        end = data.rfind(b"\n")
        if end < 0:
            self._pieces.append(data)
            return
        whole = b"".join([*self._pieces, data[:end]])
        self._pieces = [data[end + 1 :]] if end + 1 < len(data) else []
        self._on_lines(whole.decode("utf-8", "replace").split("\n"))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - the signature of asyncio
        """End a process that can answer nothing any more: it may never do so by itself."""
        if fd == 1 and not self._closed:
            asyncio.get_running_loop().call_later(MUTE_S, self._end_mute)

    def _end_mute(self) -> None:
        if not self._closed and not self.ended.is_set():
            self.send_signal("SIGKILL")

    def process_exited(self) -> None:
        """Wait for the rest of the output, but not for long."""
        if self._transport:
            asyncio.get_running_loop().call_later(DRAIN_S, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature of asyncio
        """Say that the process has ended and its output is read."""
        code = None
        if self._transport:
            code = self._transport.get_returncode()
            self._transport.close()
        self.ended.set()
        self._on_end(code if code is not None and code >= 0 else None, self._stderr.decode("utf-8", "replace"))
