"""What is asked of a provider that ranks documents, and what is refused before it is sent. [pure]"""

from protocol.rerank import MAX_DOCUMENTS, Rerank
from sidecar.catalogue.rerank_columns import RerankRow
from sidecar.core.errors import invalid_request
from sidecar.wires.rerank.types import RerankQuestion

CHARS_PER_TOKEN = 4
"""For limits and budgets, before a provider has counted."""


def make_question(params: Rerank, row: RerankRow) -> RerankQuestion:
    """Return what to ask a provider of *row*.

    Raises: SidecarError `invalid_request`, which names the index of a document that cannot be ranked.
    """
    count, most = len(params.documents), row.max_documents or MAX_DOCUMENTS
    if count > most:
        raise invalid_request(
            f"`params.documents` has {count} documents, and the provider ranks {most} at once.",
            "params.documents",
            hint="Rank the most promising ones: scores of several requests cannot be compared with every model.",
        )
    if not params.query.strip():
        raise invalid_request("`params.query` is empty.", "params.query")
    for index, document in enumerate(params.documents):
        where = f"params.documents[{index}]"
        if not document.strip():
            raise invalid_request(f"`{where}` is empty: leave it out.", where)
        if row.max_document_chars is not None and len(document) > row.max_document_chars:
            text = f"`{where}` has {len(document)} characters, and the provider takes {row.max_document_chars}."
            raise invalid_request(text, where)
    return RerankQuestion(params.query, params.documents, None if params.top is None else min(params.top, count))


def estimate_tokens(question: RerankQuestion) -> int:
    """Return about how many tokens are billed: the query comes again with each document."""
    chars = len(question.query) * len(question.documents) + sum(map(len, question.documents))
    return chars // CHARS_PER_TOKEN
