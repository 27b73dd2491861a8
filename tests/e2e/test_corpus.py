"""One recorded exchange of each provider through a process; all of them run in process.

`tests/wires/test_corpus.py` and `tests/providers/test_corpus.py` have the others.
"""

from collections.abc import Iterable
from typing import Any

import pytest

from tests.support import corpus
from tests.support.corpus import Exchange
from tests.support.process import Sidecar

if not corpus.exchanges(*corpus.PROVIDERS):
    pytest.skip("no recordings at hand", allow_module_level=True)

from tests.providers import test_corpus as others
from tests.wires import test_corpus as exact


def first_of_each(exchanges: Iterable[Exchange]) -> list[Any]:
    """Return the first answer of each provider."""
    found: dict[str, Exchange] = {}
    for each in exchanges:
        if each.api in corpus.WIRES and each.expected["text"] and not each.expected["error"]:
            found.setdefault(each.provider, each)
    return [pytest.param(each, id=each.name) for each in found.values()]


@pytest.mark.parametrize("exchange", first_of_each(exact.EXCHANGES))
def test_an_answer_comes_out_as_an_independent_reader_found_it(shared: Sidecar, exchange: Exchange) -> None:
    pieces = corpus.pieces(exchange.body, 1)
    exact.check(exchange, exact.play(shared, exchange, "split", pieces))


@pytest.mark.parametrize("exchange", first_of_each(others.EXCHANGES))
def test_an_answer_is_read_by_its_own_providers_table(shared: Sidecar, exchange: Exchange) -> None:
    others.check(exchange, others.ask(shared, exchange, 1))
