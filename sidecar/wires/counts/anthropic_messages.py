"""Tokens counted by Anthropic's Messages API, `POST /v1/messages/count_tokens`. [pure]

The body is that of the chat, less what is no part of the prompt. Sources: anthropic 2.11.0
(`types/message_count_tokens_params.py`, `types/beta/message_count_tokens_params.py`,
`lib/vertex/_client.py`), read 2026-11.
"""

import msgspec

from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.wires.anthropic_messages import classify
from sidecar.wires.anthropic_messages.request import encode
from sidecar.wires.counts.reply import whole_number
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
"""What is taken; any other is refused."""


def encode_count(chat: Chat, route: Route) -> HttpRequest:
    """Return the request that asks how many tokens *chat* is."""
    request = encode(chat, route).request
    sent = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
    kept = {name: value for name, value in sent.items() if name in FIELDS}
    if route.path is None:
        url = f"{request.url}/count_tokens"
    else:
        # In the cloud the address names the model, but for this request, which says it in its body.
        url = request.url.rpartition("/models/")[0] + "/models/count-tokens:rawPredict"
    body = msgspec.json.encode({"model": route.model} | kept)
    return msgspec.structs.replace(request, url=url, body=body)


def decode_count(body: bytes) -> int:
    """Return the tokens of the prompt.

    Raises: SidecarError `provider_error`.
    """
    return whole_number(body, "input_tokens")
