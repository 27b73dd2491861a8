"""Which tests run, and which of them beside another.

`--speed fast` leaves out what starts a process, what reads recorded exchanges and what is marked `longest`. It takes a
few of the cases of each test, and generates fewer examples. `--speed quick` leaves out what is marked `long` too. A
test that starts a process without the mark `spawns` fails at both. A test that measures time is marked `alone`: no
other process of the same run is in a test then.
"""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support import corpus, recordings

SPEEDS = ("all", "fast", "quick")

E2E = Path(__file__).resolve().parent.parent / "e2e"
"""Tests of processes, each and all."""

LEFT_OUT = {
    "all": frozenset[str](),
    "fast": frozenset({"spawns", "longest"}),
    "quick": frozenset({"spawns", "longest", "long"}),
}
"""By speed: the marks of tests that do not run."""

EXAMPLES = 5
"""How many are generated for one test that does not say so itself."""

CASES = {"fast": 2, "quick": 1}
"""By speed: how many of the cases of a test run."""

MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in it
LEAST_FREE_BYTES = 1024**3
"""A folder in memory, and what must be free in it for tests to write there."""

_LEFT_OUT_FILE = re.compile(r"^pytestmark = .*\bpytest\.mark\.(\w+)", re.MULTILINE)

_STARTS = frozenset({"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"})


def choose(speed: str) -> None:
    """Prepare a run, before any test is read."""
    if speed != "all":
        corpus.ROOT = recordings.CORPUS = Path("/nowhere")
        usual = hypothesis.settings.get_profile("sidecar")
        hypothesis.settings.register_profile(speed, usual, max_examples=EXAMPLES)
        hypothesis.settings.load_profile(speed)


def write_to_memory() -> None:
    """Have tests write to memory where that is possible: a ledger waits for the disk several times."""
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return
    if shutil.disk_usage(MEMORY).free > LEAST_FREE_BYTES and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


def is_left_out(speed: str, file: Path) -> bool:
    """Return whether no test of *file* runs at that *speed*, so that it need not be read."""
    if speed == "all" or not file.name.startswith("test_"):
        return False
    return file.is_relative_to(E2E) or bool(
        set(_LEFT_OUT_FILE.findall(file.read_text(encoding="utf-8"))) & LEFT_OUT[speed]
    )


def select(speed: str, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out of *items* what is left out at that *speed*; no other test may start a process from now on."""
    for item in items:
        if item.path.is_relative_to(E2E):
            item.add_marker("spawns")
    if speed == "all":
        return
    out = {item for item in items if any(item.get_closest_marker(mark) for mark in LEFT_OUT[speed])}
    out |= _list_further_cases(items, CASES[speed])
    config.hook.pytest_deselected(items=list(out))
    items[:] = [item for item in items if item not in out]

    # The SDKs ask what the system is, once, which starts a program.
    platform.processor()

    def hear(event: str, _: tuple[Any, ...]) -> None:
        if event in _STARTS:
            pytest.fail(f"{event}: a test that starts a process needs the mark `spawns`")

    sys.addaudithook(hear)


def _list_further_cases(items: list[pytest.Item], most: int) -> set[pytest.Item]:
    """Return all but *most* cases of each test, evenly chosen."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    return {
        item
        for each in cases.values()
        for number, item in enumerate(each)
        # One of each of as many parts of equal length.
        if number and number * most // len(each) == (number - 1) * most // len(each) and len(each) > most
    }


@contextmanager
def turn(item: pytest.Item) -> Iterator[None]:
    """Wait until *item* may run: nothing runs beside a test that is `alone`."""
    if not hasattr(item.config, "workerinput") or sys.platform == "win32":
        yield
        return
    import fcntl

    door, room = _open_locks()
    # Whoever waits to be alone holds the door, so that nobody else comes in meanwhile.
    fcntl.flock(door, fcntl.LOCK_EX)
    fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
    fcntl.flock(door, fcntl.LOCK_UN)
    try:
        yield
    finally:
        fcntl.flock(room, fcntl.LOCK_UN)


@cache
def _open_locks() -> tuple[int, int]:
    """Return descriptors of two files that every process of a run can lock, whatever stands in them."""
    return os.open(__file__, os.O_RDONLY), os.open(E2E / "conftest.py", os.O_RDONLY)
