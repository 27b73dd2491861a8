"""What differs between Linux, macOS and Windows: descriptors, signals, limits, the parent process.

The only module that asks which system it runs on. Must not know the protocol.
"""

import os
import select
import signal
import sys
from collections.abc import Callable

WINDOWS = sys.platform == "win32"

LEAVE_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""Signals that mean: stop what you do and leave."""

IGNORED_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGPIPE", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
"""Signals that would end the process by default and have no business to."""


def make_binary(fd: int) -> None:
    """Switch *fd* from text to binary, where descriptors have such modes: no LF becomes CRLF."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(fd, os.O_BINARY)


def wait_readable(fd: int) -> None:
    """Block until *fd*, which its owner has made non-blocking, has something to read."""
    if not WINDOWS:
        select.select([fd], [], [])


def wait_writable(fd: int) -> None:
    """Block until *fd*, which its owner has made non-blocking, takes something."""
    if not WINDOWS:
        select.select([], [fd], [])


def reader_gone(fd: int) -> bool:
    """Return whether *fd* is a pipe, socket or terminal whose other end is closed. Windows tells only who writes."""
    if sys.platform == "win32":
        return False
    waiting = select.poll()
    waiting.register(fd, 0)
    # POLLNVAL is what macOS says of every device.
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in waiting.poll(0))


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one, for a socket per stream."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            # macOS refuses more than its kernel's own maximum: what there is must do.
            return


def watch_parent() -> Callable[[], bool]:
    """Return a function that says whether the process that spawned us has gone."""
    if sys.platform == "win32":
        return _watch_parent_windows()
    parent = os.getppid()
    return lambda: os.getppid() != parent


def _watch_parent_windows() -> Callable[[], bool]:
    # A pid may be given to a stranger: only a handle taken at the start names the parent for good.
    import ctypes

    synchronize, wait_timeout = 0x00100000, 0x102
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - the attribute exists on Windows alone
    handle = kernel.OpenProcess(synchronize, False, os.getppid())  # noqa: FBT003 - an argument of Windows
    if not handle:
        return lambda: False
    return lambda: bool(kernel.WaitForSingleObject(handle, 0) != wait_timeout)
