"""Messages → the input items of the Responses API. [pure]

Must not know the options or the answer. Sources: openai 3.52.0
(`types/responses/response_input_item_param.py`) and the guides on reasoning and file inputs, read 2026-11.
"""

import hashlib
from typing import Any

import msgspec

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
from sidecar.core.message_content import list_parts, read_inline_data
from sidecar.wires.shared.errors import make_unsupported_error
from sidecar.wires.shared.state import read_own_fields, read_own_state
from sidecar.wires.shared.tool_calls import Fit, pair_calls
from sidecar.wires.shared.types import Route

MAX_CALL_ID_CHARS = 64
"""A longer `call_id` is refused."""

EXTENSIONS = {"text/plain": "txt", "text/markdown": "md"}
"""The extension for a file without a name, where it is not the second half of the media type."""

CUSTOM = "custom_tool_call"
"""The type of a call whose input is free text and not JSON."""

CUSTOM_OUTPUT = "custom_tool_call_output"

OUTPUTS = frozenset({"function_call_output", CUSTOM_OUTPUT})
"""The items that come from the caller, beside the messages that are not the assistant's."""


def encode_conversation(messages: list[Message], route: Route, fit_name: Fit) -> list[dict[str, Any]]:
    """Return all input items in the order of the messages and their parts."""
    items: list[dict[str, Any]] = []
    for index, message in enumerate(pair_calls(messages, fit_id, fit_name)):
        items.extend(_encode_message(message, route, f"params.messages[{index}].content"))
    custom_ids = {item["call_id"] for item in items if item["type"] == CUSTOM}
    for item in items:
        if item["type"] in OUTPUTS and item["call_id"] in custom_ids:
            item["type"] = CUSTOM_OUTPUT
    return _drop_orphaned_reasoning(items)


def encode_system_text(text: str, route: Route) -> dict[str, Any]:
    """Return a system message with *text*."""
    return {"type": "message", "role": _get_system_role(route), "content": [_encode_input_text(text)]}


def fit_id(call_id: str) -> str:
    """Return *call_id*, or its digest, always the same one, when it is empty or too long for the API."""
    if 0 < len(call_id) <= MAX_CALL_ID_CHARS:
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:MAX_CALL_ID_CHARS]


def _drop_orphaned_reasoning(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *items* without reasoning that no item of the model follows, as after an interrupted turn.

    The API refuses it as "provided without its required following item".
    """
    kept: list[dict[str, Any]] = []
    is_followed = False
    for item in reversed(items):
        if item.get("type") != "reasoning":
            is_followed = item.get("role", "assistant") == "assistant" and item.get("type") not in OUTPUTS
        elif not is_followed:
            continue
        kept.append(item)
    return kept[::-1]


def _encode_message(message: Message, route: Route, where: str) -> list[dict[str, Any]]:
    role = _get_role(message, route)
    items: list[dict[str, Any]] = []
    for at, part in enumerate(list_parts(message)):
        match part:
            case TextPart() | ImagePart() | FilePart():
                _add_content(items, part, role, route, f"{where}[{at}]")
            case ReasoningPart() | OpaquePart():
                items.extend(_read_own_item(part, route))
            case ToolCallPart():
                items.append(_encode_call(part, route))
            case ToolResultPart():
                items.append(_encode_result(part, f"{where}[{at}]"))
    return items


def _get_role(message: Message, route: Route) -> str:
    return {"system": _get_system_role(route), "tool": "user"}.get(message.role, message.role)


def _get_system_role(route: Route) -> str:
    # Reasoning models have another name for it.
    return "developer" if route.facts.reasoning else "system"


# --- content ---------------------------------------------------------------------------------


def _add_content(items: list[dict[str, Any]], part: Part, role: str, route: Route, where: str) -> None:
    """Append *part* to the last message when it has the same fields, or begin a new one."""
    content = _encode_content(part, role, where)
    if content is None:
        return
    state = read_own_fields(part.state, route) if isinstance(part, TextPart) and role == "assistant" else {}
    fields = {"type": "message", "role": role} | ({"status": "completed"} if role == "assistant" else {})
    if state.get("phase"):
        # The phase tells a commentary from the final answer; without it the model does worse.
        fields["phase"] = state["phase"]
    last = items[-1] if items else {}
    if {key: value for key, value in last.items() if key != "content"} == fields:
        last["content"].append(content)
    else:
        items.append(fields | {"content": [content]})


def _encode_content(part: Part, role: str, where: str) -> dict[str, Any] | None:
    match part:
        case TextPart():
            return _encode_text(part, role) if part.text else None
        case ImagePart() | FilePart() if role == "assistant":
            raise make_unsupported_error(where, "an assistant message takes only text")
        case ImagePart():
            inline = read_inline_data(part, where)
            url = part.url if inline is None else f"data:{inline[0]};base64,{inline[1]}"
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        case FilePart():
            return _encode_file(part, where)
    return None


def _encode_text(part: TextPart, role: str) -> dict[str, Any]:
    if role != "assistant":
        return _encode_input_text(part.text)
    if part.refusal:
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": []}


def _encode_input_text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def _encode_file(part: FilePart, where: str) -> dict[str, Any]:
    inline = read_inline_data(part, where)
    if inline is None:
        # A name beside a URL is refused.
        return {"type": "input_file", "file_url": part.url}
    media_type, data = inline
    name = part.name or f"document.{EXTENSIONS.get(media_type, media_type.rpartition('/')[2])}"
    return {"type": "input_file", "filename": name, "file_data": f"data:{media_type};base64,{data}"}


# --- other items -----------------------------------------------------------------------------


def _read_own_item(part: ReasoningPart | OpaquePart, route: Route) -> list[dict[str, Any]]:
    """Return the item as this provider made it, or none: another provider's item is useless here."""
    item = read_own_state(part.state, route)
    if not isinstance(item, dict):
        return []
    if isinstance(part, ReasoningPart):
        # The items are not stored, so the id of an item without content refers to nothing.
        has_content = item.get("encrypted_content") or item.get("content")
        if not has_content or route.facts.reasoning is False:
            return []
    return [item]


def _encode_call(part: ToolCallPart, route: Route) -> dict[str, Any]:
    text = part.arguments_text
    if text is None:
        text = msgspec.json.encode(part.arguments or {}).decode()
    state = read_own_fields(part.state, route)
    if state.get("type") == CUSTOM:
        return {"call_id": part.id, "name": part.name, "input": text} | state
    return {
        "type": "function_call",
        "call_id": part.id,
        "name": part.name,
        "arguments": text if text.strip() else "{}",
    } | state


def _encode_result(part: ToolResultPart, where: str) -> dict[str, Any]:
    output: str | list[dict[str, Any]]
    if isinstance(part.content, str):
        output = part.content
    elif all(isinstance(each, TextPart) for each in part.content):
        # Many servers of this API take only text here.
        output = "\n".join(each.text for each in part.content if isinstance(each, TextPart))
    else:
        encoded = (_encode_content(each, "tool", f"{where}.content[{at}]") for at, each in enumerate(part.content))
        output = [each for each in encoded if each is not None]
    return {"type": "function_call_output", "call_id": part.id, "output": output}
