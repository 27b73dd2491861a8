"""An event loop whose clock stands still while anything can happen, and jumps where only time can pass.

A wait of a minute takes no time, and a busy machine is no reason for a timeout: the clock of what runs here goes on
by what is waited for, and by the time that its threads take.
"""

import asyncio
import atexit
import selectors
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from typing import Any

from anyio._backends._asyncio import AsyncIOBackend  # Says when a thread begins and ends; nothing public does.

_monotonic = time.monotonic

LOOK_SECONDS = 0.02
"""How often a loop whose threads are busy looks whether what a test waits for has happened."""


TURN_SECONDS = 1e-7
"""How long a turn of the loop takes: a timer that is set for less than the clock can tell comes to its end, too."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop, which runs only while a test waits for something."""

    def __init__(self) -> None:
        self._now = _monotonic()
        self.threads = 0
        """Calls in worker threads that somebody waits for."""
        self.longest_turn_seconds = 0.0
        """The CPU time of the longest turn so far."""
        self.has_happened: Callable[[], bool] = lambda: False
        """Whether what the test waits for has happened."""
        self.surroundings: list[Callable[[], AbstractContextManager[None]]] = []
        """What to enter while the loop runs: the environment of each program in it."""
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Return the seconds of this loop's own clock."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self._now += seconds

    def run_until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Run until something has *happened*, at most *seconds* by its own clock, and return whether it has."""
        end = self._now + seconds
        self.has_happened = lambda: happened() or self._now >= end
        timer = self.call_at(end, lambda: None)
        with ExitStack() as stack:
            stack.callback(timer.cancel)
            for enter in self.surroundings:
                stack.enter_context(enter())
            self.run_forever()
        return happened()


class _Selector(selectors.DefaultSelector):
    """Looks whether there is anything to do, and lets time pass where there is not."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self._turn_began = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self._loop
        turn_seconds = time.thread_time() - self._turn_began
        loop.longest_turn_seconds = max(loop.longest_turn_seconds, turn_seconds)
        ready = super().select(0)
        if loop.has_happened():
            loop.stop()
        elif ready or timeout == 0:
            loop.advance(TURN_SECONDS)
        elif loop.threads:
            begun = _monotonic()
            # What the test waits for may happen in a thread, which does not wake the loop.
            ready = super().select(LOOK_SECONDS if timeout is None else min(timeout, LOOK_SECONDS))
            loop.advance(_monotonic() - begun)
        else:
            assert timeout is not None, "nothing can happen any more"
            loop.advance(timeout)
        self._turn_began = time.thread_time()
        return ready


@cache
def virtual_loop() -> VirtualLoop:
    """Return the one loop of the session."""
    loop = VirtualLoop()
    atexit.register(loop.close)
    _count_threads(loop)
    return loop


def _count_threads(loop: VirtualLoop) -> None:
    run_in_thread = AsyncIOBackend.run_sync_in_worker_thread

    async def counted(*arguments: Any, **options: Any) -> Any:
        if asyncio.get_running_loop() is not loop:
            return await run_in_thread(*arguments, **options)
        loop.threads += 1
        try:
            return await run_in_thread(*arguments, **options)
        finally:
            loop.threads -= 1

    AsyncIOBackend.run_sync_in_worker_thread = counted  # type: ignore[method-assign]


@contextmanager
def its_clock() -> Iterator[VirtualLoop]:
    """Have `time.monotonic` tell the time of the loop, but within other loops."""
    loop, before = virtual_loop(), time.monotonic

    def monotonic() -> float:
        running = asyncio._get_running_loop()  # noqa: SLF001 - the public one raises
        return loop.time() if running is None or running is loop else _monotonic()

    time.monotonic = monotonic
    try:
        yield loop
    finally:
        time.monotonic = before
