"""How soon it is there: start, first chunk of a first chat, first chunk of a warm one, the round trip of a ping."""

import json
import time
from collections.abc import Iterator
from statistics import median

from tests.bench import processes
from tests.bench.host import COMMAND, hosting
from tests.bench.report import Bar, Figure
from tests.bench.streams import STREAMS

WIRE = "anthropic_messages"

BARE = "import asyncio, msgspec"
"""The least that any such process imports."""

NAIVE = """\
import asyncio, httpx2, json, sys
body = {"model": "n=3,us=0", "max_tokens": 100, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
async def main():
    async with httpx2.AsyncClient() as client:
        async with client.stream("POST", sys.argv[1], json=body) as response:
            async for line in response.aiter_lines():
                if line.startswith("data:") and "text_delta" in line:
                    print(json.loads(line[5:])["delta"]["text"], flush=True)
                    return
asyncio.run(main())
"""
"""A script that somebody writes in a minute: no protocol, no errors, one chat."""

ECHO = "import os\nwhile data := os.read(0, 65536): os.write(1, data)"
"""The least that answers a line."""


def ready() -> Iterator[Figure]:
    """Measure spawn to ping, and the ways out."""
    bare, ping, after_eof, at_once = ([] for _ in range(4))
    for _ in range(12):
        bare.append(_bare_ms())
        with hosting() as host:
            host.ping()
            ping.append(_ms(host.spawned))
            start = time.monotonic()
            processes.end(host.process)
            after_eof.append(_ms(start))
        start = time.monotonic()
        processes.end(processes.spawn(*COMMAND))
        at_once.append(_ms(start))
    beside, bars = {"bare": median(bare)}, (Bar(1.25, "bare"),)
    yield Figure(what="spawn to the answer of a ping", value=median(ping), unit="ms", beside=beside, bars=bars)
    yield Figure(what="spawn with nothing to read to exit", value=median(at_once), unit="ms", beside=beside)
    yield Figure(what="end of input to exit", value=median(after_eof), unit="ms")


def cold() -> Iterator[Figure]:
    """Measure spawn to the first content of a chat."""
    bare, naive, chat = ([] for _ in range(3))
    with processes.serving() as server:
        for _ in range(8):
            bare.append(_bare_ms())
            start = time.monotonic()
            script = processes.spawn("-c", NAIVE, f"http://127.0.0.1:{server.port}{STREAMS[WIRE].path}")
            assert script.stdout is not None
            processes.read_some(script.stdout, 10)
            naive.append(_ms(start))
            processes.end(script)
            with hosting(server.port) as host:
                host.wait(host.chat(WIRE, n=3), "content")
                chat.append(_ms(host.spawned))
    yield Figure(
        what="spawn to the first content",
        value=median(chat),
        unit="ms",
        beside={"bare": median(bare), "naive script": median(naive)},
        bars=(Bar(2, "bare"),),
    )


def warm() -> Iterator[Figure]:
    """Measure request to first content on a connection that is there."""
    ours, theirs = [], []
    with processes.serving() as server, processes.peers(server.port, "httpx2") as peers, hosting(server.port) as host:
        for _ in range(45):
            theirs.append(peers["httpx2"].run(WIRE, n=3, us=0).first_s * 1e3)
            ours.append(host.run(WIRE, n=3).first_s * 1e3)
    ours, theirs = ours[5:], theirs[5:]
    beside, later = {"httpx2": median(theirs)}, median(ours) - median(theirs)
    yield Figure(what="request to first content, warm", value=median(ours), unit="ms", beside=beside)
    yield Figure(what="… later than httpx2 has its first bytes", value=later, unit="ms", bars=(Bar(5),))


def ping() -> Iterator[Figure]:
    """Measure the round trip of a ping."""
    echo, ours = [], []
    mirror = processes.spawn("-c", ECHO)
    assert mirror.stdin is not None
    assert mirror.stdout is not None
    line = json.dumps({"id": 1, "action": "ping"}).encode() + b"\n"
    with hosting() as host:
        for _ in range(300):
            start = time.monotonic()
            mirror.stdin.write(line)
            processes.read_some(mirror.stdout, 10)
            echo.append(_ms(start))
            ours.append(host.ping() * 1e3)
    processes.end(mirror)
    beside = {"a loop that echoes": median(echo[50:])}
    yield Figure(what="ping and its answer, idle", value=median(ours[50:]), unit="ms", beside=beside)


def _bare_ms() -> float:
    start = time.monotonic()
    processes.end(processes.spawn("-c", BARE))
    return _ms(start)


def _ms(since: float) -> float:
    return (time.monotonic() - since) * 1e3
