"""Tokens counted by OpenAI's Responses API, `POST /responses/input_tokens`. [pure]

It counts for every model, also for one that is asked on another wire: the chat is said in this
one's words then. Source: openai 3.52.0 (`types/responses/input_token_count_params.py`), read 2026-11.
"""

import msgspec

from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.wires.counts.reply import whole_number
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
"""What is taken."""


def encode_count(chat: Chat, route: Route) -> HttpRequest:
    """Return the request that asks how many tokens *chat* is."""
    if route.wire != WIRE:
        route = msgspec.structs.replace(route, wire=WIRE, path=None)
    request = encode(chat, route).request
    sent = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
    body = msgspec.json.encode({name: value for name, value in sent.items() if name in FIELDS})
    path, mark, query = request.url.partition("?")
    return msgspec.structs.replace(request, url=f"{path}/input_tokens{mark}{query}", body=body)


def decode_count(body: bytes) -> int:
    """Return the tokens of the prompt.

    Raises: SidecarError `provider_error`.
    """
    return whole_number(body, "input_tokens")
