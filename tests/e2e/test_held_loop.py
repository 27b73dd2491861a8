"""A process whose event loop is held for ever, by a defect: signals and the end of its parent end it all the same."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support import process_probes
from tests.support.environment import ROOT, environment

END_SECONDS = 20.0

HELD = """
import sys
from sidecar.core import event_loop
from sidecar.server import dispatch, serve

serve.SETTLED_SECONDS = 0.0

def hold(app, line):
    def hold():
        print("held", file=sys.stderr, flush=True)
        while True:
            pass
    # Once the system was asked for a signal at the end of the parent.
    event_loop.call_later(0.2, hold)

dispatch.accept = hold
from sidecar.__main__ import main
main()
"""

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(b'{"id":1,"action":"ping"}\\n')
child.stdin.flush()
child.wait()
"""


def start(home: Path, *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", *command],
        cwd=ROOT,
        env=environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@process_probes.posix_only
def test_a_signal_ends_it(tmp_path: Path) -> None:
    with start(tmp_path, HELD) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(b'{"id":1,"action":"ping"}\n')
        process.stdin.flush()
        assert process.stderr.readline() == b"held\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_SECONDS) == 0


@process_probes.linux_only
def test_the_end_of_its_parent_ends_it(tmp_path: Path) -> None:
    with start(tmp_path, PARENT, HELD) as parent:
        assert parent.stderr
        assert parent.stderr.readline() == b"held\n"
        os.kill(parent.pid, signal.SIGKILL)
        # The orphan has the pipe too: its end comes when both are gone.
        assert parent.communicate(timeout=END_SECONDS)[1] == b""
