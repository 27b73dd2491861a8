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

    The loop is uvloop's where that is preferred and installed: it is in C, and takes half as long for an event.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if prefer_uvloop:
        with suppress(ImportError):
            factory = find_uvloop()
    with suppress(ImportError):
        # So anyio knows the loop outside of tasks too. All that anyio needs for asyncio is loaded by the first that
        # asks it for anything: that takes a third of the time of a start.
        import sniffio

        sniffio.current_async_library_cvar.set("asyncio")
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(*arguments))


Event = asyncio.Event
"""What anyio's is, for what runs before the first request needs anyio."""

sleep = asyncio.sleep


async def give_time(seconds: float, function: Callable[[], Awaitable[object]]) -> None:
    """Run *function* for at most *seconds*, then cancel it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await function()


class TaskStarter(Protocol):
    """Starts tasks: `Tasks`, or a task group of anyio's."""

    def start_soon(self, function: Callable[[*Args], Coroutine[Any, Any, object]], /, *arguments: *Args) -> object:
        """Run *function* with *arguments* in a task."""


class Tasks:
    """The tasks of the process, none of which may fail."""

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        """Call *on_failure* with what a task has failed with."""
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
    from ipaddress import ip_address  # Only a request needs it.

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
