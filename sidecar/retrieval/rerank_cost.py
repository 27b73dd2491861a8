"""What a rerank is billed by, and what it costs: as the provider says, by its tokens, or by its search units. [pure]"""

import math
from decimal import Decimal
from typing import Any

from protocol.messages import Usage
from sidecar.catalogue.rerank_columns import RerankRow
from sidecar.providers.values import Target
from sidecar.retrieval.rerank_question import estimate_tokens
from sidecar.upstream.documents import Charge
from sidecar.usage import pricing
from sidecar.wires.rerank.types import Ranking, RerankQuestion

USUAL_DOCUMENTS_PER_SEARCH = 100


def charge(target: Target, row: RerankRow, question: RerankQuestion, ranking: Ranking) -> Charge:
    """Return what *ranking* has used and cost."""
    tokens = ranking.input_tokens
    usage = Usage(input_tokens=tokens, output_tokens=None if tokens is None else 0)
    if ranking.cost_usd is not None:
        return Charge(usage, pricing.price_reported(target, ranking.cost_usd))
    return Charge(usage, pricing.price_rerank(target, usage, _count_searches(row, question, ranking)))


def describe_usage(row: RerankRow, question: RerankQuestion, ranking: Ranking) -> dict[str, Any]:
    """Return the `RerankUsage` of `protocol/results.py`."""
    units = _count_searches(row, question, ranking)
    usage: dict[str, Any] = {"input_tokens": ranking.input_tokens, "search_units": units}
    return usage if units == ranking.search_units else usage | {"estimated": True}


def _count_searches(row: RerankRow, question: RerankQuestion, ranking: Ranking) -> int | None:
    """Return the search units that are billed: as reported, or by the provider's rule if it reports none."""
    if ranking.search_units is not None or row.documents_per_search is None:
        return ranking.search_units
    return math.ceil(len(question.documents) / row.documents_per_search)


def estimate_usd(target: Target, row: RerankRow, question: RerankQuestion) -> Decimal | None:
    """Return what *question* will cost in US dollars, for budgets; None: unknown."""
    units = math.ceil(len(question.documents) / (row.documents_per_search or USUAL_DOCUMENTS_PER_SEARCH))
    usd = pricing.price_rerank(target, Usage(input_tokens=estimate_tokens(question), output_tokens=0), units)["usd"]
    return None if usd is None else Decimal(usd)
