"""How the process starts, and every way in which it ends."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import process_probes
from tests.support.fake_provider import STALL, Provider
from tests.support.host_process import WAITS_IN_A_THREAD, Hosted
from tests.support.process import ROOT, Object, Sidecar, environment, in_time, params, text
from tests.support.reply_scripts import ANTHROPIC, stream
from tests.support.stalling_providers import PHASES, Phase, lively, stalled

pytestmark = pytest.mark.alone

STREAMS = 50
ENDED_SECONDS = 0.5
"""How soon every open request has its terminal line once the process is told to leave."""

LEFT_SECONDS = 2.0

SIGNALS = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def open_streams(sidecar: Sidecar, provider: Provider, count: int = STREAMS) -> list[object]:
    """Return the ids of so many streams, each of which has brought its first text."""
    provider.play("lively", lively())
    ids = [sidecar.chat("lively") for _ in range(count)]
    for request_id in ids:
        sidecar.chunk(request_id, 1)
    return ids


def check_left(sidecar: Sidecar, ids: list[object], start: float) -> None:
    """Assert that each of *ids* has had its end in time, and the process too."""
    for request_id in ids:
        end = sidecar.stream(request_id)[-1]
        error = end.data["error"]
        assert (error["code"], error["retryable"]) == ("shutting_down", True)
        assert error["partial"] is (len(sidecar.lines_of(request_id)) > 1)
        assert end.at - start <= ENDED_SECONDS
    assert sidecar.exit() - start <= LEFT_SECONDS


@process_probes.posix_only
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_every_stream_and_then_the_process(
    sidecar: Sidecar, provider: Provider, number: signal.Signals
) -> None:  # C01, C04, C05
    ids = open_streams(sidecar, provider)
    start = time.monotonic()
    # As a terminal sends it: to the whole group.
    os.killpg(sidecar.process.pid, number)
    check_left(sidecar, ids, start)
    assert provider.quiet(0.5)


@process_probes.linux_only
@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_ends_a_request_whatever_it_waits_for(
    sidecar: Sidecar, provider: Provider, phase: Phase
) -> None:  # C02
    with stalled(sidecar, provider, phase) as request_id:
        start = time.monotonic()
        sidecar.process.send_signal(signal.SIGTERM)
        check_left(sidecar, [request_id], start)


DEAF_RESOLVER = """
import socket, threading
socket.getaddrinfo = lambda *args, **more: threading.Event().wait()
"""


@process_probes.posix_only
def test_a_name_lookup_that_hangs_holds_up_neither_a_cancel_nor_the_end(tmp_path: Path) -> None:  # C02
    (tmp_path / "sitecustomize.py").write_text(DEAF_RESOLVER, encoding="ascii")
    env = environment(tmp_path, PYTHONPATH=os.pathsep.join((str(tmp_path), str(ROOT))))
    with Sidecar(tmp_path, env=env) as sidecar:
        params = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "api_key": "k"}
        ids = [sidecar.send("stream_chat", params, provider="anthropic") for _ in range(3)]
        sidecar.ping()
        assert sidecar.ask("cancel", {"id": ids[0]})["data"] == {"found": True}
        assert sidecar.reply(ids[0])["error"]["code"] == "cancelled"
        start = time.monotonic()
        sidecar.process.send_signal(signal.SIGTERM)
        check_left(sidecar, ids[1:], start)


@process_probes.posix_only
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal_ends_the_process_on_the_spot(
    tmp_path: Path, provider: Provider, second: signal.Signals
) -> None:  # C03
    def measure() -> float:
        provider.forget()
        provider.play("m", stream([ANTHROPIC.opening, *[ANTHROPIC.text("x" * 8192)] * 1000]))
        with Sidecar(tmp_path, provider) as sidecar:
            sidecar.expects_answers, sidecar.may_tear = False, True
            sidecar.pause()
            sidecar.chat("m")
            provider.call("m")
            provider.stuck(0.2)
            sidecar.process.send_signal(signal.SIGTERM)
            # The host does not read: without a second signal the process waits for it a little.
            provider.hung_up("m", 1)
            start = time.monotonic()
            sidecar.process.send_signal(second)
            return sidecar.exit() - start

    in_time(measure, 0.1)


@process_probes.posix_only
def test_two_signals_at_once_tear_no_line(sidecar: Sidecar, provider: Provider) -> None:  # C03
    sidecar.expects_answers = False
    ids = open_streams(sidecar, provider)
    sidecar.process.send_signal(signal.SIGTERM)
    sidecar.reply(ids[0])
    sidecar.process.send_signal(signal.SIGINT)
    sidecar.exit(0.5)


@process_probes.posix_only
def test_other_signals_do_no_harm(sidecar: Sidecar, provider: Provider) -> None:  # C05
    provider.play("m", ANTHROPIC.answer("fine"))
    for number in (
        signal.SIGPIPE,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGCHLD,
        signal.SIGURG,
        signal.SIGWINCH,
        signal.SIGCONT,
    ):
        sidecar.process.send_signal(number)
        assert sidecar.ask("ping")["success"]
    assert text(sidecar.stream(sidecar.chat("m"))) == "fine"


def test_the_end_of_input_ends_an_idle_process(sidecar: Sidecar, provider: Provider) -> None:  # C06
    # With a connection that waits for the next request.
    sidecar.stream(sidecar.chat(provider.play("m", ANTHROPIC.answer("fine"))))
    start = time.monotonic()
    sidecar.close_stdin()
    assert sidecar.exit() - start <= 0.5


def test_the_end_of_input_lets_what_is_open_finish(sidecar: Sidecar, provider: Provider) -> None:  # C07
    gate = provider.gate()
    provider.play(
        "m", stream([ANTHROPIC.opening, ANTHROPIC.text("on"), gate, ANTHROPIC.text("ward"), ANTHROPIC.closing])
    )
    ids = [sidecar.chat("m") for _ in range(5)]
    sidecar.close_stdin()
    for request_id in ids:
        sidecar.chunk(request_id, 1)
    # It has had every chance to leave too early.
    provider.stuck(0.2)
    assert sidecar.exited_at is None
    gate.open()
    for request_id in ids:
        lines = sidecar.stream(request_id)
        assert (text(lines), lines[-1].code) == ("onward", None)
    assert sidecar.exit() - sidecar.lines[-1].at <= 0.5


@process_probes.posix_only
def test_a_signal_ends_a_process_that_is_finishing(sidecar: Sidecar, provider: Provider) -> None:  # C01 after C07
    ids = open_streams(sidecar, provider, 3)
    sidecar.close_stdin()
    start = time.monotonic()
    sidecar.process.send_signal(signal.SIGTERM)
    check_left(sidecar, ids, start)


HOST = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "sidecar"])
print(child.pid, file=sys.stderr, flush=True)
child.wait()
"""


@process_probes.linux_only
@pytest.mark.parametrize("pipes_stay", [False, True], ids=["pipes close", "a sibling holds the pipes"])
def test_when_the_host_is_killed_the_process_leaves(
    tmp_path: Path, provider: Provider, pipes_stay: bool
) -> None:  # C08, C09
    provider.play("silent", ANTHROPIC.begun("x", STALL))
    request = {"id": 1, "action": "stream_chat", "provider": "anthropic", "params": params(provider, "silent")}
    host = subprocess.Popen(
        [sys.executable, "-c", HOST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(tmp_path),
        start_new_session=True,
    )
    assert host.stdin
    assert host.stdout
    assert host.stderr
    with host:
        sidecar = os.pidfd_open(int(host.stderr.readline()))
        host.stdin.write(json.dumps(request).encode() + b"\n")
        host.stdin.flush()
        assert b'"start"' in host.stdout.readline()
        start = time.monotonic()
        host.kill()
        if not pipes_stay:
            host.stdin.close()
            host.stdout.close()
        gone, _, _ = select.select([sidecar], [], [], 5)
        assert gone
        assert time.monotonic() - start <= 1
        os.close(sidecar)
        assert b"Traceback" not in host.stderr.read()
    assert provider.closed(provider.call("silent"))


@process_probes.linux_only
@pytest.mark.parametrize("thread_ends", [False, True], ids=["spawned by a thread", "by one that has ended"])
def test_the_system_tells_at_once_of_the_hosts_end_and_of_nothing_less(
    tmp_path: Path, thread_ends: bool
) -> None:  # C08, C09
    def measure() -> float:
        with closing(Hosted(tmp_path)) as hosted:
            hosted.ping_until(lambda: process_probes.catches(hosted.pid, signal.SIGURG))
            if thread_ends:
                hosted.end_thread()
            return hosted.kill_host()

    in_time(measure, 0.1)


@process_probes.linux_only
def test_where_a_thread_waits_for_the_hosts_end_the_process_leaves_at_once(tmp_path: Path) -> None:  # C08, C09
    def measure() -> float:
        with closing(Hosted(tmp_path, WAITS_IN_A_THREAD)) as hosted:
            hosted.ping()
            return hosted.kill_host()

    in_time(measure, 0.1)


@process_probes.linux_only
def test_a_host_that_is_killed_before_the_system_is_asked_is_missed_by_nobody(tmp_path: Path) -> None:  # C08, C09
    with closing(Hosted(tmp_path)) as hosted:
        hosted.ping()
        assert hosted.kill_host() <= 1


def test_shutdown_may_be_said_twice_and_then_nothing_else(sidecar: Sidecar, provider: Provider) -> None:  # C10
    ids = open_streams(sidecar, provider, 3)
    requests: list[Object] = [sidecar.request(action) for action in ("shutdown", "shutdown", "ping")]
    start = time.monotonic()
    sidecar.write(b"".join(map(sidecar.line, requests)))
    for request in requests[:2]:
        assert sidecar.reply(request["id"])["data"] == {"shutting_down": True}
    assert sidecar.reply(requests[2]["id"])["error"]["code"] == "shutting_down"
    check_left(sidecar, ids, start)


@process_probes.linux_only
def test_it_is_ready_soon_and_has_called_nobody(tmp_path: Path) -> None:  # C16
    seconds = []
    for turn in range(3):
        home = tmp_path / str(turn)
        home.mkdir()
        with Sidecar(home) as sidecar:
            seconds.append(sidecar.lines[0].at - sidecar.spawned_at)
            # The event loop's own pair.
            assert sum("socket:" in each for each in process_probes.descriptors(sidecar.process.pid).values()) <= 2
            assert not list(home.iterdir())
    assert min(seconds) <= 0.5


def test_what_is_sent_before_it_is_ready_is_served(tmp_path: Path, provider: Provider) -> None:  # C17
    provider.play("m", ANTHROPIC.answer("early"))
    with Sidecar(tmp_path, provider, ready=False) as sidecar:
        ids = [sidecar.chat("m") for _ in range(10)]
        for request_id in ids:
            assert text(sidecar.stream(request_id)) == "early"


LOCALES = (
    {"LC_ALL": "C", "LANG": "C"},
    {"LC_ALL": "en_US.ISO-8859-1", "PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1"},
)


@pytest.mark.parametrize("locale", LOCALES, ids=["C", "Latin-1", "no UTF-8 mode"])
def test_it_speaks_utf8_whatever_the_locale(tmp_path: Path, provider: Provider, locale: dict[str, str]) -> None:  # C21
    said = "né 中文 \U0001f600"
    provider.play("m", ANTHROPIC.answer(said))
    home = tmp_path / "häm"
    home.mkdir()
    with Sidecar(home, provider, env=environment(home, **locale)) as sidecar:
        chat = sidecar.params("m", messages=[{"role": "user", "content": said}])
        assert text(sidecar.stream(sidecar.send("stream_chat", chat, provider="anthropic", id=said))) == said
    assert said in str(provider.call("m").json)


def test_a_configuration_with_mistakes_is_told_in_the_answer_to_every_request(tmp_path: Path) -> None:
    config = tmp_path / "broken.toml"
    config.write_text("[providers.openai]\nbase_url = 5\n\n[limits]\nmax_atempts = 3\n", encoding="utf-8")
    with Sidecar(tmp_path, arguments=["--config", str(config)], ready=False) as sidecar:
        sidecar.expected_exit = 2
        for action in ("initialize", "ping", "list_providers"):
            error = sidecar.ask(action)["error"]
            assert (error["code"], error["reason"], error["retryable"]) == ("invalid_request", "configuration", False)
            assert f"{config}:2: providers.openai.base_url" in error["message"]
            assert f"{config}:5: limits.max_atempts" in error["message"]
            assert error["hint"].startswith("Correct the configuration")
        sidecar.close_stdin()
        sidecar.exit()
    assert sidecar.stderr.decode().count(f"sidecar: {config}:") == 2


def test_with_a_broken_configuration_shutdown_ends_the_process(tmp_path: Path) -> None:
    with Sidecar(tmp_path, arguments=["--config", str(tmp_path / "nowhere.toml")], ready=False) as sidecar:
        sidecar.expected_exit = 2
        assert "nowhere.toml" in sidecar.ask("ping")["error"]["message"]
        assert sidecar.ask("shutdown")["data"] == {"shutting_down": True}
        sidecar.exit()


BUSY = """
import time
from sidecar.server.handlers import control

def spin(app, params):
    while True:
        pass

control.ping = spin
from sidecar.__main__ import main
main()
"""


@process_probes.posix_only
def test_a_signal_ends_a_process_whose_loop_does_not_turn(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(tmp_path),
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"id":1,"action":"nothing"}\n')
        process.stdin.flush()
        assert b"invalid_request" in process.stdout.readline()
        process.stdin.write(b'{"id":2,"action":"ping"}\n')
        process.stdin.flush()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
