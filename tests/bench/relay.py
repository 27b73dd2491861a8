"""The least that any relay must do with a stream: read HTTP, decode each event, encode it, write a line.

`asyncio.Protocol`, `httptools` and `msgspec`, with no errors, no limits and one wire: what the
sidecar's own cost is measured against. Its lines go to a pipe that another process reads.
"""

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import httptools
import msgspec

from tests.bench.streams import STREAMS

WIRE = "openai_chat"

STAMP = re.compile(rb'" (\d{9,})"')
"""The text of a paced event: see `tests.bench.server`."""

_FIRST = b'"seq":2,'
"""In the line of a stream's first text."""


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Event(msgspec.Struct):
    choices: list[_Choice]


_event = msgspec.json.Decoder(_Event)
_line = msgspec.json.Encoder()


class _Relay(asyncio.Protocol):
    """One stream on one connection."""

    def __init__(self, request: bytes, write: Callable[[bytearray], object]) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._request = request
        self._write = write
        self._parser = httptools.HttpResponseParser(self)
        self._rest = b""
        self._events = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        *events, self._rest = (self._rest + data).split(b"\n\n")
        lines = bytearray()
        for event in events:
            self._events += 1
            if event[6:] == b"[DONE]":
                continue
            choices = _event.decode(event[6:]).choices
            if choices and (text := choices[0].delta.content):
                chunk = {"type": "content", "content": text}
                line = {"id": 1, "success": True, "streaming": True, "seq": self._events, "data": chunk}
                lines += _line.encode(line) + b"\n"
        if lines:
            self._write(lines)

    def on_message_complete(self) -> None:
        self._transport.close()
        self.ended.set_result(self._events)


class Relay:
    """Streams of one wire from the server at *port* to a pipe."""

    def __init__(self, port: int) -> None:
        self._port = port
        reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert reader.stdin is not None
        self._sink = reader.stdin.fileno()
        self._reader = reader
        self._written: list[tuple[float, bytearray]] = []
        """Lines and when they were written, of a load that is `stamped`."""

    async def run(self, load: dict[str, Any]) -> dict[str, Any]:
        """Relay *load* and return what it has cost, and if it is `stamped`, how late each event was."""
        self._written = []
        write = self._write_noted if load.get("stamped") else partial(os.write, self._sink)
        body = json.dumps({"model": f"n={load['n']},us={load['us']}", "stream": True, "messages": []}).encode()
        head = f"POST {STREAMS[WIRE].path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        cpu, start = time.process_time(), time.monotonic()
        streams = (self._stream(head.encode() + body, write) for _ in range(load["streams"]))
        events = sum(await asyncio.gather(*streams))
        wall_s, cpu_s = time.monotonic() - start, time.process_time() - cpu
        cost: dict[str, Any] = {"cpu_s": cpu_s, "wall_s": wall_s, "first_s": 0.0, "events": events}
        return cost | ({"late_ms": self._late_ms()} if load.get("stamped") else {})

    async def _stream(self, request: bytes, write: Callable[[bytearray], object]) -> int:
        loop = asyncio.get_running_loop()
        _, relay = await loop.create_connection(lambda: _Relay(request, write), "127.0.0.1", self._port)
        return await relay.ended

    def _write_noted(self, lines: bytearray) -> None:
        os.write(self._sink, lines)
        self._written.append((time.monotonic(), lines))

    def _late_ms(self) -> list[float]:
        """Return how long each event was on its way that was sent once all streams had begun."""
        begun = max(at for at, lines in self._written if _FIRST in lines)
        stamps = ((at, int(stamp) / 1e9) for at, lines in self._written for stamp in STAMP.findall(lines))
        return [(at - sent) * 1e3 for at, sent in stamps if sent > begun]
