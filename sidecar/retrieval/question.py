"""What a request for vectors says beside its texts: the provider's names and words for purpose, length and form. [pure]

An option that a provider does not have is left out with a warning.
"""

from typing import Any, NamedTuple

from protocol.embeddings import Embed, VectorEncoding
from protocol.replies import Warn
from sidecar.catalogue.embedding_columns import EmbeddingRow


class Asked(NamedTuple):
    """What is asked of a provider for every text of a request."""

    fields: dict[str, Any]
    text_form: str
    """What is sent for a text; `{text}` stands for it."""
    dimensions: int | None
    """The length of the vectors that is asked for."""
    packing: VectorEncoding
    """The form of the vectors that is asked for."""
    warnings: list[Warn]


def name_fields(row: EmbeddingRow, params: Embed) -> Asked:
    """Return what *params* ask of a provider with that *row*."""
    fields: dict[str, Any] = {}
    warnings: list[Warn] = []
    dimensions = params.dimensions if row.dimensions_field else None
    if dimensions is not None:
        fields[row.dimensions_field] = dimensions
    elif params.dimensions is not None:
        warnings.append(_make_warning("dimensions", "The model's vectors have one length"))
    text_form = _add_purpose(row, params, fields, warnings)
    if row.truncate_field:
        # What is too long is to be noticed. It is asked for again, cut.
        fields[row.truncate_field] = row.truncate_off
    packing: VectorEncoding = "float"
    if params.encoding == "f32_base64" and row.base64_field:
        fields[row.base64_field], packing = row.base64_value, "f32_base64"
    return Asked(fields, text_form, dimensions, packing, warnings)


def _add_purpose(row: EmbeddingRow, params: Embed, fields: dict[str, Any], warnings: list[Warn]) -> str:
    """Add the word for the purpose to *fields*, or return the form of a text that says it."""
    purpose = params.purpose or row.default_purpose
    if purpose is None:
        return "{text}"
    if row.purpose_field and purpose in row.purposes:
        fields[row.purpose_field] = row.purposes[purpose]
        return "{text}"
    if purpose in row.purpose_texts:
        return row.purpose_texts[purpose]
    if row.default_purpose is not None:
        fields[row.purpose_field] = row.purposes[row.default_purpose]
    warnings.append(_make_warning("purpose", "The provider has no such purpose"))
    return "{text}"


def _make_warning(name: str, reason: str) -> Warn:
    return Warn(code="option_left_out", message=f"{reason}: `{name}` was left out.", param=f"params.{name}")


def write_text(form: str, text: str) -> str:
    """Return what is sent for *text*."""
    return form.replace("{text}", text, 1)
