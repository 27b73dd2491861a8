"""Amazon Nova's embeddings at Bedrock: one text in a request. [pure]

Sources: pydantic-ai 2.68.0, @ai-sdk/amazon-bedrock 4.0.186, recorded exchanges, read 2026-11.
"""

from typing import Any
from urllib.parse import quote

import msgspec

from sidecar.core.http import HttpRequest
from sidecar.wires.bedrock_converse.errors import classify
from sidecar.wires.embeddings.bodies import decode_body, list_in_order, make_request
from sidecar.wires.embeddings.types import EmbedQuestion, EmbedReply
from sidecar.wires.shared.types import Route

__all__ = ["classify", "decode", "encode"]

TEXT_FIELDS = frozenset({"truncationMode"})
"""The fields of the text. All others stand beside it."""


def encode(question: EmbedQuestion, route: Route) -> HttpRequest:
    """Return the request for the vector of the one text."""
    text: dict[str, Any] = {"value": question.texts[0]}
    text |= {name: value for name, value in question.fields.items() if name in TEXT_FIELDS}
    params = {name: value for name, value in question.fields.items() if name not in TEXT_FIELDS}
    body = {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params | {"text": text}}
    return make_request(route, f"/model/{quote(route.model, safe='-._~')}/invoke", body)


class _Entry(msgspec.Struct):
    embedding: msgspec.Raw = msgspec.Raw(b"null")
    truncatedCharLength: Any = None  # noqa: N815 - the provider's name


class _Document(msgspec.Struct):
    embeddings: list[_Entry]


_document = msgspec.json.Decoder(_Document)


def decode(body: bytes) -> EmbedReply:
    """Return the vector. Its tokens are in a header of the reply.

    Raises: SidecarError `provider_error` for a document without `embeddings`.
    """
    entries = decode_body(body, _document).embeddings
    truncated = tuple(number for number, each in enumerate(entries) if each.truncatedCharLength)
    return EmbedReply(found=list_in_order(each.embedding for each in entries), truncated=truncated)
