"""Chats with Gemini for tests: what a call is encoded to, what a stream decodes to."""

import json
from typing import Any

import msgspec

from protocol.messages import Message
from protocol.options import Options
from protocol.replies import Chunk
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.wires import gemini as wire
from sidecar.wires.shared.types import Outcome, Route
from tests.support.decoding import play

ROUTE = Route(provider="mylab", wire="gemini", model="gemini-3-flash-preview", base_url="https://provider.test")
ASK = [{"role": "user", "content": "Go on."}]


def body(messages: list[Any], route: Route = ROUTE, **options: Any) -> dict[str, Any]:
    """Return the body of the request for *messages*."""
    chat = Chat(model="m", messages=msgspec.convert(messages, list[Message]), options=msgspec.convert(options, Options))
    decoded: dict[str, Any] = json.loads(wire.encode(chat, route).request.body)
    return decoded


def played(*events: Any) -> tuple[list[Chunk], Outcome | SidecarError]:
    """Return the chunks of a stream of *events* and what it amounts to."""
    stream = b"".join(b"data: %s\r\n\r\n" % json.dumps(event).encode() for event in events)
    out: list[Chunk] = []
    try:
        return out, play(ROUTE, 200, {}, [stream], out.extend)
    except SidecarError as error:
        return out, error


def chunk(*parts: Any, finish: Any = None) -> dict[str, Any]:
    """Return an event with *parts* and perhaps a reason to end."""
    return {"candidates": [{"content": {"parts": list(parts)}} | ({"finishReason": finish} if finish else {})]}


def own_parts(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of an event's first candidate."""
    first = [each for each in event.get("candidates") or [] if each and not each.get("index")]
    return [part for each in first for part in (each.get("content") or {}).get("parts") or [] if part]
