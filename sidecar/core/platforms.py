"""The differences between Linux, macOS and Windows: descriptors, signals, limits, the parent process.

The only module that asks which system it runs on. Must not know the protocol.
"""

import os
import select
import signal
import stat
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

WINDOWS = sys.platform == "win32"
MACOS = sys.platform == "darwin"

FOLLOWS_XDG = not WINDOWS and not MACOS
"""Whether the folders of users follow the XDG Base Directory Specification."""

PARENT_PID = os.getppid()
"""The process that started ours, read as early as possible. If it ended even earlier: `is_adopted`."""

PARENT_SIGNAL: signal.Signals | None = getattr(signal, "SIGURG", None) if sys.platform == "linux" else None
"""The signal of `request_parent_signal`: nothing else sends it, and by default it does nothing."""

LEAVE_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""Signals that ask the process to leave."""

IGNORED_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGPIPE", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
"""Signals that end the process by default, and must not."""


PIPE_BYTES = getattr(select, "PIPE_BUF", 0)
"""What a pipe takes at once as long as it is writable, as POSIX has it. Nothing else promises as much."""


def make_binary(fd: int) -> None:
    """Switch *fd* to binary mode on Windows, so that no LF becomes CRLF."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(fd, os.O_BINARY)


def wait_readable(fd: int) -> None:
    """Block until *fd*, which was made non-blocking, has something to read."""
    if not WINDOWS:
        select.select([fd], [], [])


def wait_writable(fd: int) -> None:
    """Block until *fd*, which was made non-blocking, can take something."""
    if not WINDOWS:
        select.select([], [fd], [])


def is_readable(fd: int) -> bool:
    """Return whether the socket *fd* has something to read, or its end."""
    if WINDOWS:
        return bool(select.select([fd], [], [], 0)[0])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""The clock that runs on while the machine sleeps. Linux has a name of its own for it, macOS the usual one."""


def read_boot_seconds() -> float:
    """Return the time of a monotonic clock that runs on while the machine sleeps.

    `time.monotonic` and the event loop stand still meanwhile on Linux and macOS.
    """
    if sys.platform == "win32" or _BOOT_CLOCK is None:
        return time.monotonic()
    return time.clock_gettime(_BOOT_CLOCK)


def is_reader_gone(fd: int) -> bool:
    """Return whether *fd* is a pipe, socket or terminal whose other end is closed.

    Always false on Windows, where only a write can tell.
    """
    if sys.platform == "win32":
        return False
    waiting = select.poll()
    waiting.register(fd, 0)
    # macOS reports POLLNVAL for every device.
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in waiting.poll(0))


def make_room_check(fd: int) -> Callable[[], int]:
    """Return a function that returns how many bytes *fd* takes now without blocking, as far as the system promises."""
    if WINDOWS or not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return lambda: 0  # Only pipes promise anything.
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return lambda: PIPE_BYTES if poll.poll(0) else 0


def get_nowait_flag(fd: int) -> int:
    """Return the flag of `os.pwritev` with which a write to *fd* fails where it would block; 0 if there is none.

    A pipe of Linux knows it, since its version 6.4. It takes PIPE_BYTES at once or nothing of them.
    """
    is_pipe = not WINDOWS and stat.S_ISFIFO(os.fstat(fd).st_mode)
    return getattr(os, "RWF_NOWAIT", 0) if is_pipe else 0


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one: each stream needs a socket."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            # macOS refuses more than its kernel's maximum. The soft limit stays as it is.
            return


def disable_core_dumps() -> None:
    """Keep the system from writing a core file after a crash: it would hold every key."""
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def get_file_limit() -> int | None:
    """Return how many files may be open; None: there is no limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def try_lock(fd: int) -> bool:
    """Lock the file *fd*, and return whether that succeeded. Closing the file unlocks it."""
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
"""Flags for opening a private file: no link is followed, no pipe is waited for, no child process inherits it."""


def is_foreign(status: os.stat_result) -> bool:
    """Return whether a file or folder belongs to another user. Always false on Windows, which keeps users apart."""
    return not WINDOWS and status.st_uid != os.geteuid()


def is_open_to_others(status: os.stat_result) -> bool:
    """Return whether anyone but its owner may read or change a file or folder. Always false on Windows."""
    return not WINDOWS and bool(stat.S_IMODE(status.st_mode) & 0o077)


def is_writable_by_others(status: os.stat_result) -> bool:
    """Return whether anyone but its owner may change a file. Always false on Windows."""
    return not WINDOWS and bool(stat.S_IMODE(status.st_mode) & 0o022)


def sync_folder(path: str) -> None:
    """Wait until renames in the folder *path* are on the disk. Does nothing on Windows."""
    if not WINDOWS:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class Parent(NamedTuple):
    """The process that started ours."""

    is_gone: Callable[[], bool]
    """Returns whether it has ended, as far as the system knows. Never blocks."""
    wait: Callable[[], bool] | None
    """Blocks until it has ended and returns true, or returns false if it cannot wait. None: `PARENT_SIGNAL` tells."""


def find_parent() -> Parent:
    """Return the process that started ours."""
    if WINDOWS:
        return _find_parent_by_handle()
    if hasattr(select, "kqueue"):
        return Parent(_is_orphan, partial(_wait_by_kqueue, PARENT_PID))
    return Parent(_is_orphan, None)


def is_adopted(*pipes: int) -> bool:
    """Return whether our parent has only adopted us, because the process that started ours ended at once.

    Such a parent holds no end of our *pipes*, and it has another session than ours, unlike the parent of a shell's
    pipeline. A host that sends nothing more still holds the pipe that it reads. If its descriptors are hidden, only the
    first process of the system counts as such a parent. Always false outside of Linux.
    """
    if sys.platform != "linux":
        return False
    try:
        ours = {os.readlink(f"/proc/self/fd/{pipe}") for pipe in pipes}  # noqa: PTH115 - it names no file
        if not all(name.startswith("pipe:") for name in ours) or os.getsid(PARENT_PID) == os.getsid(0):
            return False
        with os.scandir(f"/proc/{PARENT_PID}/fd") as descriptors:
            return not any(os.readlink(each.path) in ours for each in descriptors)  # noqa: PTH115 - as above
    except PermissionError:
        return PARENT_PID == 1
    except OSError:
        return False


def _is_orphan() -> bool:
    return os.getppid() != PARENT_PID


def _wait_by_kqueue(pid: int) -> bool:
    """Block until the process *pid* has ended. BSD and macOS: kqueue(2), EVFILT_PROC."""
    kqueue: Any = getattr(select, "kqueue")  # noqa: B009 - the attribute exists on BSD and macOS alone
    kinds: Any = select
    exits = kinds.kevent(pid, kinds.KQ_FILTER_PROC, kinds.KQ_EV_ADD, kinds.KQ_NOTE_EXIT)
    try:
        with closing(kqueue()) as queue:
            queue.control([exits], 0)
            # It may have ended, and its number may belong to another process, before the kernel was asked.
            return _is_orphan() or bool(queue.control(None, 1, None))
    except ProcessLookupError:
        return True
    except OSError:
        return False


def _find_parent_by_handle() -> Parent:
    # A pid may be reused. Only a handle that is opened at the start always means the parent.
    import ctypes

    synchronize, no_such_process, signalled, infinite = 0x00100000, 87, 0, 0xFFFFFFFF
    windows: Any = ctypes
    kernel = windows.WinDLL("kernel32", use_last_error=True)
    handle = kernel.OpenProcess(synchronize, False, PARENT_PID)  # noqa: FBT003 - an argument of Windows
    if not handle:
        ended_before = windows.get_last_error() == no_such_process
        return Parent(lambda: ended_before, lambda: ended_before)
    return Parent(
        lambda: bool(kernel.WaitForSingleObject(handle, 0) == signalled),
        lambda: bool(kernel.WaitForSingleObject(handle, infinite) == signalled),
    )


def request_parent_signal() -> bool:
    """Have Linux send `PARENT_SIGNAL` when our parent ends, and return whether it will.

    Call it from the main thread: the request ends with the thread that makes it (prctl(2), PR_SET_PDEATHSIG). The
    signal also comes when only the *thread* that started us ends, and again when a later parent ends. So it only means
    that the parent should be checked.
    """
    if PARENT_SIGNAL is None:
        return False
    try:
        # Importing it takes a few milliseconds.
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return False
    set_parent_death_signal = 1
    prctl.argtypes = (ctypes.c_int, ctypes.c_ulong)
    return bool(prctl(set_parent_death_signal, PARENT_SIGNAL) == 0)


def limit_malloc_arenas() -> bool:
    """Have glibc serve all threads from its existing arenas, and return whether it will.

    By default each new thread gets an arena of its own. Worker threads come and go, and memory that is freed in one
    arena cannot be used by others, so a process that runs for days would grow. Source: mallopt(3), M_ARENA_MAX.
    """
    if sys.platform != "linux":
        return False
    arena_max = -8
    try:
        # Importing it takes a few milliseconds.
        import ctypes

        return bool(ctypes.CDLL(None).mallopt(arena_max, 1))
    except (OSError, AttributeError, ImportError, MemoryError):
        # musl has no arenas. When memory is short, the library cannot be loaded.
        return False


def describe_system() -> str:
    """Return the name of the system, its version and its processor, for people."""
    import platform  # Only a person's command asks.

    return " ".join(filter(None, (platform.system(), platform.release(), platform.machine())))
