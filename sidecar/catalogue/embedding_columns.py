"""The rows of a provider's `embeddings`: how it makes vectors, each column with the usual value as its default. [pure]

A provider has one row for all its models, or several: the first that matches a model and its settings is used.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

import msgspec

from protocol.embeddings import Purpose


class EmbeddingRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How some models of a provider make vectors."""

    models: tuple[str, ...] = ("*",)
    """Patterns of their names. Default: every model."""
    when: dict[str, str] = {}
    """Setting → pattern of its value, for other addresses. Default: whatever the settings are."""
    wire: str = "usual"
    """Of `sidecar.wires.embeddings.registry`. Default: `usual`, which most providers imitate."""
    path: str | None = None
    """Below the base address, a template. Default: the wire's own."""
    max_inputs: int = 32
    """The most texts of one request. Default: 32, which every known server accepts."""
    max_batch_tokens: int | None = None
    """The most tokens of one request, all texts together. Default: not known."""
    dimensions_field: str = "dimensions"
    """The field of the wanted length of the vectors, empty where there is none. Default: `dimensions`."""
    purpose_field: str = ""
    """The field of what the vectors are for. Default: none."""
    purposes: dict[Purpose, str] = {}
    """Purpose → the provider's word for it. One that is absent is left out with a warning."""
    purpose_texts: dict[Purpose, str] = {}
    """Purpose → the text to send instead, where `{text}` stands for the input. For models that read the purpose there.
    Default: the input as it is."""
    default_purpose: Purpose | None = None
    """What to send when the request names no purpose, where the provider requires one. Default: nothing."""
    truncate_field: str = ""
    """The field that says whether to cut what is too long. Default: none; the provider refuses such a text, and the
    sidecar cuts it itself."""
    truncate_on: bool | str = True
    """Its value to cut at the end. Default: true."""
    truncate_off: bool | str = False
    """Its value to refuse. Default: false."""
    base64_field: str = ""
    """The field that asks for packed vectors (little-endian float32 in base64). Default: none, and numbers are asked
    for."""
    base64_value: str = "base64"
    """Its value for packed vectors. Default: `base64`."""
    usage_header: str = ""
    """The reply header with the tokens of the prompt. Default: none; the document says."""


def find_embedding_row(
    rows: Sequence[EmbeddingRow], model: str, settings: Mapping[str, Any] = MappingProxyType({})
) -> EmbeddingRow | None:
    """Return the first of *rows* that is for *model* with these settings, or None."""
    return next((row for row in rows if _is_for(row, model) and _applies(row, settings)), None)


def _is_for(row: EmbeddingRow, model: str) -> bool:
    return any(fnmatchcase(model, pattern) for pattern in row.models)


def _applies(row: EmbeddingRow, settings: Mapping[str, Any]) -> bool:
    return all(fnmatchcase(str(settings.get(name, "")), pattern) for name, pattern in row.when.items())
