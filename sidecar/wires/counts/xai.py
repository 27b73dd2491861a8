"""Tokens of a text as xAI's models split it, `POST /tokenize-text`. [pure]

The endpoint knows neither messages nor tools nor images, so all texts of the chat are sent as one,
and the rest of the prompt must be added. Source: xAI's OpenAPI description, read 2026-11.
"""

import msgspec

from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.core.json_values import parse_json, read_object
from sidecar.tokens import estimates
from sidecar.wires.openai_responses.errors import classify
from sidecar.wires.shared.errors import make_unexpected_body_error
from sidecar.wires.shared.types import Route

__all__ = ["EXACT", "classify", "decode_count", "encode_count"]

EXACT = False


def encode_count(chat: Chat, route: Route) -> HttpRequest:
    """Return the request that asks how many tokens the texts of *chat* have."""
    text = "\n".join(estimates.list_texts(chat.messages, chat.options))
    return HttpRequest(
        method="POST",
        url=f"{route.base_url}/tokenize-text",
        headers={"content-type": "application/json"} | route.headers,
        body=msgspec.json.encode({"model": route.model, "text": text}),
    )


def decode_count(body: bytes) -> int:
    """Return the tokens of the texts in a reply of status 200.

    Raises: SidecarError `provider_error`.
    """
    token_ids = read_object(parse_json(body)).get("token_ids")
    if not isinstance(token_ids, list):
        raise make_unexpected_body_error()
    return len(token_ids)
