"""The composition root: descriptors, lanes, dispatch, one task group, and the ways to leave.

Knows when the process ends: end of input, `shutdown`, a signal, a host that is gone.
"""

import gc
import os
import signal
from collections.abc import Callable

import anyio

from sidecar.config.values import Config
from sidecar.core import event_loop, platforms
from sidecar.core.errors import SidecarError
from sidecar.server import dispatch, stdio
from sidecar.server.app import App
from sidecar.server.framing import LineDecoder
from sidecar.server.write_queue import WriteQueue
from sidecar.upstream.http_client import HttpClient

LEAVE_SECONDS = 0.7
"""How long open requests get for their terminal lines once the process is leaving."""

FLUSH_SECONDS = 0.5
"""How long the host gets to read the last lines."""

LEDGER_SECONDS = 0.3
"""How long the last rows of the ledger get."""

GIVE_UP_SECONDS = 0.25
"""How long the rest of the work gets to end; a name lookup in a thread, say, cannot be cancelled."""

HOST_CHECK_SECONDS = 0.5
"""How often it is looked whether the host is still there, for one that dies while nothing is said, or no system says so
by itself."""

PARENT_SIGNAL_SECONDS = 0.5
"""When the system is asked to tell of the parent's end: what that has to import is not for the start to wait for."""

GC_THRESHOLDS = (20_000, 10, 10)
"""How much is made before the collector of cycles looks at it, and how often at the rest. By Python's own figures it
goes through all that a thousand streams hold while they run, and every one of them waits for that 0.2 s."""

LAST_WRITE_SECONDS = 0.02
"""How long a second signal waits for the write that is under way."""


async def serve(config: Config, descriptors: stdio.Descriptors, leave: Callable[[int], None]) -> None:
    """Serve requests until there is nobody to serve, then call *leave* with the exit code, which ends the process."""
    gc.set_threshold(*GC_THRESHOLDS)
    output = stdio.Output(descriptors.stdout)
    write_queue = WriteQueue(output.write, event_loop.call_soon)
    finished = anyio.Event()
    app: App | None = None
    try:
        async with anyio.create_task_group() as tasks:
            app = App(config, write_queue, tasks, HttpClient())
            app.leave = lambda: _begin_to_leave(app, finished)
            _handle_signals(app, output)
            tasks.start_soon(_read, app, descriptors.stdin, finished)
            tasks.start_soon(_watch_host, output, finished)
            tasks.start_soon(_watch_output, write_queue, finished)
            await finished.wait()
            app.leaving = True
            app.requests.cancel_all("shutting_down")
            async with anyio.create_task_group() as last:
                last.start_soon(_flush, write_queue)
                last.start_soon(_close_ledger, app)
            event_loop.call_later(GIVE_UP_SECONDS, leave, 0)
            tasks.cancel_scope.cancel()
    except ExceptionGroup:
        if app is not None:
            await _break_down(app)
        raise
    leave(0)


async def _break_down(app: App) -> None:
    """Give every open request its end, after a failure of ours that ends the process: memory that is short, say."""
    for request in [*app.requests]:
        app.fail(request, SidecarError("internal_error", "The sidecar has failed and leaves."))
    await _flush(app.write_queue)


async def _flush(write_queue: WriteQueue) -> None:
    if not write_queue.reader_gone.is_set():
        with anyio.move_on_after(FLUSH_SECONDS):
            await write_queue.flush()


async def _close_ledger(app: App) -> None:
    with anyio.move_on_after(LEDGER_SECONDS):
        await app.requests.wait_until_idle()
        await app.upstream.ledger.flush()


async def _read(app: App, fd: int, finished: anyio.Event) -> None:
    """Take requests until the end of input, then let what is open finish."""
    decoder = LineDecoder()
    async for data in stdio.Input(fd):
        for line in decoder.feed(data):
            dispatch.accept(app, line)
    for line in decoder.end():
        dispatch.accept(app, line)
    await app.requests.wait_until_idle()
    await app.write_queue.flush()
    if not app.leaving:
        finished.set()


def _begin_to_leave(app: App, finished: anyio.Event) -> None:
    """Refuse new work, cancel what is open and leave once every request has its terminal line. Twice is once."""
    if not app.leaving:
        app.leaving = True
        app.requests.cancel_all("shutting_down")
        app.tasks.start_soon(_leave, app, finished)


async def _leave(app: App, finished: anyio.Event) -> None:
    with anyio.move_on_after(LEAVE_SECONDS):
        await app.requests.wait_until_idle()
    finished.set()


async def _watch_host(output: stdio.Output, finished: anyio.Event) -> None:
    parent = platforms.find_parent()
    _hear_of_end(parent, finished)
    while not parent.is_gone() and not output.reader_gone:  # noqa: ASYNC110 - not everything is told, all can be asked
        await anyio.sleep(HOST_CHECK_SECONDS)
    finished.set()


def _hear_of_end(parent: platforms.Parent, finished: anyio.Event) -> None:
    """Have the system tell of the end of *parent* at once, even while another process holds the pipes."""
    in_loop = event_loop.make_thread_caller()

    def look(*_: object) -> None:
        if parent.is_gone():
            finished.set()

    def ask() -> None:
        if platforms.PARENT_SIGNAL:
            signal.signal(platforms.PARENT_SIGNAL, lambda *_: in_loop(look))
            platforms.request_parent_signal()
            # It may have gone just before.
            look()

    if parent.wait:
        event_loop.wait_in_thread(parent.wait, lambda has_gone: finished.set() if has_gone else None)
    else:
        event_loop.call_later(PARENT_SIGNAL_SECONDS, ask)


async def _watch_output(write_queue: WriteQueue, finished: anyio.Event) -> None:
    await write_queue.reader_gone.wait()
    finished.set()


def _handle_signals(app: App, output: stdio.Output) -> None:
    in_loop = event_loop.make_thread_caller()

    def leave(number: int, frame: object) -> None:  # noqa: ARG001 - the shape of a handler
        if app.leaving:
            output.wait_until_written(LAST_WRITE_SECONDS)
            os._exit(0)
        in_loop(app.leave)

    for number in platforms.LEAVE_SIGNALS:
        signal.signal(number, leave)
    for number in platforms.IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
