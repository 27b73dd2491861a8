"""Tokens of a text as xAI's models split it, `POST /tokenize-text`. [pure]

It knows neither messages nor tools nor images, so all texts of the chat are sent as one, and
what a prompt has beside them must be added. Source: xAI's OpenAPI description, read 2026-11.
"""

import msgspec

from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.core.json_values import parse_json
from sidecar.tokens import estimates
from sidecar.wires.openai_responses.errors import classify
from sidecar.wires.shared.errors import make_unexpected_body_error
from sidecar.wires.shared.types import Route

__all__ = ["EXACT", "classify", "decode_count", "encode_count"]

EXACT = False


def encode_count(chat: Chat, route: Route) -> HttpRequest:
    """Return the request that asks how many tokens the texts of *chat* are."""
    text = "\n".join(estimates.texts(chat.messages, chat.options))
    return HttpRequest(
        method="POST",
        url=f"{route.base_url}/tokenize-text",
        headers={"content-type": "application/json"} | route.headers,
        body=msgspec.json.encode({"model": route.model, "text": text}),
    )


def decode_count(body: bytes) -> int:
    """Return the tokens of the texts.

    Raises: SidecarError `provider_error`.
    """
    raw = parse_json(body)
    listed = raw.get("token_ids") if isinstance(raw, dict) else None
    if not isinstance(listed, list):
        raise make_unexpected_body_error()
    return len(listed)
