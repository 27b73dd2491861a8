"""Runs that are as long as one likes, here in small: bent requests, and a day of a busy host."""

from pathlib import Path

import pytest

from sidecar.core.http import HttpRequest
from tests import simulate
from tests.fuzz import requests
from tests.support.long_run import BrokenPromiseError, Canned, LongRun

pytestmark = pytest.mark.longest

ERROR = Canned(500, {"content-type": "application/json"}, b"{}")


def answer(request: HttpRequest) -> Canned:
    assert request.url.startswith("https://")
    return ERROR


def test_each_bent_request_has_one_terminal_line() -> None:
    found = requests.run(1000, 7)
    assert found["ok"] > 50
    assert found["invalid_request"] > 300
    assert found["parse_error"] > 50
    assert found["longest_turn_ms"] > 0


def test_a_day_leaves_nothing_behind() -> None:
    # In so short a run the caches are still filling.
    left = simulate.run(400, max_growth_bytes=60_000_000)
    assert "'cancelled': " in left
    assert "1 tasks, 1 timers" in left


def test_a_line_with_a_secret_is_a_broken_promise(tmp_path: Path) -> None:
    async def play(program: LongRun) -> None:
        program.accept(b'{"id":"the word","action":"ping"}\n')
        await program.wait_until_idle()

    with pytest.raises(ExceptionGroup) as failure:
        LongRun(tmp_path, answer, ["the word"]).run(play)
    assert failure.group_contains(BrokenPromiseError, match="a secret is in a line")


def test_a_request_without_an_end_is_a_broken_promise(tmp_path: Path) -> None:
    async def play(program: LongRun) -> None:
        program.accept(b'{"id":1,"action":"ping"}\n')
        program.accepted += 1
        await program.wait_until_idle()

    with pytest.raises(ExceptionGroup) as failure:
        LongRun(tmp_path, answer).run(play)
    assert failure.group_contains(BrokenPromiseError, match="1 terminal lines for 2 requests")


def test_growth_is_a_broken_promise() -> None:
    with pytest.raises(ExceptionGroup) as failure:
        simulate.run(200, max_growth_bytes=-(10**12))
    assert failure.group_contains(BrokenPromiseError, match="memory grew")
