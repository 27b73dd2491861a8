"""The asyncio loop beneath anyio: timers, calls from threads, threads that never delay the exit.

The one home of asyncio. anyio would wait for its worker threads, and a process that leaves must not.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial

MAX_LOOKUPS = 256
"""How many host names may be looked up at once, each in a thread of its own."""


def make_thread_caller() -> Callable[..., object]:
    """Return a function that schedules a call in this event loop, given a callable and its arguments.

    For threads and signal handlers. The call has the context of the current task: a thread, or a handler that
    interrupts another task, has none that knows this loop.

    The returned function raises RuntimeError once the loop is closed.
    """
    return partial(asyncio.get_running_loop().call_soon_threadsafe, context=copy_context())


def call_later(seconds: float, function: Callable[..., object], *arguments: object) -> None:
    """Call *function* in this event loop after *seconds*, even if all tasks end before."""
    asyncio.get_running_loop().call_later(seconds, function, *arguments)


def call_soon(function: Callable[[], None]) -> object:
    """Call *function* in this event loop's next turn."""
    return asyncio.get_running_loop().call_soon(function)


def allow_many_lookups() -> None:
    """Give host name lookups as many threads as there may be requests that wait for one.

    A lookup without an answer keeps its thread for half a minute, even when its request has ended. The few threads
    that asyncio starts by itself would soon be taken, and lookups of other hosts would wait for them.
    """
    from concurrent.futures import ThreadPoolExecutor  # Only a request needs it.

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(MAX_LOOKUPS, "lookup"))


def exit_after(seconds: float, code: int) -> None:
    """End the process after *seconds*, even if the loop does not turn any more. For signal handlers too."""

    def end() -> None:
        time.sleep(seconds)
        os._exit(code)

    threading.Thread(target=end, name="exit", daemon=True).start()


def wait_in_thread(wait: Callable[[], object], then: Callable[[object], object]) -> None:
    """Run *wait* in a thread that does not delay the exit, and pass its result to *then* in this event loop."""
    call_in_loop = make_thread_caller()

    def run() -> None:
        result = wait()
        # Once the loop is closed nobody needs the result.
        with suppress(RuntimeError):
            call_in_loop(then, result)

    threading.Thread(target=run, name="wait", daemon=True).start()
