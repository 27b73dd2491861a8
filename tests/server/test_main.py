"""The command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.replies import PROTOCOL_VERSION
from sidecar import __version__
from sidecar.__main__ import INTRODUCTION, ON_A_TERMINAL, find_command, parse_options
from tests.support import process_probes
from tests.support.environment import environment

COMMAND = [sys.executable, "-m", "sidecar"]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--config", "a"], {"--config": "a"}),
        (["--config=a", "--log-level", "info"], {"--config": "a", "--log-level": "info"}),
        (["--record", "--config"], {"--record": "--config"}),
    ],
)
def test_options_are_read(arguments: list[str], options: dict[str, str]) -> None:
    assert parse_options(arguments) == options


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--verbose"], "--verbose"),
        (["--confg", "a"], "unknown option '--confg', did you mean '--config'?"),
        (["chat"], "'chat' is no option: requests come on stdin"),
        (["--config"], "needs a value"),
        (["--config", ""], "needs a value"),
        (["--trace="], "needs a value"),
    ],
)
def test_what_is_no_option_is_refused(arguments: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_options(arguments)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [([], None), (["--config", "chat"], None), (["--config=a", "chat"], 1), (["--trace", "--config", "models"], 2)],
)
def test_a_word_that_is_no_value_of_an_option_is_a_command(arguments: list[str], place: int | None) -> None:
    assert find_command(arguments) == place


@pytest.mark.spawns
@pytest.mark.parametrize("arguments", [["-V"], ["--log-level", "debug", "--version"], ["chat", "--version"]])
def test_the_version_is_there_wherever_it_is_asked_for(arguments: list[str]) -> None:
    run = subprocess.run([*COMMAND, *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=20)
    assert run.stdout.decode() == f"sidecar {__version__}\n"


@pytest.mark.spawns
def test_a_program_can_read_the_version(tmp_path: Path) -> None:
    run = subprocess.run(
        [*COMMAND, "--version", "--json"], capture_output=True, check=True, timeout=20, env=environment(tmp_path)
    )
    assert json.loads(run.stdout) == {"version": __version__, "protocol": PROTOCOL_VERSION, "build": "checkout"}


@pytest.mark.spawns
@pytest.mark.parametrize("arguments", [[], ["serve", "--log-level", "off"], ["--log-level", "off", "serve"]])
def test_a_pipe_gets_replies_with_and_without_the_command(arguments: list[str], tmp_path: Path) -> None:
    ping = b'{"id":1,"action":"ping"}\n'
    run = subprocess.run(
        [*COMMAND, *arguments], input=ping, capture_output=True, check=True, timeout=20, env=environment(tmp_path)
    )
    assert json.loads(run.stdout)["data"] == {"pong": True, "in_flight": 0}


@pytest.mark.spawns
@process_probes.posix_only
def test_who_starts_it_on_a_terminal_is_told_what_it_is_and_what_to_do(tmp_path: Path) -> None:
    code, stdout, stderr = _run_on_a_terminal(tmp_path, [], b"")
    assert (code, stdout, stderr) == (0, "", INTRODUCTION)
    assert INTRODUCTION.count("\n") == 2


@pytest.mark.spawns
@process_probes.posix_only
def test_who_serves_on_a_terminal_is_told_what_it_reads(tmp_path: Path) -> None:
    code, stdout, stderr = _run_on_a_terminal(tmp_path, ["serve"], b"help\n\x04")
    assert code == 0
    assert stderr.startswith(ON_A_TERMINAL)
    assert json.loads(stdout)["error"]["hint"].startswith("A request is one JSON object on one line.")


def _run_on_a_terminal(folder: Path, arguments: list[str], typed: bytes) -> tuple[int, str, str]:
    import pty

    host, terminal = pty.openpty()
    env = environment(folder)
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    )
    os.write(host, typed)
    stdout, stderr = process.communicate(timeout=20)
    os.close(host)
    os.close(terminal)
    return process.returncode, stdout.decode(), stderr.decode()
