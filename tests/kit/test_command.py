"""The command line, without a host."""

import pytest

from sidecar.kit.__main__ import run
from sidecar.kit.scenario import list_scenarios


def test_the_list_has_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(list_scenarios())
    assert run(["--list", "--only", "cancel_", "--only", "crlf"]) == 0
    names = [line.split()[0][4:] for line in capsys.readouterr().out.splitlines()]
    assert names == ["crlf", "cancel_found", "cancel_before_any_chunk", "cancel_crosses_the_end", "cancel_too_late"]


def test_quick_leaves_out_what_is_slow(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--list", "--quick"]) == 0
    shown = capsys.readouterr().out
    assert "hang_at_shutdown" not in shown
    assert "plain_stream" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which host?"),
        (["--only", "nothing"], "no scenario has such a name"),
        (["--jobs", "0", "true"], "numbers above 0"),
        (["--patience", "0", "true"], "numbers above 0"),
        (["--patience", "nan", "true"], "numbers above 0"),
    ],
)
def test_what_cannot_be_run_is_said(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.spawns
def test_a_command_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--only", "plain", "no-such-command"]) == 2
    assert "no-such-command cannot be started" in capsys.readouterr().err
