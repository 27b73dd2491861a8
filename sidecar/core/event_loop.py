"""The event loop beneath anyio: timers, calls from threads, threads that never delay the exit.

One of the few modules that know asyncio: anyio waits for its worker threads, and a process that leaves must not.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial

MAX_LOOKUPS = 256
"""Host names that may be looked up at once, each in a thread of its own."""


def thread_caller() -> Callable[..., object]:
    """Return a function that runs a callable with its arguments in this event loop's next turn.

    For threads and signal handlers. The callable runs in this task's context: a thread, or a handler that interrupts
    another task, does not know which loop it serves.

    Raises: RuntimeError, when called, once the loop is closed.
    """
    return partial(asyncio.get_running_loop().call_soon_threadsafe, context=copy_context())


def call_later(seconds: float, function: Callable[..., object], *arguments: object) -> None:
    """Call *function* in this event loop after *seconds*, whatever its tasks do."""
    asyncio.get_running_loop().call_later(seconds, function, *arguments)


def call_soon(function: Callable[[], None]) -> object:
    """Call *function* in this event loop's next turn."""
    return asyncio.get_running_loop().call_soon(function)


def allow_many_lookups() -> None:
    """Give host name lookups as many threads as there may be requests that wait for one.

    A name server that does not answer keeps a thread for half a minute, even after its request has gone. The loop's
    own handful of threads would soon be taken, and the names of all other providers would wait behind.
    """
    from concurrent.futures import ThreadPoolExecutor  # Not needed before the first request.

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(MAX_LOOKUPS, "lookup"))


def wait_in_thread(wait: Callable[[], object], then: Callable[[object], object]) -> None:
    """Run *wait* in a thread that never delays the exit, and pass its result to *then* in this event loop."""
    in_loop = thread_caller()

    def run() -> None:
        result = wait()
        # The loop may be closed by now: nobody waits any more.
        with suppress(RuntimeError):
            in_loop(then, result)

    threading.Thread(target=run, name="wait", daemon=True).start()
