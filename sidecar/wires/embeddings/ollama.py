"""Ollama's embeddings, `POST /api/embed`. [pure]

Source: ollama fb307609 (`server/routes.go`, `api/types.go`), read 2026-11.
"""

from typing import Any

import msgspec

from sidecar.core.http import HttpRequest
from sidecar.core.json_values import read_count, read_text
from sidecar.wires.embeddings.bodies import decode_body, list_in_order, make_request
from sidecar.wires.embeddings.types import EmbedQuestion, EmbedReply, make_usage
from sidecar.wires.ollama import classify
from sidecar.wires.shared.types import Route

__all__ = ["classify", "decode", "encode"]


def encode(question: EmbedQuestion, route: Route) -> HttpRequest:
    """Return the request for vectors of the texts."""
    return make_request(route, "/api/embed", {"model": route.model, "input": question.texts} | question.fields)


class _Document(msgspec.Struct):
    embeddings: list[msgspec.Raw]
    prompt_eval_count: Any = None
    model: Any = None


_document = msgspec.json.Decoder(_Document)


def decode(body: bytes) -> EmbedReply:
    """Return the vectors and their tokens.

    Raises: SidecarError `provider_error` for a document without `embeddings`.
    """
    document = decode_body(body, _document)
    return EmbedReply(
        found=list_in_order(document.embeddings),
        usage=make_usage(read_count(document.prompt_eval_count)),
        model=read_text(document.model) or None,
    )
