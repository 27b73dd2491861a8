"""OpenAI's embeddings, `POST /embeddings`, and their many imitations. [pure]

Sources: openai 3.54.0 (`types/create_embedding_response.py`), voyageai 0.5.0, openrouter 1.3.84, recorded exchanges of
twelve providers, read 2026-11.
"""

from typing import Any

import msgspec

from sidecar.core.http import HttpRequest
from sidecar.core.json_values import read_count, read_object, read_text
from sidecar.wires.embeddings.bodies import decode_body, make_request
from sidecar.wires.embeddings.types import EmbedQuestion, EmbedReply, FoundVector, make_usage
from sidecar.wires.openai_chat.errors import classify
from sidecar.wires.shared.costs import convert_to_usd
from sidecar.wires.shared.types import Route

__all__ = ["classify", "decode", "encode"]


def encode(question: EmbedQuestion, route: Route) -> HttpRequest:
    """Return the request for vectors of the texts."""
    return make_request(route, "/embeddings", {"model": route.model, "input": question.texts} | question.fields)


class _Entry(msgspec.Struct):
    embedding: msgspec.Raw = msgspec.Raw(b"null")
    index: Any = None


class _Document(msgspec.Struct):
    data: list[_Entry]
    usage: Any = None
    model: Any = None


_document = msgspec.json.Decoder(_Document)


def decode(body: bytes) -> EmbedReply:
    """Return the vectors, and what they have used.

    Raises: SidecarError `provider_error` for a document without `data`.
    """
    document = decode_body(body, _document)
    usage = read_object(document.usage)
    # Voyage reports the sum alone, which is that of the prompt: there is no answer to count.
    tokens = next((count for name in ("prompt_tokens", "total_tokens") if (count := read_count(usage.get(name)))), None)
    cost = usage.get("cost")
    return EmbedReply(
        found=[FoundVector(entry.embedding, read_count(entry.index)) for entry in document.data],
        usage=make_usage(tokens),
        cost_usd=convert_to_usd(cost.get("total_cost") if isinstance(cost, dict) else cost),
        model=read_text(document.model) or None,
    )
