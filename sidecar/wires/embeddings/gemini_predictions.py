"""Vertex AI's `predict`: an instance for each text, and the count of its tokens beside each vector. [pure]

Sources: google-genai 3.4.0 (`models.py`), recorded exchanges, read 2026-11.
"""

from typing import Any

import msgspec

from sidecar.core.http import HttpRequest
from sidecar.core.json_values import read_count, read_object
from sidecar.wires.embeddings.bodies import decode_body, list_in_order, make_request
from sidecar.wires.embeddings.types import EmbedQuestion, EmbedReply, make_usage
from sidecar.wires.gemini.errors import classify
from sidecar.wires.shared.types import Route

__all__ = ["classify", "decode", "encode"]

INSTANCE_FIELDS = frozenset({"task_type", "title"})
"""The fields of each instance. All others are parameters of the request."""


def encode(question: EmbedQuestion, route: Route) -> HttpRequest:
    """Return the request for vectors of the texts."""
    of_instance = {name: value for name, value in question.fields.items() if name in INSTANCE_FIELDS}
    parameters = {name: value for name, value in question.fields.items() if name not in INSTANCE_FIELDS}
    body: dict[str, Any] = {"instances": [{"content": text} | of_instance for text in question.texts]}
    if parameters:
        body["parameters"] = parameters
    return make_request(route, f"/v1/models/{route.model}:predict", body)


class _Embeddings(msgspec.Struct):
    values: msgspec.Raw = msgspec.Raw(b"null")
    statistics: Any = None


class _Prediction(msgspec.Struct):
    embeddings: _Embeddings = msgspec.field(default_factory=_Embeddings)


class _Document(msgspec.Struct):
    predictions: list[_Prediction]


_document = msgspec.json.Decoder(_Document)


def decode(body: bytes) -> EmbedReply:
    """Return the vectors, the sum of the tokens, and which texts were cut.

    Raises: SidecarError `provider_error` for a document without `predictions`.
    """
    made = [each.embeddings for each in decode_body(body, _document).predictions]
    statistics = [read_object(each.statistics) for each in made]
    counts = [count for each in statistics if (count := _read_tokens(each.get("token_count"))) is not None]
    return EmbedReply(
        found=list_in_order(each.values for each in made),
        usage=make_usage(sum(counts) if len(counts) == len(made) else None),
        truncated=tuple(number for number, each in enumerate(statistics) if each.get("truncated") is True),
    )


def _read_tokens(value: object) -> int | None:
    # Some answers have it as a number with a point.
    return read_count(int(value) if isinstance(value, float) and value.is_integer() else value)
