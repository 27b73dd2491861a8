"""What the sidecar is compared with, each in a process of its own: `python -m tests.bench.peers NAME PORT`.

Reads a load a line and prints what it has cost. `httpx2` is the least that a client on the same
HTTP library can do: it takes the bytes and counts the events in them. The SDKs are used as their
own documentation does. All are warm: client and connection stay from load to load.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from tests.bench.processes import raise_file_limit
from tests.bench.relay import STAMP, Relay
from tests.bench.streams import STREAMS

Client = Callable[[str, str], AbstractAsyncContextManager[AsyncIterator[Any]]]
"""(wire, model) → what comes: bytes of a raw client, events of an SDK. Nothing of ours stands in between."""

MESSAGES: Any = [{"role": "user", "content": "Hello"}]


def _httpx2(port: int) -> Client:
    import httpx2

    client = httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=None))

    @asynccontextmanager
    async def ask(wire: str, model: str) -> AsyncIterator[AsyncIterator[Any]]:
        body = {"model": model, "stream": True, "messages": MESSAGES}
        async with client.stream("POST", f"http://127.0.0.1:{port}{STREAMS[wire].path}", json=body) as response:
            yield response.aiter_raw()

    return ask


def _openai(port: int) -> Client:
    import openai

    client = openai.AsyncOpenAI(api_key="k-test", base_url=f"http://127.0.0.1:{port}/v1")

    @asynccontextmanager
    async def ask(wire: str, model: str) -> AsyncIterator[AsyncIterator[Any]]:
        if wire == "openai_responses":
            yield aiter(await client.responses.create(model=model, input="Hello", stream=True))
        else:
            usage: Any = {"include_usage": True}
            yield aiter(
                await client.chat.completions.create(model=model, messages=MESSAGES, stream=True, stream_options=usage)
            )

    return ask


def _anthropic(port: int) -> Client:
    import anthropic

    client = anthropic.AsyncAnthropic(api_key="k-test", base_url=f"http://127.0.0.1:{port}")

    @asynccontextmanager
    async def ask(wire: str, model: str) -> AsyncIterator[AsyncIterator[Any]]:  # noqa: ARG001 - it speaks one wire
        yield aiter(await client.messages.create(model=model, messages=MESSAGES, max_tokens=100, stream=True))

    return ask


CLIENTS: dict[str, Callable[[int], Client]] = {"httpx2": _httpx2, "openai": _openai, "anthropic": _anthropic}


async def _one(ask: Client, wire: str, model: str) -> dict[str, Any]:
    cpu, start = time.process_time(), time.monotonic()
    events, first = 0, 0.0
    async with ask(wire, model) as stream:
        async for each in stream:
            first = first or time.monotonic()
            events += each.count(b"data:") if isinstance(each, bytes) else 1
    wall_s, cpu_s = time.monotonic() - start, time.process_time() - cpu
    return {"cpu_s": cpu_s, "wall_s": wall_s, "first_s": first - start, "events": events}


async def _stamped(ask: Client, wire: str, model: str) -> list[tuple[float, float]]:
    """Return of each stamped event when it was sent and when it came."""
    seen: list[tuple[float, float]] = []
    async with ask(wire, model) as stream:
        async for data in stream:
            now = time.monotonic()
            seen += ((int(stamp) / 1e9, now) for stamp in STAMP.findall(data))
    return seen


async def _counted(ask: Client, wire: str, model: str, streams: int) -> dict[str, Any]:
    cpu, start = time.process_time(), time.monotonic()
    costs = await asyncio.gather(*(_one(ask, wire, model) for _ in range(streams)))
    wall_s, cpu_s = time.monotonic() - start, time.process_time() - cpu
    return {"cpu_s": cpu_s, "wall_s": wall_s, "first_s": 0.0, "events": sum(each["events"] for each in costs)}


async def _many(ask: Client, wire: str, model: str, streams: int) -> dict[str, Any]:
    cpu, start = time.process_time(), time.monotonic()
    seen = await asyncio.gather(*(_stamped(ask, wire, model) for _ in range(streams)))
    wall_s, cpu_s = time.monotonic() - start, time.process_time() - cpu
    firsts = [each[0][1] for each in seen]
    all_first = max(firsts)
    return {
        "cpu_s": cpu_s,
        "wall_s": wall_s,
        "first_s": min(firsts) - start,
        "events": sum(map(len, seen)),
        "all_first_s": all_first - start,
        "late_ms": [(at - sent) * 1e3 for each in seen for sent, at in each if sent > all_first],
    }


def _run(ask: Client, load: dict[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]:
    model, streams = f"n={load['n']},us={load['us']}", load.get("streams", 0)
    if load.get("counted"):
        return _counted(ask, load["wire"], model, streams)
    return (
        _many(ask, load["wire"], f"{model},together={streams}", streams) if streams else _one(ask, load["wire"], model)
    )


async def _main(name: str, port: int) -> None:
    run = Relay(port).run if name == "relay" else partial(_run, CLIENTS[name](port))
    # Nothing else runs while it waits for the next line: reading may block.
    while line := sys.stdin.readline():
        print(json.dumps(await run(json.loads(line))), flush=True)


if __name__ == "__main__":
    raise_file_limit()
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
