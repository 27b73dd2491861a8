"""Drivers that are none: the kit says so, ends in time, and leaves nothing running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from sidecar.kit.run import Host, Result, run_scenario
from sidecar.kit.scenario import list_scenarios
from tests.support.source import ROOT

pytestmark = [
    pytest.mark.spawns,
    pytest.mark.longest,
    pytest.mark.skipif(sys.platform == "win32", reason="the drivers are commands of POSIX"),
]

(PLAIN,) = list_scenarios(["plain_stream"])
DRIVER = Path(__file__).parent / "driver.py"


def check(*command: str) -> Result:
    """Return the result of the plain stream with a driver, for which a second is enough."""
    began = time.monotonic()
    result = anyio.run(run_scenario, PLAIN, Host(command=[*command], env=os.environ, patience=0.1))
    assert time.monotonic() - began < 8
    return result


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 5
    while not is_gone(pid):
        assert time.monotonic() < end, f"{pid} still runs"
        os.sched_yield()


def test_a_driver_that_ends_at_once() -> None:
    result = check("true")
    assert result.problems[0].expected in ('{"event": "ready"}', "the driver to read its stdin")
    assert result.problems[0].came == "no report at all"


def test_a_driver_that_repeats_what_it_is_told() -> None:
    problem, *others = check("cat").problems
    assert problem.expected == '{"event": "ready"}, within the time limit'
    assert "missing required field `event`" in others[0].came


def test_a_driver_that_writes_without_end_is_killed() -> None:
    result = check("yes")
    assert result.drive.exit_code == -signal.SIGKILL
    assert len(result.drive.moments) < 30


def test_a_driver_that_does_nothing_is_killed() -> None:
    result = check("sleep", "600")
    assert result.drive.time_over
    wait_until_gone(result.drive.pid)


def test_what_a_driver_leaves_behind_is_found_and_ended() -> None:
    result = check("sh", "-c", '(sleep 600 | "$SIDECAR_COMMAND" & echo $! >&2); sleep 0.5; exit 0')
    assert "it still ran" in [problem.came for problem in result.problems]
    for pid in (int(result.drive.stderr), result.starts[0].entries[0].pid):
        wait_until_gone(pid)


def test_a_kit_that_is_ended_ends_what_it_has_started(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    driver = ["sh", "-c", f"echo $$ >{file}.part; mv {file}.part {file}; exec sleep 600"]
    kit = subprocess.Popen([sys.executable, "-m", "sidecar.kit", "--only", "plain", *driver], cwd=ROOT)
    end = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < end
        os.sched_yield()
    kit.terminate()
    assert kit.wait(10) == 130
    wait_until_gone(int(file.read_text(encoding="utf-8")))
