"""Log lines: JSON, no lower than the level, and never the text of a failure."""

import json
from collections.abc import Iterator

import pytest

from sidecar.core import log


@pytest.fixture(autouse=True)
def _usual_level() -> Iterator[None]:
    yield
    log.set_level("warn")


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    log.log("warn", "some.event", count=2, path=object)
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert found.pop("time") > 0
    assert found == {"level": "warn", "event": "some.event", "count": 2, "path": "<class 'object'>"}


@pytest.mark.parametrize(("level", "logged"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1), ("off", 0)])
def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str], level: str, logged: int) -> None:
    log.set_level(level)
    for each in ("debug", "info", "warn", "error"):
        log.log(each, "some.event")
    assert len(capsys.readouterr().err.splitlines()) == logged


def test_the_origin_of_a_failure_is_its_type_and_place_and_not_its_text() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        _fail()
    origin = log.find_origin(caught.value)
    assert origin["type"] == "ValueError"
    assert origin["where"].startswith("_fail:")
    assert "CANARY" not in str(origin)


def test_the_origin_of_a_failure_that_was_never_raised_is_unknown() -> None:
    assert log.find_origin(ValueError("x")) == {"type": "ValueError", "where": "unknown"}


def _fail() -> None:
    try:
        int("CANARY")
    except ValueError as error:
        raise ExceptionGroup("several", [error]) from None
