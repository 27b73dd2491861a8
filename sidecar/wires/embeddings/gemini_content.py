"""Vertex AI's `embedContent`: one text in a request. [pure]

Sources: google-genai 3.4.0 (`models.py`), @ai-sdk/google-vertex 4.0.208, recorded exchanges, read 2026-11.
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


def encode(question: EmbedQuestion, route: Route) -> HttpRequest:
    """Return the request for the vector of the one text; the fields are those of `embedContentConfig`."""
    body: dict[str, Any] = {"content": {"parts": [{"text": text} for text in question.texts]}}
    if question.fields:
        body["embedContentConfig"] = question.fields
    return make_request(route, f"/v1beta/models/{route.model}:embedContent", body)


class _Values(msgspec.Struct):
    values: msgspec.Raw = msgspec.Raw(b"null")


class _Document(msgspec.Struct):
    embedding: _Values
    usageMetadata: Any = None  # noqa: N815 - the provider's name
    truncated: Any = None


_document = msgspec.json.Decoder(_Document)


def decode(body: bytes) -> EmbedReply:
    """Return the vector, the tokens, and whether the text was cut.

    Raises: SidecarError `provider_error` for a document without `embedding`.
    """
    document = decode_body(body, _document)
    return EmbedReply(
        found=list_in_order([document.embedding.values]),
        usage=make_usage(read_count(read_object(document.usageMetadata).get("promptTokenCount"))),
        truncated=(0,) if document.truncated is True else (),
    )
