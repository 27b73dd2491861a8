"""The action `rerank`."""

from typing import Any

from protocol.rerank import Rerank
from sidecar.retrieval import rerank as retrieval
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.upstream import catalogue_refresh


async def rerank(app: App, request: OpenRequest, params: Rerank) -> dict[str, Any]:
    """Return the documents that fit the query best, as the `Reranked` of `protocol/results.py`."""
    await catalogue_refresh.load_stored(app.upstream)
    return await retrieval.rerank(app.upstream, request.state, params)
