"""A process and its first requests: it says nothing unasked, holds nobody up, and uses its connections again."""

from pathlib import Path

import pytest

from tests.support.fake_provider import Provider
from tests.support.process import Sidecar, in_time
from tests.support.reply_scripts import ANTHROPIC, at_once


def test_nothing_is_said_before_the_host_speaks(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ready=False) as sidecar:
        sidecar.close_stdin()
        sidecar.exit()
    assert not sidecar.lines
    assert not sidecar.events


def test_connections_are_used_again(sidecar: Sidecar, provider: Provider) -> None:  # H05
    provider.play("m", at_once(ANTHROPIC.answer("hello")))
    for _ in range(50):
        sidecar.stream(sidecar.chat("m"))
    assert provider.connections == 1


@pytest.mark.alone
def test_the_first_chat_holds_nobody_up(tmp_path: Path, provider: Provider) -> None:  # C16, H08
    provider.play("m", ANTHROPIC.answer("hello"))

    def measure() -> float:
        with Sidecar(tmp_path, provider) as sidecar:
            request_id = sidecar.chat("m")
            waits = []
            while not any(line.terminal for line in sidecar.lines_of(request_id)):
                waits.append(sidecar.ping())
            assert len(waits) > 2
            return max(waits)

    in_time(measure, 0.1)
