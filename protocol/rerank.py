"""Reranks: which documents fit a query best."""

from typing import Annotated

import msgspec

from protocol.settings import Settings
from protocol.values import Model, Secret, Text, Url

MAX_DOCUMENTS = 10_000
"""The most documents of one request. Most providers accept fewer."""


class Rerank(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sort documents by how well they fit a query."""

    model: Model
    query: Text
    documents: Annotated[list[Text], msgspec.Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    top: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many results to return; null: one for each document."""
    api_key: Secret | None = None
    base_url: Url | None = None
    settings: Settings | None = None
