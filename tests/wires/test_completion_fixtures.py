"""Recorded completions: the request that each wire builds, and the texts that it reads however the reply is split."""

import random

import pytest

from sidecar.wires.completions.registry import COMPLETION_WIRES
from tests.support.completion_fixtures import Case, encode, list_cases, play

CASES = list_cases()


def test_every_wire_has_a_case() -> None:
    assert {case.wire for case in CASES} == {*COMPLETION_WIRES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_request_is_that_of_the_case(case: Case) -> None:
    assert encode(case) == case.read("request.json")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reply_reads_alike_however_it_is_split(case: Case) -> None:
    body, expected = case.body, case.read("items.json")
    chance = random.Random(case.name)
    assert play(case, [body]) == expected
    assert play(case, (body[at : at + 1] for at in range(len(body)))) == expected
    for _ in range(5):
        places = sorted(chance.sample(range(len(body)), min(6, len(body))))
        parts = [body[one:other] for one, other in zip([0, *places], [*places, len(body)], strict=True)]
        assert play(case, parts) == expected
