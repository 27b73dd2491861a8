"""A rerank from its request to its ranking.

Must not know the fields of a wire, or lines.
"""

from typing import Any

from protocol.rerank import Rerank
from sidecar.core.http import HttpTimeouts
from sidecar.core.request_state import RequestState
from sidecar.retrieval import rerank_cost
from sidecar.retrieval.rerank_question import estimate_tokens, make_question
from sidecar.retrieval.rerank_target import RerankTarget, find_target, make_route
from sidecar.upstream.context import Upstream
from sidecar.upstream.documents import DocumentQuestion, ask_document
from sidecar.upstream.plan import make_plan
from sidecar.usage import budgets
from sidecar.wires.rerank import registry
from sidecar.wires.rerank.types import Ranking, RerankQuestion


async def rerank(up: Upstream, state: RequestState, params: Rerank) -> dict[str, Any]:
    """Return the `Reranked` of `protocol/results.py`.

    Raises: SidecarError `invalid_request` for a provider or a list that cannot be asked; as `ask_document` does.
    """
    asked = await find_target(up, state, params)
    target, row = asked
    question = make_question(params, row)
    expected_usd = rerank_cost.estimate_usd(target, row, question) if up.config.budgets else None
    admission = await budgets.admit(up.config.budgets, up.ledger, target.route.provider, expected_usd)
    for warning in admission.warnings:
        up.warn(warning)
    with admission.reservation:
        ranking = await ask_document(up, state, make_plan(target), _make_document_question(asked, question))
    return {
        "results": ranking.scores,
        "usage": rerank_cost.describe_usage(row, question, ranking),
        "cost": state.progress.cost,
        "provider": target.route.provider,
        "model": ranking.model or target.route.model,
        "warnings": admission.warnings,
    }


def _make_document_question(asked: RerankTarget, question: RerankQuestion) -> DocumentQuestion[Ranking]:
    row, wire = asked.row, registry.load(asked.row.wire)
    return DocumentQuestion(
        kind="rerank",
        encode=lambda to: wire.encode(question, make_route(to, row), row.fields),
        decode=lambda body: wire.decode(body, question),
        classify=wire.classify,
        timeouts=HttpTimeouts(),
        charge=lambda to, ranking, _: rerank_cost.charge(to, row, question, ranking),
        tokens=estimate_tokens(question),
    )
