"""Messages → the contents of a Gemini request. [pure]

Knows the two roles, the parts, and what must come back unchanged: signatures, ids and blocks of
the provider's own. Sources: google-genai 3.4.0 (`types.py` Part, FunctionCall, FunctionResponse)
and https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11.
"""

import re
from typing import Any, NamedTuple

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
from sidecar.core.errors import invalid
from sidecar.core.message_content import list_parts, read_inline_data
from sidecar.wires.shared.errors import make_unsupported_error
from sidecar.wires.shared.state import read_own_state
from sidecar.wires.shared.tool_calls import get_arguments
from sidecar.wires.shared.types import Route

Contents = list[dict[str, Any]]

LEVEL_FAMILIES = re.compile(r"(?:models/)?gemini-(?:[3-9]|[1-9]\d|(?:pro|flash|flash-lite)-latest)", re.ASCII)
"""Names of the generations that think in levels and refuse a function call without a signature."""

NO_SIGNATURE = "skip_thought_signature_validator"
"""Stands for the signature of a call that these models did not make: documented for conversations that were begun
with another. They refuse a call without any; older ones have no need of it, and it is not sent to them."""

NO_RESULT = "There is no result of this call."


def thinks_in_levels(route: Route) -> bool:
    """Return whether the model's name is that of a generation that thinks in levels."""
    return LEVEL_FAMILIES.match(route.model) is not None


class _Call(NamedTuple):
    """A call that waits for its result. `server_id` is the id that the server gave it, if it did."""

    id: str
    name: str
    server_id: str | None


class _Turns:
    """The contents so far, and what the user's side has said since the model's last turn."""

    def __init__(self, route: Route) -> None:
        self.contents: Contents = []
        self._route = route
        self._calls: list[_Call] = []
        self._results: dict[str, list[tuple[ToolResultPart, str]]] = {}
        self._others: Contents = []

    def model(self, message: Message, where: str) -> None:
        """Add a message of the model."""
        self.user_done()
        parts = [(part, f"{where}[{at}]") for at, part in enumerate(list_parts(message))]
        encoded = [each for part, place in parts if (each := _model_part(part, self._route, place)) is not None]
        if thinks_in_levels(self._route):
            _sign(encoded)
        self._calls += [_call(part, self._route) for part, _ in parts if isinstance(part, ToolCallPart)]
        if encoded and self.contents and self.contents[-1]["role"] == "model":
            self.contents[-1]["parts"] += encoded
        elif encoded:
            self.contents.append({"role": "model", "parts": encoded})

    def user(self, message: Message, where: str) -> None:
        """Add a message of the user or of a tool."""
        for at, part in enumerate(list_parts(message)):
            place = f"{where}[{at}]"
            if isinstance(part, ToolResultPart):
                self._results.setdefault(part.id, []).append((part, place))
            elif (encoded := _user_part(part, self._route, place)) is not None:
                self._others.append(encoded)

    def user_done(self) -> None:
        """Make one turn of what the user's side has said: the results first, one for each call, in the calls' order."""
        if not self._results and not self._others:
            return
        responses, media = Contents(), Contents()
        for call in self._calls:
            found = self._results.get(call.id)
            part, place = found.pop(0) if found else (ToolResultPart(call.id, NO_RESULT, is_error=True), "")
            responses.append(_response(call, part))
            media += _media_of(part, place)
        for _, place in (each for left in self._results.values() for each in left):
            raise invalid(f"`{place}` answers no tool call of the turn before it.", f"{place}.id")
        said = responses + media + self._others
        if self.contents and self.contents[-1]["role"] == "user":
            # Of the model's turn between, nothing could be said here.
            self.contents[-1]["parts"] += said
        else:
            self.contents.append({"role": "user", "parts": said})
        self._calls, self._results, self._others = [], {}, []


def conversation(messages: list[Message], route: Route) -> tuple[Contents, Contents]:
    """Return the parts of the system instruction and the contents, turns of one role merged into one.

    Raises: SidecarError `invalid_request` naming the part that has no place there.
    """
    system, turns = Contents(), _Turns(route)
    for index, message in enumerate(messages):
        where = f"params.messages[{index}].content"
        if message.role == "system":
            system += _system(message, where)
        elif message.role == "assistant":
            turns.model(message, where)
        else:
            turns.user(message, where)
    turns.user_done()
    if not turns.contents:
        raise invalid("`params.messages` holds nothing that the user or the model has said.", "params.messages")
    return system, turns.contents


def _system(message: Message, where: str) -> Contents:
    texts = Contents()
    for at, part in enumerate(list_parts(message)):
        if not isinstance(part, TextPart):
            raise make_unsupported_error(f"{where}[{at}]", "a system message takes text alone")
        if part.text:
            texts.append({"text": part.text})
    return texts


def _user_part(part: Part, route: Route, where: str) -> dict[str, Any] | None:
    match part:
        case TextPart():
            # An empty text is refused.
            return {"text": part.text} if part.text else None
        case ImagePart() | FilePart():
            return _media(part, where)
        case ToolCallPart():
            raise make_unsupported_error(where, "a tool call is the assistant's")
        case OpaquePart():
            return _own(part, route) or None
        case _:
            return None


def _model_part(part: Part, route: Route, where: str) -> dict[str, Any] | None:
    match part:
        case TextPart():
            signature = _signature(part, route)
            return {"text": part.text} | signature if part.text or signature else None
        case ReasoningPart():
            # What is not signed need not come back, and another provider's must not.
            signature = _signature(part, route)
            return {"text": part.content, "thought": True} | signature if signature else None
        case ToolCallPart():
            return _function_call(part, route) | _signature(part, route)
        case ImagePart() | FilePart():
            return _media(part, where)
        case ToolResultPart():
            raise make_unsupported_error(where, "a tool result is no part of the assistant's")
        case OpaquePart():
            return _own(part, route) or None


# --- state -----------------------------------------------------------------------------------


def _own(part: TextPart | ReasoningPart | ToolCallPart | OpaquePart, route: Route) -> dict[str, Any]:
    data = read_own_state(part.state, route)
    return dict(data) if isinstance(data, dict) else {}


def _signature(part: TextPart | ReasoningPart | ToolCallPart, route: Route) -> dict[str, str]:
    signature = _own(part, route).get("thoughtSignature")
    return {"thoughtSignature": signature} if isinstance(signature, str) and signature else {}


def _sign(parts: Contents) -> None:
    """Put the stand-in on the first call of *parts* when nothing of them is signed."""
    calls = [part for part in parts if "functionCall" in part]
    # Of parallel calls the first alone is signed, and the signature may stand on the part before it.
    if calls and not any("thoughtSignature" in part for part in parts):
        calls[0]["thoughtSignature"] = NO_SIGNATURE


# --- tools -----------------------------------------------------------------------------------


def _call(part: ToolCallPart, route: Route) -> _Call:
    server_id = _own(part, route).get("id")
    return _Call(part.id, function_name(part.name), server_id if isinstance(server_id, str) else None)


def function_name(name: str) -> str:
    """Return *name*, perhaps of another provider's call, in the alphabet that the API takes."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_.:-") else "_" for c in name) or "_"
    return (plain if plain[0].isalpha() or plain[0] == "_" else f"_{plain}")[:64]


def _function_call(part: ToolCallPart, route: Route) -> dict[str, Any]:
    call = _call(part, route)
    return {"functionCall": _identified(call) | {"args": get_arguments(part)}}


def _identified(call: _Call) -> dict[str, Any]:
    # The server knows no ids but its own.
    return ({} if call.server_id is None else {"id": call.server_id}) | {"name": call.name}


def _response(call: _Call, part: ToolResultPart) -> dict[str, Any]:
    if isinstance(part.content, str):
        text = part.content
    else:
        text = "\n".join(each.text for each in part.content if isinstance(each, TextPart))
    return {"functionResponse": _identified(call) | {"response": {"error" if part.is_error else "output": text}}}


def _media_of(part: ToolResultPart, where: str) -> Contents:
    if isinstance(part.content, str):
        return []
    return [
        _media(each, f"{where}.content[{at}]")
        for at, each in enumerate(part.content)
        if isinstance(each, (ImagePart, FilePart))
    ]


# --- media -----------------------------------------------------------------------------------

MEDIA_TYPES = {
    "gif": "image/gif",
    "heic": "image/heic",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "pdf": "application/pdf",
    "png": "image/png",
    "webp": "image/webp",
}
"""By the ending of an address: a file behind one is refused without its type at some of the API's hosts."""


def _media(part: ImagePart | FilePart, where: str) -> dict[str, Any]:
    if part.data is None and part.url is not None and part.url.startswith("gs://"):
        return _file(part.url, part)
    data = read_inline_data(part, where)
    if data is None:
        return _file(part.url or "", part)
    return {"inlineData": {"mimeType": data[0], "data": data[1]}}


def _file(url: str, part: ImagePart | FilePart) -> dict[str, Any]:
    ending = url.partition("?")[0].rpartition(".")[2].lower()
    media_type = part.media_type or MEDIA_TYPES.get(ending)
    return {"fileData": {"fileUri": url} | ({"mimeType": media_type} if media_type else {})}
