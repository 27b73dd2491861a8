"""Tokens counted by Anthropic's Messages API, `POST /v1/messages/count_tokens`. [pure]

The body is that of the chat, without the fields that do not belong to the prompt. Sources: anthropic 2.11.0
(`types/message_count_tokens_params.py`, `types/beta/message_count_tokens_params.py`,
`lib/vertex/_client.py`), read 2026-11.
"""

import msgspec

from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.wires.anthropic_messages.errors import classify
from sidecar.wires.anthropic_messages.request import encode
from sidecar.wires.counts.replies import read_token_count
from sidecar.wires.shared.types import Route

__all__ = ["EXACT", "classify", "decode_count", "encode_count"]

EXACT = True

FIELDS = frozenset(
    {
        "anthropic_version",
        "billing_policy",
        "cache_control",
        "compaction",
        "context_management",
        "mcp_servers",
        "messages",
        "output_config",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
"""The fields that the endpoint takes; it refuses any other."""


def encode_count(chat: Chat, route: Route) -> HttpRequest:
    """Return the request that asks how many tokens *chat* has."""
    request = encode(chat, route).request
    fields = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
    prompt = {name: value for name, value in fields.items() if name in FIELDS}
    if route.path is None:
        url = f"{request.url}/count_tokens"
    else:
        # In the cloud the URL names the model, except for this request, which names it in its body.
        url = request.url.rpartition("/models/")[0] + "/models/count-tokens:rawPredict"
    body = msgspec.json.encode({"model": route.model} | prompt)
    return msgspec.structs.replace(request, url=url, body=body)


def decode_count(body: bytes) -> int:
    """Return the tokens of the prompt in a reply of status 200.

    Raises: SidecarError `provider_error`.
    """
    return read_token_count(body, "input_tokens")
