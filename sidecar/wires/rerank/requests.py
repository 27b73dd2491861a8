"""The usual request of a rerank, whose imitations differ by the names of fields. [pure]

Sources: cohere 7.3.1, voyageai 0.5.0, jina's API, text-embeddings-inference 0d124dc, botocore 1.44.5, read 2026-11.
"""

from typing import Any

from sidecar.core.http import HttpRequest
from sidecar.wires.rerank.types import RerankFields, RerankQuestion, make_json_request
from sidecar.wires.shared.types import Route


def encode(question: RerankQuestion, route: Route, fields: RerankFields) -> HttpRequest:
    """Return the request that asks *question* along *route*."""
    body: dict[str, Any] = {"query": question.query, fields.documents: question.documents}
    if fields.model:
        body[fields.model] = route.model
    if fields.top and question.top is not None:
        body[fields.top] = question.top
    return make_json_request(route, body | fields.fixed)
