"""A host that is killed just after it has spawned the process, while somebody else holds the pipes open."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import process_probes
from tests.support.process import ROOT, environment

pytestmark = process_probes.linux_only

HOST = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "sidecar"])
sys.stderr.write(f"{child.pid}\\n")
sys.stderr.flush()
time.sleep(float(sys.argv[1]))
os.kill(os.getpid(), 9)
"""

LATE = """
import os, sys, time
first = os.getppid()
while sys.orig_argv[-1] == "sidecar" and os.getppid() == first:
    time.sleep(0.001)
"""
"""Before a module of the program is imported, its host has ended."""


class Orphan:
    """A process whose host ends soon, and the ends of its pipes."""

    def __init__(self, folder: Path, host_seconds: float, startup: str = "") -> None:
        (folder / "sitecustomize.py").write_text(startup, encoding="ascii")
        self.host = subprocess.Popen(
            [sys.executable, "-c", HOST, str(host_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment(folder, PYTHONPATH=os.pathsep.join((str(folder), str(ROOT)))),
            start_new_session=True,
        )
        assert self.host.stderr
        self.pid = int(self.host.stderr.readline())
        self.exit = os.pidfd_open(self.pid)

    def has_left(self, seconds: float) -> bool:
        return bool(select.select([self.exit], [], [], seconds)[0])

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.exit)
        self.host.__exit__(None, None, None)


@pytest.fixture
def orphans() -> Iterator[list[Orphan]]:
    made: list[Orphan] = []
    yield made
    for each in made:
        each.close()


@pytest.mark.parametrize("host_seconds", [0.0, 0.01, 0.02, 0.05, 0.1])
def test_a_host_that_is_killed_at_once_ends_the_process(
    tmp_path: Path, orphans: list[Orphan], host_seconds: float
) -> None:
    orphans.append(orphan := Orphan(tmp_path, host_seconds))
    assert orphan.has_left(5)


def test_a_host_that_ends_before_the_program_begins_ends_the_process(tmp_path: Path, orphans: list[Orphan]) -> None:
    orphans.append(orphan := Orphan(tmp_path, 0.2, LATE))
    assert orphan.has_left(5)


def test_a_pipeline_of_a_shell_is_no_orphan(tmp_path: Path) -> None:
    script = f'(sleep 1.5; echo \'{{"id":1,"action":"ping"}}\') | {sys.executable} -m sidecar'
    started = time.monotonic()
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=tmp_path,
        env=environment(tmp_path, PYTHONPATH=str(ROOT)),
        capture_output=True,
        check=True,
        timeout=30,
        start_new_session=True,
    )
    assert b'"pong":true' in done.stdout
    assert time.monotonic() - started >= 1.5
