"""Messages → the system blocks and turns of Amazon Bedrock's Converse API. [pure]

Must not know the options or the answer. Sources: botocore 1.44.5 (`bedrock-runtime/2023-09-30/
service-2.json`), read 2026-11.
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
from sidecar.core.errors import invalid
from sidecar.core.message_content import list_parts, read_inline_data
from sidecar.wires.bedrock_converse.models import base_model, family
from sidecar.wires.shared import calls
from sidecar.wires.shared.draft import parse_arguments
from sidecar.wires.shared.errors import make_unsupported_error
from sidecar.wires.shared.state import read_own_state
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
"""The text of a turn that must have one and has none: what is blank would be refused."""


def conversation(
    messages: list[Message], route: Route, warnings: list[Warn]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the system blocks and the turns, consecutive turns of one role merged into one.

    Raises: SidecarError `invalid_request` for what the API has no place for.
    """
    blocks = _Blocks(route)
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(calls.paired(messages, tool_id)):
        made = blocks.of(message, f"params.messages[{index}].content")
        role = "assistant" if message.role == "assistant" else "user"
        if message.role == "system":
            system.extend(made)
        elif made and turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(made)
        elif made:
            turns.append({"role": role, "content": made})
    if not turns:
        raise invalid("`params.messages` needs a turn with content beside the system text.", "params.messages")
    if turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"text": FILLER}]})
        warnings.append(_FIRST_TURN_WARNING)
    for turn in turns:
        if turn["role"] == "user":
            # The results of an assistant turn must come before anything else in the next user turn.
            turn["content"].sort(key=lambda block: "toolResult" not in block)
            _accompany(turn["content"])
    return system, turns


def _accompany(content: list[dict[str, Any]]) -> None:
    """Put a text before the first document of a turn that has none: documents go with a text."""
    first = next((at for at, block in enumerate(content) if "document" in block), None)
    if first is not None and not any("text" in block for block in content):
        content.insert(first, {"text": FILLER})


class _Blocks:
    """The blocks of one conversation's messages; remembers the names of its documents, which must differ."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._tool_status = family(route.model).tool_status
        self._document_names: set[str] = set()

    def of(self, message: Message, where: str) -> list[dict[str, Any]]:
        """Return the blocks of *message*, without those that the API would refuse or that say nothing."""
        made = (self._block(part, message.role, f"{where}[{at}]") for at, part in enumerate(list_parts(message)))
        return [block for block in made if block is not None]

    def _block(self, part: Part, role: str, where: str) -> dict[str, Any] | None:
        match part:
            case TextPart(text):
                # A text of nothing but blanks is refused, even one that the model wrote.
                return {"text": text} if text.strip() else None
            case ImagePart() | FilePart():
                if role not in ("user", "tool"):
                    raise make_unsupported_error(where, f"images and documents have no place in a turn of role {role}")
                return self._media(part, where)
            case ReasoningPart():
                return _thought(part, self._route)
            case ToolCallPart():
                return _tool_use(part)
            case ToolResultPart():
                return self._tool_result(part, where)
            case OpaquePart():
                # An image that a model made is taken from users alone.
                return own_state(part.state, self._route) if part.kind != "image" else None

    def _tool_result(self, part: ToolResultPart, where: str) -> dict[str, Any]:
        if isinstance(part.content, str):
            content: list[dict[str, Any]] = [{"text": part.content}] if part.content.strip() else []
        else:
            made = (self._block(each, "tool", f"{where}.content[{at}]") for at, each in enumerate(part.content))
            content = [block for block in made if block is not None]
        result: dict[str, Any] = {"toolUseId": part.id, "content": content or [{"text": NO_OUTPUT}]}
        if part.is_error and self._tool_status:
            result["status"] = "error"
        return {"toolResult": result}

    def _media(self, part: ImagePart | FilePart, where: str) -> dict[str, Any]:
        data = read_inline_data(part, where)
        if data is None:
            raise invalid(f"`{where}.url`: send the data itself; this wire takes no addresses.", f"{where}.url")
        media_type, encoded = data
        if isinstance(part, ImagePart):
            if (image := IMAGE_FORMATS.get(media_type)) is None:
                raise make_unsupported_error(f"{where}.media_type", "images are png, jpeg, gif or webp")
            return {"image": {"format": image, "source": {"bytes": encoded}}}
        document = DOCUMENT_FORMATS.get(media_type) or ("txt" if media_type.startswith("text/") else None)
        if document is None:
            raise make_unsupported_error(f"{where}.media_type", "this kind of document is not taken")
        name = self._document_name(part.name or "document")
        return {"document": {"format": document, "name": name, "source": {"bytes": encoded}}}

    def _document_name(self, wanted: str) -> str:
        """Return *wanted* in the alphabet of document names, with a number where another has that name.

        Numbers are given in the order of the messages, so that a document keeps its name in the next request and what
        is cached stays good.
        """
        plain = re.sub(r"\s+", " ", re.sub(r"[^A-Za-z0-9\s()\[\]-]+", "-", wanted)).strip(" -") or "document"
        name, number = plain[:MAX_DOCUMENT_NAME_CHARS], 1
        while name in self._document_names:
            number += 1
            suffix = f" ({number})"
            name = plain[: MAX_DOCUMENT_NAME_CHARS - len(suffix)] + suffix
        self._document_names.add(name)
        return name


_FIRST_TURN_WARNING = Warn(
    code="emulated",
    message="A conversation begins with a user turn on this wire: one was put before the assistant's.",
    param="params.messages",
)


def own_state(state: State | None, route: Route) -> dict[str, Any] | None:
    """Return the data of *state* when a model of this family left it, else None."""
    data = read_own_state(state, route)
    if state is None or not isinstance(data, dict) or _maker(state.model) != _maker(route.model):
        return None
    return data


def _maker(model: str) -> str:
    return base_model(model).partition(".")[0]


def _thought(part: ReasoningPart, route: Route) -> dict[str, Any] | None:
    # Text without its signature is refused, so another model's thoughts are left out.
    own = own_state(part.state, route) or {}
    if own.get("redactedContent"):
        return {"reasoningContent": {"redactedContent": own["redactedContent"]}}
    if own.get("signature"):
        return {"reasoningContent": {"reasoningText": {"text": part.content, "signature": own["signature"]}}}
    return None


_OUTSIDE_IDS = re.compile(r"[^a-zA-Z0-9_.:-]")


def tool_id(call_id: str) -> str:
    """Return *call_id*, or another for it when it has letters or a length that the API refuses."""
    return calls.within(call_id, _OUTSIDE_IDS)


def _tool_use(part: ToolCallPart) -> dict[str, Any]:
    arguments = parse_arguments(part.arguments_text or "") if part.arguments is None else part.arguments
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", part.name)[:64] or "tool"
    return {"toolUse": {"toolUseId": part.id, "name": name, "input": arguments or {}}}
