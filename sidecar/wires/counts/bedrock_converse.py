"""Tokens counted by Amazon Bedrock, `POST /model/{id}/count-tokens`. [pure]

The endpoint takes the fields of Converse that make the prompt, and the id of the model itself,
not that of an inference profile. Source: botocore 1.44.5 (`bedrock-runtime/2023-09-30/service-2.json`),
read 2026-11.
"""

from urllib.parse import quote

import msgspec

from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.wires.bedrock_converse.errors import classify
from sidecar.wires.bedrock_converse.models import get_base_model
from sidecar.wires.bedrock_converse.request import encode
from sidecar.wires.counts.replies import read_token_count
from sidecar.wires.shared.types import Route

__all__ = ["EXACT", "classify", "decode_count", "encode_count"]

EXACT = True

FIELDS = frozenset({"additionalModelRequestFields", "messages", "system", "toolConfig"})
"""The fields that the endpoint takes."""


def encode_count(chat: Chat, route: Route) -> HttpRequest:
    """Return the request that asks how many tokens *chat* has."""
    request = encode(chat, route).request
    fields = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
    converse = {name: value for name, value in fields.items() if name in FIELDS}
    return msgspec.structs.replace(
        request,
        url=f"{route.base_url}/model/{quote(get_base_model(route.model), safe='-._~')}/count-tokens",
        body=msgspec.json.encode({"input": {"converse": converse}}),
    )


def decode_count(body: bytes) -> int:
    """Return the tokens of the prompt in a reply of status 200.

    Raises: SidecarError `provider_error`.
    """
    return read_token_count(body, "inputTokens")
