"""What differs between Linux, macOS and Windows: descriptors, signals, limits, the parent process.

The only module that asks which system it runs on. Must not know the protocol.
"""

import os
import select
import signal
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

WINDOWS = sys.platform == "win32"
MACOS = sys.platform == "darwin"

PARENT_PID = os.getppid()
"""Who spawned us, noted as early as may be. Of one that has gone before Python was up the pipes alone tell."""

PARENT_SIGNAL: signal.Signals | None = getattr(signal, "SIGURG", None) if sys.platform == "linux" else None
"""What `ask_for_parent_signal` asks for. The one that nobody else sends and that by default does nothing."""

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


def never_blocks(fd: int) -> Callable[[int], bool]:
    """Return a function that says whether so many bytes can be written to *fd* now without blocking."""
    if WINDOWS or not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return lambda size_bytes: False  # noqa: ARG005 - nothing is promised for others than pipes
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    # POSIX: a pipe that is writable takes PIPE_BUF bytes whole.
    return lambda size_bytes: size_bytes <= select.PIPE_BUF and bool(poll.poll(0))


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


def leave_no_core() -> None:
    """Have the system write no core file, which would hold every key, should the process crash."""
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def file_limit() -> int | None:
    """Return how many files may be open, None where there is no such limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def try_lock(fd: int) -> bool:
    """Take the lock of the file *fd* and return whether that went well; closing the file gives it back."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


PRIVATE_OPEN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Flags for a file of our own: no link is followed, no pipe waited for, no child inherits it."""


def is_foreign(status: os.stat_result) -> bool:
    """Return whether a file or folder is another user's. Windows itself keeps others out of the user's folders."""
    return not WINDOWS and status.st_uid != os.geteuid()


def is_open_to_others(status: os.stat_result) -> bool:
    """Return whether others than its owner may read or change a file or folder."""
    return not WINDOWS and bool(stat.S_IMODE(status.st_mode) & 0o077)


def sync_folder(path: str) -> None:
    """Wait until what was renamed in the folder *path* is on the disk, where a folder can be asked for that."""
    if not WINDOWS:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class Parent(NamedTuple):
    """The process that spawned us."""

    gone: Callable[[], bool]
    """Return whether it has gone, as far as the system can be asked; never blocks."""
    wait: Callable[[], bool] | None
    """Block until it has gone and return true, or false where there is no waiting; None: `PARENT_SIGNAL` tells."""


def parent() -> Parent:
    """Return how to see that the process that spawned us goes."""
    if WINDOWS:
        return _parent_by_handle()
    if hasattr(select, "kqueue"):
        return Parent(_is_orphan, partial(_wait_by_kqueue, PARENT_PID))
    return Parent(_is_orphan, None)


def _is_orphan() -> bool:
    return os.getppid() != PARENT_PID


def _wait_by_kqueue(pid: int) -> bool:
    """Block until the process *pid* has gone. BSD's and macOS's way (kqueue(2), EVFILT_PROC)."""
    kqueue: Any = getattr(select, "kqueue")  # noqa: B009 - the attribute exists on BSD and macOS alone
    kinds: Any = select
    exits = kinds.kevent(pid, kinds.KQ_FILTER_PROC, kinds.KQ_EV_ADD, kinds.KQ_NOTE_EXIT)
    try:
        with closing(kqueue()) as queue:
            queue.control([exits], 0)
            # It may have gone, and its number been given away, before the kernel was asked.
            return _is_orphan() or bool(queue.control(None, 1, None))
    except ProcessLookupError:
        return True
    except OSError:
        return False


def _parent_by_handle() -> Parent:
    # A pid may be given to a stranger: only a handle taken at the start names the parent for good.
    import ctypes

    synchronize, no_such_process, signalled, infinite = 0x00100000, 87, 0, 0xFFFFFFFF
    windows: Any = ctypes
    kernel = windows.WinDLL("kernel32", use_last_error=True)
    handle = kernel.OpenProcess(synchronize, False, PARENT_PID)  # noqa: FBT003 - an argument of Windows
    if not handle:
        went_before = windows.get_last_error() == no_such_process
        return Parent(lambda: went_before, lambda: went_before)
    return Parent(
        lambda: bool(kernel.WaitForSingleObject(handle, 0) == signalled),
        lambda: bool(kernel.WaitForSingleObject(handle, infinite) == signalled),
    )


def ask_for_parent_signal() -> bool:
    """Have Linux send `PARENT_SIGNAL` when our parent goes, and return whether it will.

    To be called by the main thread, which lasts: the wish is a thread's own (prctl(2), PR_SET_PDEATHSIG). The signal
    comes as well when only the *thread* that spawned us ends, and again when the next one does that the kernel has
    given us to: it says that it is time to look, and no more.
    """
    if PARENT_SIGNAL is None:
        return False
    try:
        # A few milliseconds of import.
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return False
    set_parent_death_signal = 1
    prctl.argtypes = (ctypes.c_int, ctypes.c_ulong)
    return bool(prctl(set_parent_death_signal, PARENT_SIGNAL) == 0)
