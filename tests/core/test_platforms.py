"""How the end of the parent is noticed on other systems, with stand-ins for their functions."""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from sidecar.core import platforms

STRANGER = 12345
NO_SUCH_PROCESS = 87


class Event(NamedTuple):
    """A kernel event, as `select.kevent` makes it."""

    ident: int
    filter: str
    flags: str
    fflags: str


class Kernel:
    """A kqueue whose process ends when it is waited for."""

    def __init__(self, failure: OSError | None = None) -> None:
        self.failure = failure
        self.asked: list[Event] = []
        self.waited = False
        self.closed = False

    def control(self, changes: list[Event] | None, count: int, timeout: float | None = 0) -> list[Event]:
        if self.failure:
            raise self.failure
        if changes is not None:
            assert count == 0
            self.asked += changes
            return []
        # Without a limit of time: the thread sleeps until there is something to tell.
        assert (count, timeout) == (1, None)
        self.waited = True
        return self.asked

    def close(self) -> None:
        self.closed = True


def install(monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> None:
    """Let this system have kqueue."""
    fields = {"KQ_FILTER_PROC": "proc", "KQ_EV_ADD": "add", "KQ_NOTE_EXIT": "exit"}
    for name, value in {"kqueue": lambda: kernel, "kevent": Event, **fields}.items():
        monkeypatch.setattr(select, name, value, raising=False)


def waiting(parent: platforms.Parent) -> Callable[[], bool]:
    """Return what blocks until the parent has gone."""
    assert parent.wait
    return parent.wait


def test_kqueue_reports_the_end_of_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    install(monkeypatch, kernel)
    assert waiting(platforms.find_parent())()
    assert kernel.asked == [Event(os.getppid(), "proc", "add", "exit")]
    assert kernel.waited
    assert kernel.closed


def test_a_parent_that_ended_before_kqueue_was_asked_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, kernel := Kernel())
    monkeypatch.setattr(platforms, "PARENT_PID", STRANGER)
    assert waiting(platforms.find_parent())()
    assert not kernel.waited
    install(monkeypatch, Kernel(ProcessLookupError()))
    assert waiting(platforms.find_parent())()


def test_a_refusal_of_kqueue_says_nothing_about_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, kernel := Kernel(PermissionError()))
    assert not waiting(platforms.find_parent())()
    assert kernel.closed


class Kernel32:
    """Windows' kernel32, of a parent that may be there."""

    def __init__(self, *, there: bool, handle: int = 8) -> None:
        self.there = there
        self.handle = handle
        self.opened: list[tuple[int, int]] = []
        self.waits_ms: list[int] = []

    def OpenProcess(self, access: int, inherits: bool, pid: int) -> int:  # noqa: N802 - Windows' word
        assert not inherits
        self.opened.append((access, pid))
        return self.handle

    def WaitForSingleObject(self, handle: int, ms: int) -> int:  # noqa: N802 - Windows' word
        assert handle == self.handle
        self.waits_ms.append(ms)
        return 0x102 if self.there and ms == 0 else 0


def on_windows(monkeypatch: pytest.MonkeyPatch, kernel: Kernel32, error: int = 0) -> platforms.Parent:
    """Return the parent as it is seen on Windows."""
    monkeypatch.setattr(platforms, "WINDOWS", True)
    monkeypatch.setattr(ctypes, "WinDLL", lambda *_, **__: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: error, raising=False)
    return platforms.find_parent()


def test_on_windows_a_handle_reports_the_end_of_the_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel32(there=True)
    parent = on_windows(monkeypatch, kernel)
    assert kernel.opened == [(0x00100000, os.getppid())]
    assert not parent.is_gone()
    assert waiting(parent)()
    assert kernel.waits_ms == [0, 0xFFFFFFFF]
    kernel.there = False
    assert parent.is_gone()


@pytest.mark.parametrize(("error", "gone"), [(NO_SUCH_PROCESS, True), (5, False)], ids=["none such", "access denied"])
def test_on_windows_a_parent_without_a_handle_has_ended_or_is_unknown(
    monkeypatch: pytest.MonkeyPatch, error: int, gone: bool
) -> None:
    parent = on_windows(monkeypatch, Kernel32(there=False, handle=0), error)
    assert (parent.is_gone(), waiting(parent)()) == (gone, gone)


@pytest.mark.skipif(platforms.PARENT_SIGNAL is None, reason="Linux")
class TestLinux:
    """The signal of a parent's death, which is a wish of the calling thread's: it is taken back."""

    def test_it_asks_the_kernel_for_a_signal_that_by_default_does_nothing(self) -> None:
        process: Any = ctypes.CDLL(None)
        asked = ctypes.c_int()
        assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL
        try:
            assert platforms.request_parent_signal()
            assert process.prctl(2, ctypes.byref(asked)) == 0
            assert asked.value == platforms.PARENT_SIGNAL == signal.SIGURG
        finally:
            process.prctl(1, 0)

    def test_without_prctl_there_is_still_the_poll(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_: object())
        assert not platforms.request_parent_signal()
        parent = platforms.find_parent()
        assert parent.wait is None
        assert not parent.is_gone()
        monkeypatch.setattr(platforms, "PARENT_PID", STRANGER)
        assert parent.is_gone()


COUNT_ARENAS = """
import re, sys, threading
from pathlib import Path
from sidecar.core import platforms

if sys.argv[1] == "limited":
    assert platforms.limit_malloc_arenas()
started = threading.Barrier(9)

def allocate():
    kept = [bytearray(600) for _ in range(1000)]
    started.wait()

for _ in range(8):
    threading.Thread(target=allocate, daemon=True).start()
started.wait()
# An arena reserves 64 MB, of which most is not accessible yet.
maps = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) ---p 00000000 00:00", Path("/proc/self/maps").read_text(), re.MULTILINE)
print(sum(int(end, 16) - int(begin, 16) > 2**25 for begin, end in maps))
"""


@pytest.mark.spawns
@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in str(os.confstr("CS_GNU_LIBC_VERSION")), reason="no glibc"
)
def test_threads_share_the_arenas_that_there_are() -> None:
    def count_arenas(mode: str) -> int:
        command = [sys.executable, "-c", COUNT_ARENAS, mode]
        return int(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)

    assert count_arenas("unlimited") >= 4
    assert count_arenas("limited") == 0


def test_a_system_without_glibc_has_no_arenas_to_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not platforms.limit_malloc_arenas()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not platforms.limit_malloc_arenas()


def test_arenas_stay_as_they_are_where_no_memory_is_left_to_limit_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # The import fails so when memory is too short to load the library.
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert not platforms.limit_malloc_arenas()
