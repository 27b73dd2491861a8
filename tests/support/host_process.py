"""A process whose host is not the test: one that can be killed, or end the thread that has spawned it."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support import process_probes
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.process import ROOT, environment

NEVER_LOOKS = """
import sidecar.server.serve
sidecar.server.serve.HOST_CHECK_SECONDS = 3600
"""

WAITS_IN_A_THREAD = """
import os, select, sidecar.core.platforms as platforms
def wait():
    select.select([os.pidfd_open(platforms.PARENT_PID)], [], [])
    return True
platforms.find_parent = lambda: platforms.Parent(lambda: False, wait)
"""
"""What kqueue and Windows do, by what Linux has of the kind."""

THREADED_HOST = """
import os, subprocess, sys, threading
spawned, children = threading.Event(), []
def spawn():
    children.append(subprocess.Popen([sys.executable, "-m", "sidecar"]))
    spawned.set()
    os.read(int(sys.argv[1]), 1)
threading.Thread(target=spawn).start()
spawned.wait()
print(children[0].pid, file=sys.stderr, flush=True)
children[0].wait()
"""


PINGS = 50
"""So many answers come from a process that stays: one that leaves has not the time for them."""


class Hosted:
    """A process whose host is a script, while this one holds every end of its pipes; it does not look by itself."""

    def __init__(self, folder: Path, more: str = "") -> None:
        (folder / "sitecustomize.py").write_text(NEVER_LOOKS + more, encoding="ascii")
        told, self.tell = os.pipe()
        self.host = subprocess.Popen(
            [sys.executable, "-c", THREADED_HOST, str(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment(folder, PYTHONPATH=os.pathsep.join((str(folder), str(ROOT)))),
            pass_fds=[told],
            start_new_session=True,
        )
        os.close(told)
        assert self.host.stderr
        self.pid = int(self.host.stderr.readline())
        self.exit = os.pidfd_open(self.pid)

    def ping(self) -> None:
        """Ask and wait for the answer."""
        assert self.host.stdin
        assert self.host.stdout
        self.host.stdin.write(b'{"id":1,"action":"ping"}\n')
        self.host.stdin.flush()
        # The host holds the pipes too: that the process has gone is no end of them.
        ready, _, _ = select.select([self.host.stdout], [], [], WAIT_SECONDS)
        assert ready
        assert b'"pong":true' in self.host.stdout.readline()

    def ping_until(self, happened: Callable[[], bool]) -> None:
        """Ask until something has happened, and once more: what was due in the loop by then has been done."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not happened():
            assert time.monotonic() < deadline
            self.ping()
        self.ping()

    def end_thread(self) -> None:
        """Let the thread end that has spawned the process."""
        os.write(self.tell, b"x")
        self.ping_until(lambda: process_probes.threads(self.host.pid) == 1)

    def kill_host(self) -> float:
        """Kill the host, and return after how many seconds the process, which is there yet, has gone."""
        for _ in range(PINGS):
            self.ping()
        start = time.monotonic()
        self.host.kill()
        gone, _, _ = select.select([self.exit], [], [], 5)
        assert gone
        return time.monotonic() - start

    def close(self) -> None:
        """End whatever is left."""
        self.host.kill()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.tell)
        os.close(self.exit)
        assert self.host.stderr
        assert b"Traceback" not in self.host.stderr.read()
        self.host.__exit__(None, None, None)
