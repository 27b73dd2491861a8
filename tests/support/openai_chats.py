"""Routes, requests and events of Chat Completions, in short."""

import json
from typing import Any

import msgspec

from protocol.replies import Chunk
from protocol.requests import Chat
from sidecar.wires import openai_chat
from sidecar.wires.shared.types import ModelFacts, Outcome, Quirks, Route

DONE = b"[DONE]"


def route_to(*, quirks: dict[str, Any] | None = None, facts: dict[str, Any] | None = None, **columns: Any) -> Route:
    """Return a route to nobody in particular."""
    return Route(
        provider="somebody",
        wire="openai_chat",
        model="m-1",
        base_url="https://provider.test/v1",
        quirks=Quirks(**quirks or {}),
        facts=ModelFacts(**facts or {}),
        **columns,
    )


def body_of(messages: list[dict[str, Any]] | None = None, to: Route | None = None, **options: Any) -> dict[str, Any]:
    """Return the body of the request, and under `warned` the options that were warned of."""
    params = {"model": "m-1", "messages": messages or [{"role": "user", "content": "Hi"}], "options": options}
    built = openai_chat.encode(msgspec.convert(params, Chat), to or route_to())
    body: dict[str, Any] = json.loads(built.request.body)
    return body | {"warned": [warning.param for warning in built.warnings]}


def delta(**fields: Any) -> dict[str, Any]:
    """Return a chunk of the first choice."""
    return {"choices": [{"index": 0, "delta": fields}]}


def played(*events: dict[str, Any] | bytes, to: Route | None = None) -> tuple[list[Chunk], Outcome]:
    """Return what *events* decode to."""
    decoder, out = openai_chat.Decoder(to or route_to()), list[Chunk]()
    for event in events:
        decoder.feed(("", event if isinstance(event, bytes) else json.dumps(event).encode()), out)
    return out, decoder.end(out)
