"""A day of a busy host in one process: chats, cancels, logins, lists and counts, whose memory has to stay flat.

    python -m tests.simulate [CHATS]

The program is the real one but for its descriptors and its HTTP client. Its clock is virtual: 24 hours pass whatever
the number of chats, 100,000 by default. At the end no request, reply, task, timer or descriptor may be left.
"""

# ruff: noqa: T201 - a command that reports on a terminal

import asyncio
import gc
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from sidecar.core.http import HttpRequest
from tests.fuzz.requests import Answers
from tests.support.long_run import BrokenPromiseError, Canned, LongRun
from tests.support.virtual_loop import virtual_loop

CHATS = 100_000
DAY_SECONDS = 86_400

SIDE_BY_SIDE = 20
"""Chats that are open at once."""

MAX_GROWTH_BYTES = 5_000_000
"""From the end of the warm-up, which is a fifth of the run, to the end."""

KEY = "sk-CANARY-of-a-day"

_CHATS = (
    ("anthropic", "claude-haiku-4-5"),
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-4o-mini"),
    ("gemini", "gemini-2.5-flash"),
    ("mistral", "mistral-small-latest"),
    ("ollama", "llama3.2"),
)


class Stock:
    """What may not pile up."""

    def __init__(self) -> None:
        gc.collect()
        self.resident_bytes = _read_resident_bytes()
        self.tasks = len(asyncio.all_tasks())
        self.timers = sum(not each.cancelled() for each in virtual_loop()._scheduled)  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public counts them
        self.descriptors = len([*Path("/proc/self/fd").iterdir()])

    def __str__(self) -> str:
        left = f"{self.tasks} tasks, {self.timers} timers, {self.descriptors} descriptors"
        return f"{self.resident_bytes / 1e6:.1f} MB, {left}"


def _read_resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Internet(Answers):
    """Recorded replies; a tenth of the chats gets one that does not end."""

    def answer(self, request: HttpRequest) -> Canned:
        """Return the reply to *request*."""
        reply = super().answer(request)
        if reply.status == 200 and b"never ends" in request.body:
            return Canned(reply.status, reply.headers, reply.body[: len(reply.body) // 2], stalls=True)
        return reply


def _make_round(number: int, chance: random.Random) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return requests that are sent together, and the cancels of some of them that follow."""
    requests: list[dict[str, Any]] = []
    cancels: list[dict[str, Any]] = []
    for at in range(SIDE_BY_SIDE):
        provider, model = chance.choice(_CHATS)
        is_cancelled = at % 10 == 0
        name = f"{number}.{at}"
        requests.append(
            {
                "id": name,
                "action": chance.choice(("stream_chat", "stream_chat", "generate")),
                "provider": provider,
                "params": {
                    "model": model,
                    "api_key": KEY,
                    "messages": [{"role": "user", "content": f"{number}: {'never ends' if is_cancelled else 'hello'}"}],
                },
            }
        )
        if is_cancelled:
            cancels.append({"id": f"{name}c", "action": "cancel", "params": {"id": name}})
    provider, model = chance.choice(_CHATS)
    if number % 5 == 0:
        login = {"op": chance.choice(("login", "status", "logout")), "api_key": KEY}
        if login["op"] != "login":
            del login["api_key"]
        requests.append({"id": f"{number}.l", "action": "authenticate", "provider": "groq", "params": login})
    requests.append({"id": f"{number}.m", "action": "list_models", "provider": provider, "params": {"api_key": KEY}})
    text = {"model": "gpt-4o", "text": f"Count {number}"}
    requests.append({"id": f"{number}.t", "action": "count_tokens", "provider": "openai", "params": text})
    if number % 100 == 0:
        requests += [
            {"id": f"{number}.u", "action": "usage_report"},
            {"id": f"{number}.p", "action": "list_providers"},
        ]
    return requests, cancels


async def play(program: LongRun, chats: int, max_growth_bytes: int) -> str:
    """Live the day, and return what was left of it.

    Raises: BrokenPromiseError.
    """
    chance, rounds = random.Random("a day"), max(chats // SIDE_BY_SIDE, 10)
    warm, before = max(rounds // 5, 1), Stock()
    for number in range(rounds):
        if number == warm:
            before = Stock()
        requests, cancels = _make_round(number, chance)
        program.accept(b"".join(json.dumps(each).encode() + b"\n" for each in requests))
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        program.accept(b"".join(json.dumps(each).encode() + b"\n" for each in cancels))
        await program.wait_until_idle()
        if program.http.open:
            raise BrokenPromiseError(f"{program.http.open} replies are still being read")
        await anyio.sleep(DAY_SECONDS / rounds)
    after = Stock()
    if after.resident_bytes - before.resident_bytes > max_growth_bytes:
        raise BrokenPromiseError(f"memory grew: {before} after the warm-up, {after} at the end")
    if after.tasks > before.tasks or after.timers > before.timers or after.descriptors > before.descriptors:
        raise BrokenPromiseError(f"something was left: {before} after the warm-up, {after} at the end")
    return f"{before} after the warm-up, {after} at the end"


def run(chats: int, max_growth_bytes: int = MAX_GROWTH_BYTES) -> str:
    """Simulate a day with *chats* and return what it came to.

    Raises: BrokenPromiseError.
    """
    left = ""
    with tempfile.TemporaryDirectory() as folder:
        program = LongRun(Path(folder), Internet(1).answer, (KEY,))

        async def live(program: LongRun) -> None:
            nonlocal left
            left = await play(program, chats, max_growth_bytes)

        program.run(live)
    return f"{program.accepted} requests, {dict(program.ends)}; {left}"


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    if len(arguments) > 1 or not all(map(str.isdecimal, arguments)):
        print(__doc__)
        return 2
    started = time.perf_counter()
    print(run(int(arguments[0]) if arguments else CHATS))
    print(f"{time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
