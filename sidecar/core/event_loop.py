"""The asyncio loop beneath anyio: timers, calls from threads, threads that never delay the exit.

The one home of asyncio. anyio would wait for its worker threads, and a process that leaves must not.
"""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from ipaddress import ip_address
from typing import Any

MAX_LOOKUPS = 256
"""How many host names may be looked up at once, each in a thread of its own."""


def run(main: Callable[..., Awaitable[object]], *arguments: object, prefer_uvloop: bool) -> None:
    """Run *main* with *arguments* in an event loop of its own, and return when it ends.

    The loop is uvloop's where that is preferred and installed: it is in C, and takes half as long for an event.
    """
    import anyio

    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if prefer_uvloop:
        with suppress(ImportError):
            factory = find_uvloop()
    anyio.run(main, *arguments, backend_options={"loop_factory": factory})


def find_uvloop() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes a loop of uvloop's that looks up names in Python's own threads, as asyncio's does.

    Its own threads are four, and are not ours to add to: see `allow_many_lookups`.

    Raises: ImportError where it is not installed.
    """
    import socket

    import uvloop

    class Loop(uvloop.Loop):
        async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
            look_up = partial(socket.getaddrinfo, host, port, **options)
            # It asks for addresses too, each time that it connects to one.
            return look_up() if _is_address(host) else await self.run_in_executor(None, look_up)

    return Loop


def _is_address(host: object) -> bool:
    try:
        ip_address(str(host))
    except ValueError:
        return False
    return True


def make_thread_caller() -> Callable[..., object]:
    """Return a function that schedules a call in this event loop, given a callable and its arguments.

    For threads and signal handlers. The call has the context of the current task: a thread, or a handler that
    interrupts another task, has none that knows this loop.

    The returned function raises RuntimeError once the loop is closed.
    """
    return partial(asyncio.get_running_loop().call_soon_threadsafe, context=copy_context())


def handle_shortage(on_shortage: Callable[[], None]) -> None:
    """Call *on_shortage* where a callback of this event loop gets no memory; the loop goes on.

    Of other failures it says what it says by itself.
    """

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), MemoryError):
            on_shortage()
        else:
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(handle)


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
