"""The folder of a run, and the log of a played sidecar."""

import os
import stat
from pathlib import Path

from sidecar.core import platforms
from sidecar.kit.launcher import prepare, read_starts
from sidecar.kit.lines import LineCutter
from sidecar.kit.played import claim_number
from tests.kit.runs import make_scenario


def test_the_launcher_is_an_executable_of_the_user_alone(tmp_path: Path) -> None:
    launcher = prepare(tmp_path, make_scenario(), 1000)
    assert launcher.parent == tmp_path
    if not platforms.WINDOWS:
        assert stat.S_IMODE(launcher.stat().st_mode) == 0o700
        assert launcher.read_text(encoding="utf-8").startswith("#!/bin/sh\nexec ")


def test_a_process_runs_as_long_as_it_holds_its_lock(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "start-1.lock", os.O_RDWR | os.O_CREAT, 0o600)
    assert platforms.try_lock(lock)
    assert [start.running for start in read_starts(tmp_path)] == [True]
    os.close(lock)
    assert [start.running for start in read_starts(tmp_path)] == [False]


def test_each_process_takes_the_next_number_and_holds_its_lock(tmp_path: Path) -> None:
    claimed = [claim_number(tmp_path) for _ in range(3)]
    assert [number for number, _ in claimed] == [1, 2, 3]
    assert [start.running for start in read_starts(tmp_path)] == [True, True, True]
    for _, lock in claimed:
        os.close(lock)


def test_the_half_line_of_a_killed_process_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "start-1.lock").touch()
    (tmp_path / "start-1.ndjson").write_text('{"at_ms":1,"event":"start","pid":5}\n{"at_ms":2,"ev', encoding="utf-8")
    ((entry,),) = (start.entries for start in read_starts(tmp_path))
    assert (entry.event, entry.pid) == ("start", 5)


def test_lines_are_cut_wherever_the_reads_end() -> None:
    data = "one\n\ntwo ä\nthree".encode()
    for size in range(1, len(data) + 1):
        cutter = LineCutter()
        lines = [line for at in range(0, len(data), size) for line in cutter.feed(data[at : at + size])]
        assert [*lines, cutter.end()] == [b"one", b"", "two ä".encode(), b"three"]
