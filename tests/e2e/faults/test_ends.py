"""A thousand streams that end at the same moment, and a host that asks something meanwhile."""

import os
import signal
from pathlib import Path

import pytest

from tests.bench.processes import cpu_s
from tests.support import process_probes
from tests.support.fake_provider import Provider
from tests.support.process import Sidecar, environment, text
from tests.support.reply_scripts import ANTHROPIC

pytestmark = [pytest.mark.alone, process_probes.linux_only]

STREAMS = 1000

PING_SECONDS = 0.1
"""Of the process's own time: a machine that is busy with other things counts for nothing."""

MOST_OF_ALL = 0.5


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_many_streams_that_end_in_one_turn_hold_up_no_ping(tmp_path: Path, provider: Provider, loop: str) -> None:
    ending = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ANTHROPIC.closing), ANTHROPIC.closing)
    with Sidecar(tmp_path, provider, env=environment(tmp_path, SIDECAR_LOOP=loop)) as sidecar:
        sidecar.max_growth_bytes *= 2
        pid = sidecar.process.pid

        def measure() -> tuple[float, float]:
            """Return the process's time until the ping is answered, and until all is done."""
            provider.forget()
            gate = provider.gate()
            provider.play("m", [*ANTHROPIC.begun("so far"), gate, ending])
            ids = [sidecar.chat("m") for _ in range(STREAMS)]
            for each in ids:
                sidecar.chunk(each, 1)
            # While it stands still all of them end, and then the host asks.
            os.kill(pid, signal.SIGSTOP)
            gate.open()
            provider.stuck(0.2)
            assert all(call.played for call in provider.calls("m"))
            begun, ping = cpu_s(pid), sidecar.send("ping")
            os.kill(pid, signal.SIGCONT)
            assert sidecar.reply(ping)["data"]["pong"]
            answered = cpu_s(pid)
            assert all(text(sidecar.stream(each)) == "so far" for each in ids)
            return answered - begun, cpu_s(pid) - begun

        measured = [measure() for _ in range(3)]
        assert min(ping for ping, _ in measured) <= PING_SECONDS
        # None waits for all of them, however slow the machine.
        assert max(ping / everything for ping, everything in measured) <= MOST_OF_ALL
