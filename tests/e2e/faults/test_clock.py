"""Clocks that jump: the wall clock, which a user or the network sets, and both of them, on a machine that slept."""

import os
import time
from pathlib import Path

import pytest

from tests.support import process_probes
from tests.support.fake_provider import STALL, Provider
from tests.support.fake_services import Services, document
from tests.support.logins import (
    CHATS,
    TOKEN,
    TOKENS,
    chats,
    codes,
    github,
    log_in,
    logged_off_process,
    only_for,
    with_life,
)
from tests.support.process import ROOT, Id, Sidecar, environment, text
from tests.support.reply_scripts import ANTHROPIC
from tests.support.reply_scripts import document as refusal

pytestmark = process_probes.posix_only

HOUR_SECONDS = 3600

MOVED = """
import ctypes, datetime, gc, os, time

_file, _monotonic, _wall, _read = os.environ["TEST_CLOCKS"], time.monotonic, time.time, time.clock_gettime

time.monotonic = lambda: _monotonic() + os.stat(_file).st_atime - 1e9
time.time = lambda: _wall() + os.stat(_file).st_mtime - 1e9
# Asked for the clock that goes on in a sleep, in which the wall's does.
time.clock_gettime = lambda clock: _read(clock) + os.stat(_file).st_mtime - 1e9

# The class stays what it is, for those who look at that.
_methods = gc.get_referents(datetime.datetime.__dict__)[0]
_methods["now"] = classmethod(lambda cls, tz=None: cls.fromtimestamp(time.time(), tz))
ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))
"""
"""Two clocks that are ahead by what the times of a file say."""


class Clocks:
    """The clocks of a process. They are right until they are set."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clocks"
        self._file.touch()
        (folder / "moved").mkdir()
        (folder / "moved" / "sitecustomize.py").write_text(MOVED, encoding="ascii")
        path = os.pathsep.join((str(folder / "moved"), str(ROOT)))
        # uvloop asks the system by itself.
        self.env = {"TEST_CLOCKS": str(self._file), "PYTHONPATH": path, "SIDECAR_LOOP": "asyncio"}
        self.set()

    def set(self, *, wall: float = 0, monotonic: float = 0) -> None:
        """Have them be ahead by so many seconds."""
        os.utime(self._file, (1e9 + monotonic, 1e9 + wall))


@pytest.mark.parametrize("hours", [-1, 1, 24 * 400])
def test_the_wall_clock_moves_nothing_that_waits(tmp_path: Path, provider: Provider, hours: int) -> None:  # C18, I06
    gate, clocks = provider.gate(), Clocks(tmp_path)
    ending = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ANTHROPIC.closing), ANTHROPIC.closing)
    provider.play("going", [*ANTHROPIC.begun("so far"), gate, ending])
    provider.play("silent", ANTHROPIC.begun("so far", STALL))
    provider.play("late", [STALL])
    provider.play_in_turn("again", refusal({}, 503, retry_after_ms="700"), ANTHROPIC.answer("fine"))
    with Sidecar(tmp_path, provider, env=environment(tmp_path, SIDECAR_MAX_ATTEMPTS="3", **clocks.env)) as sidecar:
        going = sidecar.chat("going")
        sidecar.chunk(going, 1)
        params = sidecar.params("silent")
        params["options"]["timeouts"] = {"idle_ms": 700}
        silent = sidecar.send("stream_chat", params, provider="anthropic")
        begun = sidecar.chunk(silent, 1).at
        late, again = sidecar.chat("late", timeout=700), sidecar.chat("again")
        first = provider.call("again").at
        provider.call("late")
        clocks.set(wall=hours * HOUR_SECONDS)
        assert text(sidecar.stream(again)) == "fine"
        assert 0.7 <= provider.call("again", 1).at - first < 1.5
        ends = {name: sidecar.stream(each)[-1] for name, each in (("silent", silent), ("late", late))}
        assert [end.data["error"].get("phase") for end in ends.values()] == ["idle", "headers"]
        assert all(0.5 < end.at - begun < 1.5 for end in ends.values())
        assert 600 < ends["late"].data["error"]["elapsed_ms"] < 1500
        gate.open()
        assert text(sidecar.stream(going)) == "so far"
        assert text(sidecar.stream(sidecar.chat(provider.play("m", ANTHROPIC.answer("fine"))))) == "fine"


def test_a_login_is_held_against_the_clock_as_it_is_now(services: Services, tmp_path: Path) -> None:  # C18
    clocks = Clocks(tmp_path)
    github(services, with_life(8 * HOUR_SECONDS))
    services.answer("GET https://api.githubcopilot.com/*", document({"data": []}))
    services.answer(CHATS, only_for(f"{TOKEN}-1"))
    with logged_off_process(services, tmp_path, **clocks.env) as sidecar:
        log_in(sidecar)
        logged_in = len(services.asked(TOKENS))
        assert codes(sidecar, chats(sidecar, 2)) == [None] * 2
        services.answer(CHATS, only_for(f"{TOKEN}-2"))
        services.answer(TOKENS, with_life(8 * HOUR_SECONDS, 2))
        clocks.set(wall=9 * HOUR_SECONDS)
        assert codes(sidecar, chats(sidecar, 5)) == [None] * 5
        # Neither there nor back again is it renewed once more.
        for hours in (10, 9, 0, -1):
            clocks.set(wall=hours * HOUR_SECONDS)
            assert codes(sidecar, chats(sidecar, 2)) == [None] * 2
    assert len(services.asked(TOKENS)) == logged_in + 1


def until(sidecar: Sidecar, request_id: Id, **fields: str) -> None:
    """Wait for a chunk that says so."""
    at = 0
    while not fields.items() <= sidecar.chunk(request_id, at).data["data"].items():
        at += 1


def test_after_a_sleep_nothing_waits_for_what_is_gone(tmp_path: Path, provider: Provider) -> None:  # C18, A26
    clocks = Clocks(tmp_path)
    provider.play("silent", ANTHROPIC.begun("so far", STALL))
    provider.play("late", [STALL])
    provider.play_in_turn("again", refusal({}, 503, retry_after="50"), ANTHROPIC.answer("fine"))
    provider.play("m", ANTHROPIC.answer("fine"))
    with Sidecar(tmp_path, provider, env=environment(tmp_path, SIDECAR_MAX_ATTEMPTS="3", **clocks.env)) as sidecar:
        sidecar.ask("initialize", {"events": ["status"]})
        assert text(sidecar.stream(sidecar.chat("m"))) == "fine"
        silent, late, again = sidecar.chat("silent"), sidecar.chat("late", timeout=60_000), sidecar.chat("again")
        until(sidecar, silent, type="content")
        provider.call("late")
        until(sidecar, again, state="retrying")
        # The line is there before the wait that it tells of has begun.
        sidecar.ping()
        begun = time.monotonic()
        clocks.set(wall=400, monotonic=400)
        # Whatever wakes the process: the host says something.
        sidecar.ping()
        assert sidecar.reply(silent)["error"]["phase"] == "idle"
        assert sidecar.reply(late)["error"]["reason"] == "deadline"
        assert text(sidecar.stream(again)) == "fine"
        assert text(sidecar.stream(sidecar.chat("m"))) == "fine"
        assert time.monotonic() - begun < 2
    # What was idle for so long is not used again.
    assert provider.call("m", 1).connection != provider.call("m").connection


@pytest.mark.parametrize("monotonic", [0, 400], ids=["the monotonic clock stands still", "it goes on"])
def test_after_a_sleep_no_connection_is_used_again(tmp_path: Path, provider: Provider, monotonic: int) -> None:  # A26
    clocks = Clocks(tmp_path)
    provider.play("m", ANTHROPIC.answer("fine"))
    with Sidecar(tmp_path, provider, env=environment(tmp_path, **clocks.env)) as sidecar:
        for _ in range(2):
            assert text(sidecar.stream(sidecar.chat("m"))) == "fine"
            # The connection is put back after the terminal line.
            sidecar.ping()
        clocks.set(wall=400, monotonic=monotonic)
        assert text(sidecar.stream(sidecar.chat("m"))) == "fine"
    first, second, third = (provider.call("m", number).connection for number in range(3))
    assert first == second != third
