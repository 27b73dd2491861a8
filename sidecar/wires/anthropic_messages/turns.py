"""Messages → the system blocks and turns of the Messages API. [pure]

Must not know the options or the answer. Source: anthropic 2.11.0 (`types/*_param.py`), read 2026-11.
"""

import re
from typing import Any

from protocol.messages import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from sidecar.core.message_content import decode_text, list_parts, read_inline_data
from sidecar.wires.shared.state import read_own_fields
from sidecar.wires.shared.tool_calls import get_arguments, pair_calls, sanitize_id
from sidecar.wires.shared.types import Route

FILLER = "."
"""The text of a turn that must be there and says nothing: a blank text is refused."""

_FORBIDDEN = re.compile("[^a-zA-Z0-9_-]")
"""Characters that the API refuses in ids and names."""

MAX_NAME_CHARS = 128


def encode_conversation(messages: list[Message], route: Route) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the system blocks and the turns; consecutive turns of one role are merged."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(pair_calls(messages, fit_id, fit_name)):
        where = f"params.messages[{index}].content"
        blocks = [
            block
            for at, part in enumerate(list_parts(message))
            if (block := _encode_part(part, message.role, route, f"{where}[{at}]")) is not None
        ]
        if message.role == "system":
            system.extend(blocks)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    if turns and turns[0]["role"] == "assistant":
        # The API wants a user turn first.
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": FILLER}]})
    for turn in turns:
        if turn["role"] == "user":
            # The results of an assistant turn must come before anything else in the next user turn.
            turn["content"].sort(key=lambda block: block.get("type") != "tool_result")
    return system, turns


def fit_id(call_id: str) -> str:
    """Return *call_id*, or a substitute in the alphabet that the API accepts: letters, digits, `_` and `-`."""
    return sanitize_id(call_id, _FORBIDDEN)


def fit_name(name: str) -> str:
    """Return *name*, which may come from another provider's call, in the alphabet that the API accepts."""
    return _FORBIDDEN.sub("_", name)[:MAX_NAME_CHARS] or "_"


def _encode_part(part: Part, role: str, route: Route, where: str) -> dict[str, Any] | None:
    match part:
        case TextPart():
            return _encode_text(part, role, route)
        case ImagePart() | FilePart():
            return _encode_media(part, where)
        case ReasoningPart():
            return _encode_reasoning(part, route)
        case ToolCallPart():
            fields = read_own_fields(part.state, route)
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": get_arguments(part)} | fields
        case ToolResultPart():
            return _encode_tool_result(part, where, route)
        case OpaquePart():
            # A copy, because cache marks are added to blocks.
            return dict(read_own_fields(part.state, route)) or None


def _encode_text(part: TextPart, role: str, route: Route) -> dict[str, Any] | None:
    # A blank text is refused, even one that the model wrote.
    if not part.text.strip():
        return None
    # Citations are refused in a user turn.
    citations = read_own_fields(part.state, route) if role == "assistant" else {}
    return {"type": "text", "text": part.text} | citations


def _encode_reasoning(part: ReasoningPart, route: Route) -> dict[str, Any] | None:
    # A thinking block without its signature is refused, so another provider's is left out.
    state = read_own_fields(part.state, route)
    if state.get("data"):
        return {"type": "redacted_thinking", "data": state["data"]}
    if state.get("signature"):
        return {"type": "thinking", "thinking": part.content, "signature": state["signature"]}
    return None


def _encode_tool_result(part: ToolResultPart, where: str, route: Route) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.id}
    if isinstance(part.content, str):
        block["content"] = part.content
    else:
        inner = (_encode_part(each, "tool", route, f"{where}.content[{at}]") for at, each in enumerate(part.content))
        block["content"] = [each for each in inner if each is not None]
    if part.is_error:
        block["is_error"] = True
    return block


def _encode_media(part: ImagePart | FilePart, where: str) -> dict[str, Any]:
    kind = "image" if isinstance(part, ImagePart) else "document"
    inline = read_inline_data(part, where)
    source: dict[str, Any]
    if inline is None:
        source = {"type": "url", "url": part.url}
    elif kind == "document" and inline[0].startswith("text/"):
        source = {"type": "text", "media_type": "text/plain", "data": decode_text(inline[1], where)}
    else:
        source = {"type": "base64", "media_type": inline[0], "data": inline[1]}
    block: dict[str, Any] = {"type": kind, "source": source}
    if isinstance(part, FilePart) and part.name:
        block["title"] = part.name
    return block
