"""Tokens counted by Gemini's `countTokens`, at AI Studio and in the cloud. [pure]

The bare form of AI Studio counts contents alone, so the whole request of the chat is put into
its other form; the cloud takes what counts beside the contents. Sources: google-genai 3.4.0
(`models.py` `_CountTokensConfig_to_vertex`) and https://ai.google.dev/api/tokens, read 2026-11.
"""

import msgspec

from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.wires.counts.reply import whole_number
from sidecar.wires.gemini import classify
from sidecar.wires.gemini.request import encode
from sidecar.wires.shared.types import Route

__all__ = ["EXACT", "classify", "decode_count", "encode_count"]

EXACT = True

CLOUD_FIELDS = frozenset({"contents", "generationConfig", "systemInstruction", "tools"})
"""What is taken in the cloud."""


def encode_count(chat: Chat, route: Route) -> HttpRequest:
    """Return the request that asks how many tokens *chat* is."""
    request = encode(chat, route).request
    sent = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
    if route.path is None:
        name = request.url.rpartition("/v1beta/")[2].partition(":")[0]
        body = msgspec.json.encode({"generateContentRequest": {"model": name} | sent})
    else:
        body = msgspec.json.encode({field: value for field, value in sent.items() if field in CLOUD_FIELDS})
    url = request.url.rpartition(":streamGenerateContent")[0] + ":countTokens"
    return msgspec.structs.replace(request, url=url, body=body)


def decode_count(body: bytes) -> int:
    """Return the tokens of the prompt.

    Raises: SidecarError `provider_error`.
    """
    return whole_number(body, "totalTokens")
