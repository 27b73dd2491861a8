"""The process in each event loop: what it says and how it leaves is the same."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import process_probes
from tests.support.environment import ROOT, environment
from tests.support.fake_provider import Provider
from tests.support.process import Sidecar, text
from tests.support.raw_servers import listening
from tests.support.reply_scripts import ANTHROPIC, at_once
from tests.support.stalling_providers import lively

WITHOUT = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "uvloop":
            raise ModuleNotFoundError("No module named 'uvloop'", name=name)

sys.meta_path.insert(0, Finder())
"""
"""A Python that has no uvloop."""

LOOPS = {"uvloop": {"SIDECAR_LOOP": "uvloop"}, "asyncio": {"SIDECAR_LOOP": "asyncio"}, "no uvloop": {}}


@pytest.fixture(params=LOOPS)
def sidecar(request: pytest.FixtureRequest, tmp_path: Path, provider: Provider) -> Iterator[Sidecar]:
    """Yield a process in each of the loops."""
    (tmp_path / "python").mkdir()
    if request.param == "no uvloop":
        (tmp_path / "python" / "sitecustomize.py").write_text(WITHOUT, encoding="ascii")
    path = os.pathsep.join((str(tmp_path / "python"), str(ROOT)))
    env = environment(tmp_path, PYTHONPATH=path, **{"SIDECAR_LOOP": ""} | LOOPS[request.param])
    with Sidecar(tmp_path, provider, env=env) as process:
        yield process


def test_a_chat_streams_and_another_follows_it(sidecar: Sidecar, provider: Provider) -> None:
    provider.play("m", at_once(ANTHROPIC.answer("fine")))
    for _ in range(3):
        assert text(sidecar.stream(sidecar.chat("m"))) == "fine"
    assert provider.connections == 1


def test_a_chat_is_cancelled(sidecar: Sidecar, provider: Provider) -> None:
    request_id = sidecar.chat(provider.play("m", lively()))
    sidecar.chunk(request_id, 1)
    sidecar.send("cancel", {"id": request_id})
    assert sidecar.reply(request_id)["error"]["code"] == "cancelled"
    provider.closed(provider.call("m"))


def test_a_chat_that_never_pauses_is_cancelled(sidecar: Sidecar) -> None:
    """Ours: anyio cancels nobody who is about to be woken, which its reader always is."""
    events = ANTHROPIC.text("x") * 500
    many = (b"%x\r\n%b\r\n" % (len(events), events)) * 200

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"".join(step for step in ANTHROPIC.begun("x") if isinstance(step, bytes)))
        while True:
            connection.sendall(many)

    with listening(answer) as listener:
        params = sidecar.params("m", base_url=f"http://127.0.0.1:{listener.port}")
        request_id = sidecar.send("stream_chat", params, provider="anthropic")
        sidecar.chunk(request_id, 1)
        sidecar.send("cancel", {"id": request_id})
        assert sidecar.reply(request_id)["error"]["code"] == "cancelled"


def test_the_end_of_input_is_the_end(sidecar: Sidecar, provider: Provider) -> None:
    request_id = sidecar.chat(provider.play("m", ANTHROPIC.answer("fine")))
    sidecar.close_stdin()
    assert text(sidecar.stream(request_id)) == "fine"
    sidecar.exit()


@process_probes.posix_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_is_open(sidecar: Sidecar, provider: Provider, number: signal.Signals) -> None:
    request_id = sidecar.chat(provider.play("m", lively()))
    sidecar.chunk(request_id, 1)
    sidecar.process.send_signal(number)
    assert sidecar.reply(request_id)["error"]["code"] == "shutting_down"
    sidecar.exit()


@pytest.mark.skipif(sys.platform == "win32", reason="there is none")
def test_uvloop_is_the_loop_unless_another_is_named(tmp_path: Path) -> None:
    loaded = {}
    for name in ("", "asyncio"):
        listing = environment(tmp_path, PYTHONPROFILEIMPORTTIME="1", SIDECAR_LOOP=name)
        with Sidecar(tmp_path, None, env=listing) as process:
            process.ping()
        loaded[name] = "| uvloop\n" in process.stderr.decode()
    assert loaded == {"": True, "asyncio": False}
