"""Gemini's `batchEmbedContents`: a request within the request for each text. [pure]

Several parts of one content would make one vector, so each text is a content. The same model in the cloud has
`gemini_content`, a wire of its own. Sources: google-genai 3.4.0 (`models.py`), recorded exchanges, read 2026-11.
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
    """Return the request for vectors of the texts; the fields are those of each inner request."""
    name = f"models/{route.model.removeprefix('models/')}"
    requests = [{"model": name, "content": {"parts": [{"text": text}]}} | question.fields for text in question.texts]
    return make_request(route, f"/v1beta/{name}:batchEmbedContents", {"requests": requests})


class _Values(msgspec.Struct):
    values: msgspec.Raw = msgspec.Raw(b"null")


class _Document(msgspec.Struct):
    embeddings: list[_Values]
    usageMetadata: Any = None  # noqa: N815 - the provider's name


_document = msgspec.json.Decoder(_Document)


def decode(body: bytes) -> EmbedReply:
    """Return the vectors, and the tokens where the model reports any.

    Raises: SidecarError `provider_error` for a document without `embeddings`.
    """
    document = decode_body(body, _document)
    return EmbedReply(
        found=list_in_order(each.values for each in document.embeddings),
        usage=make_usage(read_count(read_object(document.usageMetadata).get("promptTokenCount"))),
    )
