"""Recorded replies with parts replaced: see `tests.fuzz`, which tries as many as one likes."""

import json

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz import replies, values


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_reply_has_one_end_that_can_be_written(seed: int) -> None:
    ends = replies.run(500, seed)
    assert sum(ends.values()) == 500
    assert ends["done"] > 50
    assert ends["provider_error"] > 50


def test_the_command_says_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 2
    assert "python -m tests.fuzz replies" in capsys.readouterr().out
    assert command.main(["replies", "5"]) == 0
    assert "5 mutations" in capsys.readouterr().out


def test_nested_values_are_as_deep_as_they_say() -> None:
    assert json.dumps(values.nest(3)) == '{"a": {"a": {"a": 1}}}'
