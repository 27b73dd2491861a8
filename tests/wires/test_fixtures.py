"""Every folder under `fixtures/` is a test: of the request it must encode to, and the chunks it must decode to."""

import random

import pytest

from tests.support import fixtures
from tests.support.fixtures import Case

CASES = [pytest.param(case, id=case.name) for case in fixtures.cases()]
REPLIES = [pytest.param(case, id=case.name) for case in fixtures.cases() if case.has_reply]


@pytest.mark.parametrize("case", CASES)
def test_a_call_is_encoded_to_the_request_of_its_fixture(case: Case) -> None:
    assert fixtures.request(case) == case.expected_request


@pytest.mark.parametrize("case", REPLIES)
def test_a_reply_decodes_to_the_chunks_of_its_fixture_however_it_is_split(case: Case) -> None:
    body, expected = case.body, case.expected
    assert fixtures.chunks(case, [body]) == expected
    assert fixtures.chunks(case, [body[i : i + 1] for i in range(len(body))]) == expected
    for seed in range(20):
        chance = random.Random(seed)
        cuts = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(1, 40)))
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        assert fixtures.chunks(case, pieces) == expected
