"""The asyncio loop beneath anyio: timers, calls from threads, threads that never delay the exit.

The one home of asyncio. anyio would wait for its worker threads, and a process that leaves must not.
"""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol, TypeVarTuple

Args = TypeVarTuple("Args")

MAX_LOOKUPS = 256
"""How many host names may be looked up at once, each in a thread of its own."""


def run(main: Callable[..., Coroutine[Any, Any, object]], *arguments: object, prefer_uvloop: bool) -> None:
    """Run *main* with *arguments* in an event loop of its own, and return when it ends.

    uvloop is used if it is preferred and installed: it is written in C, and takes half as long for an event.
    """
    with _make_runner(prefer_uvloop=prefer_uvloop) as runner:
        runner.run(main(*arguments))


def make_runner(*, prefer_uvloop: bool) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return a function that runs a coroutine to its end, always in the same loop, which ends with the process.

    Ctrl-C cancels the coroutine; if that ends with it, or a second one comes, the function raises KeyboardInterrupt.
    """
    return _make_runner(prefer_uvloop=prefer_uvloop).run


def _make_runner(*, prefer_uvloop: bool) -> asyncio.Runner:
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if prefer_uvloop:
        with suppress(ImportError):
            factory = find_uvloop()
    with suppress(ImportError):
        # With this anyio knows the loop outside of tasks too. It loads its support for asyncio on first use, which
        # would take a third of the time of a start.
        import sniffio

        sniffio.current_async_library_cvar.set("asyncio")
    return asyncio.Runner(loop_factory=factory)


Event = asyncio.Event
"""Like `anyio.Event`, for code that runs before the first request needs anyio."""

sleep = asyncio.sleep


async def give_time(seconds: float, function: Callable[[], Awaitable[object]]) -> None:
    """Run *function* for at most *seconds*, then cancel it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await function()


class TaskStarter(Protocol):
    """Starts tasks: `Tasks`, or a task group of anyio."""

    def start_soon(self, function: Callable[[*Args], Coroutine[Any, Any, object]], /, *arguments: *Args) -> object:
        """Run *function* with *arguments* in a task."""


class Tasks:
    """The tasks of the process, none of which may fail."""

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        """Call *on_failure* with the exception of a task that failed."""
        self._on_failure = on_failure
        self._running: set[asyncio.Task[Any]] = set()

    def start_soon(self, function: Callable[[*Args], Coroutine[Any, Any, object]], /, *arguments: *Args) -> None:
        """Run *function* with *arguments* in a task."""
        task = asyncio.get_running_loop().create_task(function(*arguments))
        self._running.add(task)
        task.add_done_callback(self._end)

    async def cancel(self) -> None:
        """Cancel all tasks and wait for their ends."""
        for task in [*self._running]:
            task.cancel()
        while self._running:
            await asyncio.wait(self._running)

    def _end(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._on_failure(failure)


def find_uvloop() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the class of a uvloop loop that looks up names in Python's threads, as the loop of asyncio does.

    uvloop itself has four threads for lookups, and no more can be added: see `allow_many_lookups`.

    Raises: ImportError if uvloop is not installed.
    """
    import socket

    import uvloop

    class Loop(uvloop.Loop):
        async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
            # uvloop also looks up addresses, each time that it connects to one.
            if options.get("family") == socket.AF_INET and _is_address(host):
                # For the system's answer, which is the same, Python imports what it needs for names in any script.
                return [(socket.AF_INET, options.get("type", 0), options.get("proto", 0), "", (host, port))]
            look_up = partial(socket.getaddrinfo, host, port, **options)
            return look_up() if _is_address(host) else await self.run_in_executor(None, look_up)

    return Loop


def _is_address(host: object) -> bool:
    from ipaddress import ip_address  # Only a request needs it.

    try:
        ip_address(str(host))
    except ValueError:
        return False
    return True


def make_thread_caller() -> Callable[..., object]:
    """Return a function that schedules a call in this event loop, given a callable and its arguments.

    For threads and signal handlers. The call has the context of the current task, because a thread or an
    interrupted task may have a context that does not know this loop.

    The returned function raises RuntimeError once the loop is closed.
    """
    return partial(asyncio.get_running_loop().call_soon_threadsafe, context=copy_context())


def handle_shortage(on_shortage: Callable[[], None]) -> None:
    """Call *on_shortage* when a callback of this event loop runs out of memory. The loop continues.

    Other failures are reported as usual.
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
    """End the process after *seconds*, even if the loop is stuck. Signal handlers may call it too."""

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
