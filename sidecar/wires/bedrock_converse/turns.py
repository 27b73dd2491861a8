"""Messages → the system blocks and turns of Amazon Bedrock's Converse API. [pure]

Must not know the options or the answer. Source: botocore 1.44.5
(`bedrock-runtime/2023-09-30/service-2.json`), read 2026-11.
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
    State,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from protocol.replies import Warn
from sidecar.core.errors import invalid_request
from sidecar.core.json_values import open_state
from sidecar.core.message_content import list_parts, read_inline_data
from sidecar.wires.bedrock_converse.models import get_base_model, get_family
from sidecar.wires.shared.errors import make_unsupported_error
from sidecar.wires.shared.state import read_own_state
from sidecar.wires.shared.tool_calls import get_arguments, pair_calls, sanitize_id
from sidecar.wires.shared.types import Route

IMAGE_FORMATS = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}

DOCUMENT_FORMATS = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
}
"""Other kinds of text are `txt`."""

MAX_DOCUMENT_NAME_CHARS = 200

NO_OUTPUT = "(no output)"
"""Stands for the empty result of a tool: a blank text is refused."""

FILLER = "."
"""The text of a turn that must have one and has none: a blank text is refused."""


def encode_conversation(
    messages: list[Message], route: Route, warnings: list[Warn]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the system blocks and the turns; consecutive turns of one role are merged.

    Raises: SidecarError `invalid_request` for content that the API cannot carry.
    """
    encoder = _MessageEncoder(route)
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(pair_calls(messages, fit_id)):
        blocks = encoder.encode_message(message, f"params.messages[{index}].content")
        role = "assistant" if message.role == "assistant" else "user"
        if message.role == "system":
            system.extend(blocks)
        elif blocks and turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise invalid_request("`params.messages` needs a turn with content beside the system text.", "params.messages")
    if turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"text": FILLER}]})
        warnings.append(_FIRST_TURN_WARNING)
    for turn in turns:
        if turn["role"] == "user":
            # The results of an assistant turn must come before anything else in the next user turn.
            turn["content"].sort(key=lambda block: "toolResult" not in block)
            _add_text_to_documents(turn["content"])
    return system, turns


_FIRST_TURN_WARNING = Warn(
    code="emulated",
    message="On this wire a conversation begins with a user turn, so one was put before the assistant's turn.",
    param="params.messages",
)


def _add_text_to_documents(content: list[dict[str, Any]]) -> None:
    """Put a text before the first document of a turn that has no text: the API refuses documents alone."""
    first = next((at for at, block in enumerate(content) if "document" in block), None)
    if first is not None and not any("text" in block for block in content):
        content.insert(first, {"text": FILLER})


class _MessageEncoder:
    """Encodes the messages of one conversation; remembers the names of its documents, which must differ."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._tool_status = get_family(route.model).tool_status
        self._document_names: set[str] = set()

    def encode_message(self, message: Message, where: str) -> list[dict[str, Any]]:
        """Return the blocks of *message*, without those that are empty or that the API would refuse."""
        blocks = (
            self._encode_part(part, message.role, f"{where}[{at}]") for at, part in enumerate(list_parts(message))
        )
        return [block for block in blocks if block is not None]

    def _encode_part(self, part: Part, role: str, where: str) -> dict[str, Any] | None:
        match part:
            case TextPart(text):
                # A blank text is refused, even one that the model wrote.
                return {"text": text} if text.strip() else None
            case ImagePart() | FilePart():
                if role not in ("user", "tool"):
                    raise make_unsupported_error(where, f"a turn of role {role} takes no images and no documents")
                return self._encode_media(part, where)
            case ReasoningPart():
                return _encode_reasoning(part, self._route)
            case ToolCallPart():
                return _encode_tool_call(part)
            case ToolResultPart():
                return self._encode_tool_result(part, where)
            case OpaquePart():
                # The API accepts images from users only, not the ones that a model made.
                return read_family_state(part.state, self._route) if part.kind != "image" else None

    def _encode_tool_result(self, part: ToolResultPart, where: str) -> dict[str, Any]:
        if isinstance(part.content, str):
            content: list[dict[str, Any]] = [{"text": part.content}] if part.content.strip() else []
        else:
            blocks = (self._encode_part(each, "tool", f"{where}.content[{at}]") for at, each in enumerate(part.content))
            content = [block for block in blocks if block is not None]
        result: dict[str, Any] = {"toolUseId": part.id, "content": content or [{"text": NO_OUTPUT}]}
        if part.is_error and self._tool_status:
            result["status"] = "error"
        return {"toolResult": result}

    def _encode_media(self, part: ImagePart | FilePart, where: str) -> dict[str, Any]:
        inline = read_inline_data(part, where)
        if inline is None:
            raise invalid_request(f"`{where}.url`: this wire takes no URLs; send the data itself.", f"{where}.url")
        media_type, data = inline
        if isinstance(part, ImagePart):
            if (image_format := IMAGE_FORMATS.get(media_type)) is None:
                raise make_unsupported_error(f"{where}.media_type", "an image must be png, jpeg, gif or webp")
            return {"image": {"format": image_format, "source": {"bytes": data}}}
        document_format = DOCUMENT_FORMATS.get(media_type) or ("txt" if media_type.startswith("text/") else None)
        if document_format is None:
            raise make_unsupported_error(f"{where}.media_type", "this wire does not take this kind of document")
        name = self._name_document(part.name or "document")
        return {"document": {"format": document_format, "name": name, "source": {"bytes": data}}}

    def _name_document(self, name: str) -> str:
        """Return *name* in the alphabet of document names, with a number when another document has that name.

        Numbers follow the order of the messages, so that a document keeps its name in the next request
        and the cached prompt stays valid.
        """
        fitted = re.sub(r"\s+", " ", re.sub(r"[^A-Za-z0-9\s()\[\]-]+", "-", name)).strip(" -") or "document"
        unique, number = fitted[:MAX_DOCUMENT_NAME_CHARS], 1
        while unique in self._document_names:
            number += 1
            suffix = f" ({number})"
            unique = fitted[: MAX_DOCUMENT_NAME_CHARS - len(suffix)] + suffix
        self._document_names.add(unique)
        return unique


def read_family_state(state: str | State | None, route: Route) -> dict[str, Any] | None:
    """Return the data of *state* when a model of the same maker left it here, else None."""
    state = open_state(state)
    data = read_own_state(state, route)
    if state is None or not isinstance(data, dict) or _get_maker(state.model) != _get_maker(route.model):
        return None
    return data


def _get_maker(model: str) -> str:
    return get_base_model(model).partition(".")[0]


def _encode_reasoning(part: ReasoningPart, route: Route) -> dict[str, Any] | None:
    # Reasoning without its signature is refused, so another model's is left out.
    state = read_family_state(part.state, route) or {}
    if state.get("redactedContent"):
        return {"reasoningContent": {"redactedContent": state["redactedContent"]}}
    if state.get("signature"):
        return {"reasoningContent": {"reasoningText": {"text": part.content, "signature": state["signature"]}}}
    return None


_FORBIDDEN_IN_IDS = re.compile(r"[^a-zA-Z0-9_.:-]")


def fit_id(call_id: str) -> str:
    """Return *call_id*, or a substitute with the characters and the length that the API accepts."""
    return sanitize_id(call_id, _FORBIDDEN_IN_IDS)


def _encode_tool_call(part: ToolCallPart) -> dict[str, Any]:
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", part.name)[:64] or "tool"
    return {"toolUse": {"toolUseId": part.id, "name": name, "input": get_arguments(part)}}
