"""Recorded reranks through a process; `tests/retrieval/test_rerank_corpus.py` has them in process."""

import pytest

from tests.support import corpus as recordings
from tests.support.corpus import Exchange
from tests.support.fake_services import Services
from tests.support.process import Sidecar

if not (recordings.ROOT.parent / "corpus2").is_dir():
    pytest.skip("no recordings at hand", allow_module_level=True)

from tests.retrieval import test_rerank_corpus as corpus

STANDING_IN = {"llamacpp": "jina"}
"""Servers that the process has no table of → a provider whose replies are read in the same way."""


@pytest.mark.parametrize("exchange", [pytest.param(each, id=each.name) for each in corpus.EXCHANGES])
def test_a_recorded_rerank_comes_out_of_a_process(keyed: Sidecar, services: Services, exchange: Exchange) -> None:
    provider = STANDING_IN.get(exchange.provider, exchange.provider)
    corpus.check(exchange, corpus.ask(keyed, services, exchange, provider))
