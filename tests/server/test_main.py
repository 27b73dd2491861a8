"""The command line."""

import pytest

from sidecar.__main__ import USAGE, parse_options


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--config", "a"], {"--config": "a"}),
        (["--config=a", "--log-level", "info"], {"--config": "a", "--log-level": "info"}),
        (["--config="], {"--config": ""}),
        (["--record", "--config"], {"--record": "--config"}),
    ],
)
def test_options_are_read(arguments: list[str], options: dict[str, str]) -> None:
    assert parse_options(arguments) == options


@pytest.mark.parametrize(
    ("arguments", "problem"), [(["--verbose"], "--verbose"), (["file"], "file"), (["--config"], "needs a value")]
)
def test_what_is_no_option_is_refused(arguments: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_options(arguments)


def test_the_help_names_every_option() -> None:
    for option in ("--config FILE", "--record DIR", "--trace FILE", "--log-level LEVEL", "--version"):
        assert option in USAGE
