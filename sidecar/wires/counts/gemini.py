"""Tokens counted by Gemini's `countTokens`, at AI Studio and in the cloud. [pure]

The plain form of AI Studio counts only contents, so the whole request of the chat goes into its
other form; the cloud takes the fields that count beside the contents. Sources: google-genai 3.4.0
(`models.py` `_CountTokensConfig_to_vertex`) and https://ai.google.dev/api/tokens, read 2026-11.
"""

import msgspec

from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.wires.counts.replies import read_token_count
from sidecar.wires.gemini.errors import classify
from sidecar.wires.gemini.request import encode
from sidecar.wires.shared.types import Route

__all__ = ["EXACT", "classify", "decode_count", "encode_count"]

EXACT = True

CLOUD_FIELDS = frozenset({"contents", "generationConfig", "systemInstruction", "tools"})
"""The fields that the cloud takes."""


def encode_count(chat: Chat, route: Route) -> HttpRequest:
    """Return the request that asks how many tokens *chat* has."""
    request = encode(chat, route).request
    fields = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
    if route.path is None:
        name = request.url.rpartition("/v1beta/")[2].partition(":")[0]
        body = msgspec.json.encode({"generateContentRequest": {"model": name} | fields})
    else:
        body = msgspec.json.encode({field: value for field, value in fields.items() if field in CLOUD_FIELDS})
    url = request.url.rpartition(":streamGenerateContent")[0] + ":countTokens"
    return msgspec.structs.replace(request, url=url, body=body)


def decode_count(body: bytes) -> int:
    """Return the tokens of the prompt in a reply of status 200.

    Raises: SidecarError `provider_error`.
    """
    return read_token_count(body, "totalTokens")
