"""The command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar import __version__
from sidecar.__main__ import ON_A_TERMINAL, USAGE, parse_options
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
        (["chat"], "no command 'chat': requests come on stdin"),
        (["--config"], "needs a value"),
        (["--config", ""], "needs a value"),
        (["--trace="], "needs a value"),
    ],
)
def test_what_is_no_option_is_refused(arguments: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_options(arguments)


@pytest.mark.spawns
@pytest.mark.parametrize("arguments", [["-V"], ["--log-level", "debug", "--version"], ["chat", "--help"], ["-h"]])
def test_help_is_there_wherever_it_is_asked_for(arguments: list[str]) -> None:
    run = subprocess.run([*COMMAND, *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=20)
    assert run.stdout.decode() == (USAGE if arguments[-1] in ("-h", "--help") else f"sidecar {__version__}\n")


@pytest.mark.spawns
@process_probes.posix_only
def test_who_starts_it_on_a_terminal_is_told_what_it_reads(tmp_path: Path) -> None:
    import pty

    host, terminal = pty.openpty()
    env = environment(tmp_path)
    process = subprocess.Popen(COMMAND, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    os.write(host, b"help\n\x04")
    stdout, stderr = process.communicate(timeout=20)
    os.close(host)
    os.close(terminal)
    assert stderr.decode().startswith(ON_A_TERMINAL)
    assert json.loads(stdout)["error"]["hint"].startswith("A request is one JSON object on one line.")


def test_the_help_names_every_option() -> None:
    for option in ("--config FILE", "--record DIR", "--trace FILE", "--log-level LEVEL", "--version"):
        assert option in USAGE
