"""Amazon Titan's embeddings at Bedrock: one text in a request. [pure]

Sources: @ai-sdk/amazon-bedrock 4.0.186, recorded exchanges, read 2026-11.
"""

from typing import Any
from urllib.parse import quote

import msgspec

from sidecar.core.http import HttpRequest
from sidecar.core.json_values import read_count
from sidecar.wires.bedrock_converse.errors import classify
from sidecar.wires.embeddings.bodies import decode_body, list_in_order, make_request
from sidecar.wires.embeddings.types import EmbedQuestion, EmbedReply, make_usage
from sidecar.wires.shared.types import Route

__all__ = ["classify", "decode", "encode"]


def encode(question: EmbedQuestion, route: Route) -> HttpRequest:
    """Return the request for the vector of the one text."""
    body = {"inputText": question.texts[0]} | question.fields
    return make_request(route, f"/model/{quote(route.model, safe='-._~')}/invoke", body)


class _Document(msgspec.Struct):
    embedding: msgspec.Raw
    inputTextTokenCount: Any = None  # noqa: N815 - the provider's name


_document = msgspec.json.Decoder(_Document)


def decode(body: bytes) -> EmbedReply:
    """Return the vector and its tokens.

    Raises: SidecarError `provider_error` for a document without `embedding`.
    """
    document = decode_body(body, _document)
    usage = make_usage(read_count(document.inputTextTokenCount))
    return EmbedReply(found=list_in_order([document.embedding]), usage=usage)
