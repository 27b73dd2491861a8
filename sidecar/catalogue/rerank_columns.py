"""The rows of a provider's `rerank`: how it ranks documents, each column with the usual value as its default. [pure]

A provider has one row for all its models, or several: the first whose `models` match a model is used.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec

from sidecar.wires.rerank.types import RerankFields


class RerankRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How some models of a provider rank documents."""

    models: tuple[str, ...] = ("*",)
    """Patterns of their names. Default: every model."""
    wire: str = "usual"
    """Of `sidecar.wires.rerank.registry`. Default: `usual`, which most servers imitate."""
    fields: RerankFields = RerankFields()
    """The names of fields, on wires where they differ."""
    path: str = "/rerank"
    """Below the base address, a template. Default: `/rerank`."""
    base_url: str | None = None
    """The base address, a template, if that is on another host. Default: the provider's."""
    max_documents: int | None = None
    """The most documents of one request. Default: the protocol's limit."""
    max_document_chars: int | None = None
    """The most characters of one document. Default: not known."""
    documents_per_search: int | None = None
    """How many documents make a search unit, for a provider that bills by them and does not say how many there were.
    Default: the reply says what is billed."""


def find_rerank_row(rows: Sequence[RerankRow], model: str) -> RerankRow | None:
    """Return the first of *rows* that is for *model*, or None."""
    return next((row for row in rows if any(fnmatchcase(model, pattern) for pattern in row.models)), None)
