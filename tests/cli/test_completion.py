"""What shells complete, and the manual page."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.cli.commands import sidecar
from sidecar.cli.completion import SCRIPTS
from sidecar.cli.manual import make_manual
from tests.support.command_line import CommandLine
from tests.support.environment import ROOT, environment
from tests.support.fake_services import Services


@pytest.fixture
def typing(services: Services, tmp_path: Path) -> CommandLine:
    return CommandLine(services, tmp_path)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["mod"], ["models"]),
        (["login", "anth"], ["anthropic"]),
        (["chat", "anth"], ["anthropic/"]),
        (["chat", "anthropic/claude-sonnet-5-"], ["anthropic/claude-sonnet-5-5"]),
        (["usage", "--by", "mo"], ["model", "month"]),
        (["doctor", "opena", "--js"], ["--json"]),
        (["usage", "--version", "--si"], ["--since"]),
    ],
)
def test_what_may_come_next_is_printed(typing: CommandLine, words: list[str], found: list[str]) -> None:
    assert typing.type("completion", "bash", "--words", "--", *words)[:2] == (0, "".join(f"{each}\n" for each in found))


def test_fish_gets_an_explanation_too(typing: CommandLine) -> None:
    assert typing.type("completion", "fish", "--words", "--", "usage", "--si").out == (
        "--since\tThe first day, YYYY-MM-DD. Default: 30 days ago.\n"
    )


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_is_printed(typing: CommandLine, shell: str) -> None:
    assert typing.type("completion", shell)[:2] == (0, SCRIPTS[shell])


def test_a_shell_that_is_not_known_lists_those_that_are(typing: CommandLine) -> None:
    code, _, err = typing.type("completion", "tcsh")
    assert code == 2
    assert "'bash', 'zsh', 'fish'" in err


@pytest.mark.spawns
@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_shell_can_read_its_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    script = tmp_path / "script"
    script.write_text(SCRIPTS[shell])
    subprocess.run([shell, "-n", str(script)], check=True, timeout=20)


@pytest.mark.spawns
def test_bash_completes_a_model(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    program = tmp_path / "sidecar"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sidecar "$@"\n')
    program.chmod(0o700)
    script = SCRIPTS["bash"] + (
        "compopt() { :; }\nCOMP_WORDS=(sidecar chat anthropic/claude-sonnet-5-); COMP_CWORD=2\n"
        '_sidecar || true; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env=environment(tmp_path, PATH=path),
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert done.stdout.split() == ["anthropic/claude-sonnet-5-5"]


def test_the_manual_page_is_fresh() -> None:
    """`python -m sidecar.cli.manual > packaging/man/sidecar.1` makes it so."""
    assert (ROOT / "packaging/man/sidecar.1").read_text(encoding="utf-8") == make_manual()


def test_the_manual_page_has_every_command_and_option() -> None:
    text = make_manual().replace("\\-", "-")
    for name, command in sidecar.commands.items():
        assert f".SS sidecar {name} " in text
        assert command.help
        flags = [flag for each in command.params if not getattr(each, "hidden", False) for flag in each.opts]
        assert all(flag in text for flag in flags if flag.startswith("--"))
