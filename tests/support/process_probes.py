"""What the system says of a process: memory, descriptors, children. Linux, through /proc."""

import sys
from pathlib import Path
from typing import IO

import pytest

LINUX = sys.platform == "linux"

linux_only = pytest.mark.skipif(not LINUX, reason="looks into /proc")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals, terminals and descriptors of POSIX")


def rss_bytes(pid: int) -> int:
    """Return the memory that the process has now."""
    return _status(pid, "VmRSS")


def peak_rss_bytes(pid: int) -> int:
    """Return the most memory it has had since it started or `forget_peak`."""
    return _status(pid, "VmHWM")


def address_space_bytes(pid: int) -> int:
    """Return how much memory is mapped, whether or not it is used."""
    return _status(pid, "VmSize")


def forget_peak(pid: int) -> None:
    """Count the peak from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name} of {pid}")


def unread_bytes(pipe: IO[bytes]) -> int | None:
    """Return how much lies in *pipe* that nobody has read; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def threads(pid: int) -> int:
    """Return how many threads it has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def catches(pid: int, number: int) -> bool:
    """Return whether it has a handler for that signal."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def core_bytes(pid: int) -> str:
    """Return how large a core file of it may be, as the system writes it."""
    lines = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4]


def descriptors(pid: int) -> dict[int, str]:
    """Return the open descriptors and what each is."""
    found: dict[int, str] = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(link.name)] = str(link.readlink())
        except FileNotFoundError:
            continue
    return found


def children(pid: int) -> list[int]:
    """Return the child processes."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text(encoding="ascii").split()]


def command_line(pid: int) -> bytes:
    """Return the command line, as anybody on the machine sees it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def listening(pid: int) -> set[str]:
    """Return the process's own sockets that take connections: TCP in state LISTEN, Unix with that flag."""
    found = set[str]()
    for table, column, listens, inode in (("tcp", 3, "0A", 9), ("tcp6", 3, "0A", 9), ("unix", 3, "00010000", 6)):
        rows = Path(f"/proc/{pid}/net/{table}").read_text(encoding="utf-8").splitlines()[1:]
        found |= {f"socket:[{row.split()[inode]}]" for row in rows if row.split()[column] == listens}
    return found & set(descriptors(pid).values())
