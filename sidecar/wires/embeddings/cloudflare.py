"""Cloudflare Workers AI's embeddings, `POST /run/{model}`. [pure]

Source: cloudflare 5.9.0 (`types/ai_run_response.py`) and https://developers.cloudflare.com/workers-ai, read 2026-11.
"""

from typing import Any

import msgspec

from sidecar.core.http import HttpRequest
from sidecar.core.json_values import read_count, read_object
from sidecar.wires.cloudflare import classify
from sidecar.wires.embeddings.bodies import decode_body, list_in_order, make_request
from sidecar.wires.embeddings.types import EmbedQuestion, EmbedReply, make_usage
from sidecar.wires.shared.types import Route

__all__ = ["classify", "decode", "encode"]


def encode(question: EmbedQuestion, route: Route) -> HttpRequest:
    """Return the request for vectors of the texts."""
    return make_request(route, f"/run/{route.model}", {"text": question.texts} | question.fields)


class _Result(msgspec.Struct):
    data: list[msgspec.Raw]
    usage: Any = None


class _Document(msgspec.Struct):
    result: _Result


_document = msgspec.json.Decoder(_Document)


def decode(body: bytes) -> EmbedReply:
    """Return the vectors, and their tokens where the model reports any.

    Raises: SidecarError `provider_error` for a document without `result`.
    """
    result = decode_body(body, _document).result
    usage = make_usage(read_count(read_object(result.usage).get("prompt_tokens")))
    return EmbedReply(found=list_in_order(result.data), usage=usage)
