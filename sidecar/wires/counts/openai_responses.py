"""Tokens counted by OpenAI's Responses API, `POST /responses/input_tokens`. [pure]

The endpoint counts for every model. A chat for another wire is encoded for this one to be counted.
Source: openai 3.52.0 (`types/responses/input_token_count_params.py`), read 2026-11.
"""

import msgspec

from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.wires.counts.replies import read_token_count
from sidecar.wires.openai_responses.errors import classify
from sidecar.wires.openai_responses.request import encode
from sidecar.wires.shared.types import Route

__all__ = ["EXACT", "classify", "decode_count", "encode_count"]

EXACT = True

WIRE = "openai_responses"

FIELDS = frozenset(
    {
        "conversation",
        "input",
        "instructions",
        "model",
        "parallel_tool_calls",
        "personality",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    }
)
"""The fields that the endpoint takes."""


def encode_count(chat: Chat, route: Route) -> HttpRequest:
    """Return the request that asks how many tokens *chat* has."""
    if route.wire != WIRE:
        route = msgspec.structs.replace(route, wire=WIRE, path=None)
    request = encode(chat, route).request
    fields = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
    body = msgspec.json.encode({name: value for name, value in fields.items() if name in FIELDS})
    path, mark, query = request.url.partition("?")
    return msgspec.structs.replace(request, url=f"{path}/input_tokens{mark}{query}", body=body)


def decode_count(body: bytes) -> int:
    """Return the tokens of the prompt in a reply of status 200.

    Raises: SidecarError `provider_error`.
    """
    return read_token_count(body, "input_tokens")
