"""A provider on this machine that streams as fast or as slowly as asked: `python -m tests.bench.server`.

Prints its port. The model of a request carries the load: `n=20000,us=0` is 20,000 events as fast
as they are taken, each a write of its own; `n=200,us=5000` one every 5 ms, its text the moment it
was sent, in nanoseconds of the monotonic clock that all processes of a machine share. `hang=1`
never ends; `together=100` goes on after its first event once a hundred such streams have come to
theirs; `fault=3` is the third of `tests.bench.faulted.FAULTS`, half-way through if not at the beginning.
`GET /closed` gives, by the load's `key`, when a client left a stream unfinished.
"""

import asyncio
import json
import random
import re
import socket
import struct
import time
from collections.abc import Iterator
from itertools import cycle, islice

from tests.bench import streams
from tests.bench.faulted import FAULTS
from tests.bench.processes import raise_file_limit
from tests.bench.streams import STREAMS, Stream

DRAIN_EVERY = 64
"""Fast events between two looks at whether the client keeps up."""

WORDS = tuple(f" token{number}" for number in range(7))

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n"
)
_REFUSAL = (
    b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\nretry-after-ms: 500\r\ncontent-length: 2\r\n\r\n{}"
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BY_PATH = {stream.path: stream for stream in STREAMS.values()}


class Gate:
    """Lets streams go on once a number of them has come, so that so many are open at once however slow the machine."""

    def __init__(self) -> None:
        self._come = 0
        self._open = asyncio.Event()

    async def wait_for(self, streams: int) -> None:
        """Wait until *streams* of them wait; then it is closed again."""
        self._come += 1
        gate = self._open
        if self._come >= streams:
            gate.set()
            self._come, self._open = 0, asyncio.Event()
        await gate.wait()


class Connection(asyncio.Protocol):
    """One client: a request at a time, one connection for many."""

    def __init__(self, closed: dict[str, float], gate: Gate, refused: set[str]) -> None:
        self._closed = closed
        self._gate = gate
        self._refused = refused
        self._received = b""
        self._writable = asyncio.Event()
        self._writable.set()
        self._streaming: asyncio.Task[None] | None = None
        self._key = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep *transport*."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        """Note when a client leaves a stream that is under way."""
        if self._streaming is not None and not self._streaming.done():
            self._closed[self._key] = time.monotonic()
            self._streaming.cancel()

    def pause_writing(self) -> None:
        """Stop: the client reads more slowly than we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Answer the request once it is whole."""
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(match[1]) if (match := _LENGTH.search(head)) else 0
        if len(rest) < length:
            return
        self._received = rest[length:]
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        if method == "GET":
            self._document(json.dumps(self._closed).encode())
        else:
            model = json.loads(rest[:length])["model"]
            load = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", model)}
            self._key = str(load.get("key", 0))
            fault = FAULTS[load["fault"] - 1].name if load.get("fault") else ""
            if not self._refuses(fault):
                stream = self._stream(_BY_PATH[path], load, fault)
                self._streaming = asyncio.get_running_loop().create_task(stream)

    def _refuses(self, fault: str) -> bool:
        """Answer a request that is refused: a rate limit once, an outage each time."""
        limited = fault == "rate limit" and self._key not in self._refused
        if limited or fault == "outage":
            self._refused.add(self._key)
            self._transport.write(_REFUSAL % (429 if limited else 503))
        return limited or fault == "outage"

    def _document(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)

    async def _stream(self, stream: Stream, load: dict[str, int], fault: str) -> None:
        write = self._transport.write
        breaks = fault in _BREAKS
        count = load["n"] // 2 if breaks else load["n"]
        write(_STREAM_HEAD)
        for event in stream.first():
            write(_framed(streams.encode(event)))
        if load.get("us"):
            text = await self._paced(streams.template(stream), count, load)
        else:
            text = await self._fast(streams.template(stream), count)
        if breaks:
            await _BREAKS[fault](self._transport)
            return
        if load.get("hang"):
            await asyncio.Event().wait()
        for event in stream.last(text, load["n"]):
            write(_framed(streams.encode(event)))
        write(b"0\r\n\r\n")

    async def _fast(self, template: tuple[bytes, bytes], count: int) -> str:
        write, is_closing = self._transport.write, self._transport.is_closing
        ready = cycle([_framed(word.encode().join(template)) for word in WORDS])
        for start in range(0, count, DRAIN_EVERY):
            for event in islice(ready, min(DRAIN_EVERY, count - start)):
                if is_closing():
                    break
                write(event)
            # Other connections have their turn even if this one could go on.
            await asyncio.sleep(0)
            await self._writable.wait()
        return "".join(islice(cycle(WORDS), count))

    async def _paced(self, template: tuple[bytes, bytes], count: int, load: dict[str, int]) -> str:
        words: list[str] = []
        for word in _stamps(count):
            self._transport.write(_framed(word.encode().join(template)))
            if not words and (streams := load.get("together")):
                await self._gate.wait_for(streams)
                # Not all at the same moment from here on.
                await asyncio.sleep(random.random() * load["us"] / 1e6)
            words.append(word)
            await asyncio.sleep(load["us"] / 1e6)
            await self._writable.wait()
        return "".join(words)


def _stamps(count: int) -> Iterator[str]:
    for _ in range(count):
        yield f" {time.monotonic_ns()}"


async def _reset(transport: asyncio.Transport) -> None:
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


async def _truncate(transport: asyncio.Transport) -> None:
    transport.write(b"0\r\n\r\n")


async def _malform(transport: asyncio.Transport) -> None:
    transport.write(_framed(b"data: {nope\n\n") + b"0\r\n\r\n")


async def _stall(transport: asyncio.Transport) -> None:  # noqa: ARG001 - the shape of a break
    await asyncio.Event().wait()


_BREAKS = {"reset": _reset, "truncation": _truncate, "malformed": _malform, "stall": _stall}
"""How a stream breaks off."""


def _framed(event: bytes) -> bytes:
    """Return *event* as the HTTP chunk that it is at real providers."""
    return b"%x\r\n%b\r\n" % (len(event), event)


async def _serve() -> None:
    closed: dict[str, float] = {}
    gate = Gate()
    refused: set[str] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(closed, gate, refused), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    raise_file_limit()
    asyncio.run(_serve())
