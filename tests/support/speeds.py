"""Which tests run, and which of them beside another.

`--speed fast` leaves out what starts a process and what reads recorded exchanges, and generates fewer examples.
`--speed quick` leaves out what is marked `long` too. A test that starts a process without the mark `spawns` fails at
both. A test that measures time is marked `alone`: no other process of the same run is in a test then.
"""

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support import corpus, recordings

SPEEDS = ("all", "fast", "quick")

E2E = Path(__file__).resolve().parent.parent / "e2e"
"""Tests of processes, each and all."""

LEFT_OUT = {"all": (), "fast": ("spawns",), "quick": ("spawns", "long")}
"""By speed: the marks of tests that do not run."""

EXAMPLES = {"fast": 25, "quick": 10}
"""How many are generated for one test that does not say so itself."""

_STARTS = frozenset({"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"})


def choose(speed: str) -> None:
    """Prepare a run, before any test is read."""
    if speed != "all":
        corpus.ROOT = recordings.CORPUS = Path("/nowhere")
        usual = hypothesis.settings.get_profile("sidecar")
        hypothesis.settings.register_profile(speed, usual, max_examples=EXAMPLES[speed])
        hypothesis.settings.load_profile(speed)


def select(speed: str, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out of *items* what is left out at that *speed*; no other test may start a process from now on."""
    for item in items:
        if item.path.is_relative_to(E2E):
            item.add_marker("spawns")
    if speed == "all":
        return
    out = {item for item in items if any(item.get_closest_marker(mark) for mark in LEFT_OUT[speed])}
    config.hook.pytest_deselected(items=list(out))
    items[:] = [item for item in items if item not in out]

    # The SDKs ask what the system is, once, which starts a program.
    platform.processor()

    def hear(event: str, _: tuple[Any, ...]) -> None:
        if event in _STARTS:
            pytest.fail(f"{event}: a test that starts a process needs the mark `spawns`")

    sys.addaudithook(hear)


@contextmanager
def turn(item: pytest.Item) -> Iterator[None]:
    """Wait until *item* may run: nothing runs beside a test that is `alone`."""
    if not hasattr(item.config, "workerinput") or sys.platform == "win32":
        yield
        return
    import fcntl

    # Whoever waits to be alone holds the door, so that nobody else comes in meanwhile.
    with _DOOR.open("rb") as door, _ROOM.open("rb") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


_DOOR, _ROOM = Path(__file__), E2E / "conftest.py"
"""Files that every process of a run can lock, whatever stands in them."""
