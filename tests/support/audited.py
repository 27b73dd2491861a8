"""Runs the program, and notes in a file what it does to the machine: `python watched.py NOTES ARGUMENT...`.

An audit hook of the interpreter hears of every file that is opened for writing, every program that is started,
every address that is bound, every connection to another machine. The program itself is started as `-m sidecar`
starts it. It must not import what the program would not: what is loaded is tested too.
"""

import os
import runpy
import sys
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_PATHS = frozenset(
    {
        "os.chmod",
        "os.chown",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.setxattr",
        "os.symlink",
        "os.truncate",
        "os.utime",
        "sqlite3.connect",
    }
)
"""Events that change a path, which is the first argument; of two, the last is the one that comes to be."""

_TWO_PATHS = frozenset({"os.link", "os.rename", "os.symlink"})

_STARTS = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
        "webbrowser.open",
    }
)

HEARD = _PATHS | _STARTS | {"open", "socket.bind", "socket.connect"}


def _watch(notes: str) -> None:
    made = os.open(notes, os.O_WRONLY | os.O_APPEND)
    if made <= 2:
        # One of the first three was closed, and must be so for the program.
        import fcntl

        made, taken = fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, 3), made
        os.close(taken)

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        deed = deed_of(event, arguments) if event in HEARD else None
        if deed:
            os.write(made, f"{deed!r}\n".encode("utf-8", "backslashreplace"))

    sys.addaudithook(hear)


def deed_of(event: str, arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    """Return what *event* means and of whom, None where it is of no interest."""
    match event:
        case "socket.bind":
            return "bind", str(arguments[1])
        case "socket.connect":
            return None if _is_here(arguments[1]) else ("connect", str(arguments[1]))
        case _ if event in _STARTS:
            return "start", str(arguments[:2])
        case _:
            path = arguments[1 if event in _TWO_PATHS else 0]
            harmless = isinstance(path, int) or (event == "open" and not arguments[2] & _WRITES)
            return None if harmless else ("write", _path(path))


def _path(path: Any) -> str:
    whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - `pathlib` may not be loaded
    # Whatever the locale: files are read in UTF-8.
    return os.fsencode(whole).decode("utf-8", "backslashreplace")


def _is_here(address: Any) -> bool:
    return isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1")


if __name__ == "__main__":
    _watch(sys.argv.pop(1))
    # Where `-m` looks for modules.
    sys.path[0] = os.getcwd()  # noqa: PTH109 - as above
    runpy.run_module("sidecar", run_name="__main__", alter_sys=True)
