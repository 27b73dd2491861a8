"""The composition root: it connects descriptors, write queue, dispatch and one task group.

Knows when the process ends: at the end of input, after `shutdown` or a signal, or when the host is gone.
"""

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sidecar.config.values import Config
from sidecar.core import event_loop, platforms
from sidecar.core.errors import SidecarError
from sidecar.core.log import find_origin, log
from sidecar.server import dispatch, stdio
from sidecar.server.app import App
from sidecar.server.framing import LineDecoder, TooLong
from sidecar.server.write_queue import WriteQueue

if TYPE_CHECKING:
    from sidecar.server.trace import Trace

LEAVE_SECONDS = 0.7
"""How long open requests may take to write their terminal lines when the process leaves."""

FLUSH_SECONDS = 0.5
"""How long the host may take to read the last lines."""

LEDGER_SECONDS = 0.3
"""How long writing the last rows of the ledger may take."""

GIVE_UP_SECONDS = 0.25
"""How long the remaining tasks may take to end. Some cannot be cancelled, such as a name lookup in a thread."""

HOST_CHECK_SECONDS = 0.5
"""How often to check that the host still exists: not every system reports the end of a host that is silent."""

SETTLED_SECONDS = 0.5
"""When to ask the system for what can wait, such as a signal at the parent's end: its imports would delay the start."""

GC_THRESHOLDS = (20_000, 10, 10)
"""The thresholds of the garbage collector. With the default ones it keeps scanning everything that a thousand streams
hold, and each scan stops all of them for 0.2 s."""

STUCK_SECONDS = 2.0
"""How long after a signal, or the end of the parent, the process is ended even if its loop is stuck."""

SWITCH_SECONDS = 0.001
"""How long a thread may wait for the interpreter: by Python's own figure, 5 ms, the one that reads stdin waits as long
beside fast streams."""

LAST_WRITE_SECONDS = 0.02
"""How long a second signal waits for a running write."""


async def serve(
    config: Config,
    descriptors: stdio.Descriptors,
    leave: Callable[[int], None],
    mistakes: Sequence[str] = (),
    trace: "Trace | None" = None,
) -> None:
    """Serve requests until the host is done or gone, then call *leave* with the exit code, which ends the process.

    With *mistakes* in the configuration every request is refused, and the exit code is 2. *trace* gets every line;
    None: a file does, if the configuration names one.
    """
    exit_code = 2 if mistakes else 0
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)
    output = stdio.Output(descriptors.stdout)
    trace = trace or _begin_trace(config)
    write = trace.watch(output.write) if trace else output.write
    write_queue = WriteQueue(write, event_loop.call_soon, time.monotonic)
    finished = event_loop.Event()
    failures: list[BaseException] = []

    def fail(failure: BaseException) -> None:
        failures.append(failure)
        finished.set()

    tasks = event_loop.Tasks(fail)
    app = App(config, write_queue, tasks)
    app.config_mistakes = tuple(mistakes)
    app.leave = lambda: _start_leaving(app, finished)
    try:
        _handle_signals(app, output)
        event_loop.call_later(SETTLED_SECONDS, platforms.limit_malloc_arenas)
        tasks.start_soon(_read_requests, app, descriptors.stdin, finished, trace)
        if trace:
            tasks.start_soon(trace.run)
        tasks.start_soon(_watch_host, app, descriptors[:2], output, finished)
        tasks.start_soon(_watch_writes, write_queue, finished)
        await finished.wait()
        if not failures:
            await _end_requests(app)
            event_loop.call_later(GIVE_UP_SECONDS, leave, exit_code)
            await tasks.cancel()
    except MemoryError as error:
        failures.append(error)
    if failures:
        await _fail_all(app)
        log("error", "crashed", **find_origin(failures[0]))
        # The loop's own end would wait for its threads.
        exit_code = 1
    if trace:
        trace.write()
    leave(exit_code)


def _begin_trace(config: Config) -> "Trace | None":
    if config.trace_path is None:
        return None
    from sidecar.server.trace import Trace, make_file_writer  # Few processes have one.

    return Trace(make_file_writer(config.trace_path))


async def _end_requests(app: App) -> None:
    """Cancel what is open, and give the last lines, the ledger and stored answers the time that they may take."""
    app.leaving = True
    app.requests.cancel_all("shutting_down")
    await _flush(app.write_queue)
    if app.may_have_asked:
        await event_loop.give_time(LEDGER_SECONDS, partial(_close_files, app))


async def _fail_all(app: App) -> None:
    """Write a terminal line for every open request, after a failure that ends the process, such as lack of memory."""
    app.memory_reserve.release()
    for request in [*app.requests]:
        app.fail(request, SidecarError("internal_error", "The sidecar has failed and is leaving."))
    await _flush(app.write_queue)


async def _flush(write_queue: WriteQueue) -> None:
    if not write_queue.reader_gone.is_set():
        await event_loop.give_time(FLUSH_SECONDS, write_queue.flush)


async def _close_files(app: App) -> None:
    await app.requests.wait_until_idle()
    await app.upstream.flush()


async def _read_requests(app: App, fd: int, finished: event_loop.Event, trace: "Trace | None") -> None:
    """Accept requests until the end of input, then let the open ones finish."""
    decoder = LineDecoder()
    accept: Callable[[bytes | TooLong], None] = partial(dispatch.accept, app)
    if trace:
        accept = trace.watch_requests(accept)

    def make_room() -> None:
        app.memory_reserve.release()
        if line := decoder.give_up():
            accept(line)

    event_loop.handle_shortage(make_room)
    async for data in stdio.Input(fd, app.memory_reserve.release):
        if data is None:
            make_room()
            continue
        await dispatch.accept_all(accept, decoder.feed(data))
    await dispatch.accept_all(accept, decoder.end())
    app.requests.end_input()
    await app.requests.wait_until_idle()
    await app.write_queue.flush()
    if not app.leaving:
        finished.set()


def _start_leaving(app: App, finished: event_loop.Event) -> None:
    """Refuse new requests, cancel the open ones, and leave when each has its terminal line. Does nothing twice."""
    if not app.leaving:
        app.leaving = True
        app.requests.cancel_all("shutting_down")
        app.tasks.start_soon(_leave_when_idle, app, finished)


async def _leave_when_idle(app: App, finished: event_loop.Event) -> None:
    await event_loop.give_time(LEAVE_SECONDS, app.requests.wait_until_idle)
    finished.set()


async def _watch_host(app: App, pipes: tuple[int, int], output: stdio.Output, finished: event_loop.Event) -> None:
    parent = platforms.find_parent()
    _watch_parent(pipes, parent, finished)
    while not parent.is_gone() and not output.reader_gone:
        await event_loop.sleep(HOST_CHECK_SECONDS)
        app.memory_reserve.refill()
    finished.set()


def _watch_parent(pipes: tuple[int, int], parent: platforms.Parent, finished: event_loop.Event) -> None:
    """Have the system report the end of *parent* at once, even while another process holds the pipes open."""
    call_in_loop = event_loop.make_thread_caller()

    def check(*_: object) -> None:
        if parent.is_gone():
            finished.set()

    def handle(*_: object) -> None:
        if parent.is_gone():
            event_loop.exit_after(STUCK_SECONDS, 0)
        call_in_loop(check)

    def request_signal() -> None:
        if platforms.PARENT_SIGNAL:
            signal.signal(platforms.PARENT_SIGNAL, handle)
            platforms.request_parent_signal()
            # It may have ended just before, or before this process knew of it.
            check()
            if platforms.is_adopted(*pipes):
                finished.set()

    if parent.wait:
        event_loop.wait_in_thread(parent.wait, lambda has_ended: finished.set() if has_ended else None)
    else:
        event_loop.call_later(SETTLED_SECONDS, request_signal)


async def _watch_writes(write_queue: WriteQueue, finished: event_loop.Event) -> None:
    await write_queue.reader_gone.wait()
    finished.set()


def _handle_signals(app: App, output: stdio.Output) -> None:
    call_in_loop = event_loop.make_thread_caller()

    def leave(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a signal handler
        if app.leaving:
            output.wait_until_written(LAST_WRITE_SECONDS)
            os._exit(0)
        event_loop.exit_after(STUCK_SECONDS, 0)
        call_in_loop(app.leave)

    for number in platforms.LEAVE_SIGNALS:
        signal.signal(number, leave)
    for number in platforms.IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
