"""Cohere's embeddings: `POST /v2/embed`, its older version, and its models at Bedrock. [pure]

An answer has a list of vectors, or an object with a list for each type, whatever was asked. Sources: cohere 7.3.1,
recorded exchanges, read 2026-11.
"""

from typing import Any

import msgspec

from sidecar.core.http import HttpRequest
from sidecar.core.json_values import read_count, read_object
from sidecar.wires.embeddings.bodies import decode_body, list_in_order, make_request
from sidecar.wires.embeddings.types import EmbedQuestion, EmbedReply, make_usage
from sidecar.wires.openai_chat.errors import classify
from sidecar.wires.shared.types import Route

__all__ = ["classify", "decode", "encode"]


def encode(question: EmbedQuestion, route: Route) -> HttpRequest:
    """Return the request for vectors of the texts. Where the path names the model, the body does not."""
    named = {} if route.path and "/model/" in route.path else {"model": route.model}
    body = named | {"texts": question.texts, "embedding_types": ["float"]} | question.fields
    return make_request(route, "/v2/embed", body)


class _Types(msgspec.Struct):
    floats: list[msgspec.Raw] = msgspec.field(name="float", default_factory=list)


class _Document(msgspec.Struct):
    embeddings: list[msgspec.Raw] | _Types
    meta: Any = None


_document = msgspec.json.Decoder(_Document)


def decode(body: bytes) -> EmbedReply:
    """Return the vectors, and the tokens that are billed.

    Raises: SidecarError `provider_error` for a document without `embeddings`.
    """
    document = decode_body(body, _document)
    made = document.embeddings.floats if isinstance(document.embeddings, _Types) else document.embeddings
    billed = read_object(read_object(document.meta).get("billed_units"))
    return EmbedReply(found=list_in_order(made), usage=make_usage(_read_tokens(billed.get("input_tokens"))))


def _read_tokens(value: object) -> int | None:
    # Some answers have it as a number with a point.
    return read_count(int(value) if isinstance(value, float) and value.is_integer() else value)
