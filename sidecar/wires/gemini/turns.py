"""Messages → the contents of a Gemini request. [pure]

Knows the two roles, the parts, and what must come back unchanged: signatures, ids and opaque parts.
Sources: google-genai 3.4.0 (`types.py` Part, FunctionCall, FunctionResponse) and
https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11.
"""

from typing import Any, NamedTuple

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
from sidecar.core.errors import invalid_request
from sidecar.core.message_content import list_parts, read_inline_data
from sidecar.wires.gemini.thinking import thinks_in_levels
from sidecar.wires.shared.errors import make_unsupported_error
from sidecar.wires.shared.state import read_own_fields
from sidecar.wires.shared.tool_calls import NO_RESULT, get_arguments
from sidecar.wires.shared.types import Route
from sidecar.wires.shared.undeclared_calls import restore_calls

Contents = list[dict[str, Any]]

NO_SIGNATURE = "skip_thought_signature_validator"
"""Stands for the signature of a call that another provider's model made. The models that think in levels refuse a
call without a signature, and document this value; older models do not need it, and do not get it."""


def encode_conversation(messages: list[Message], route: Route) -> tuple[Contents, Contents]:
    """Return the parts of the system instruction, and the contents; consecutive turns of one role are merged.

    Raises: SidecarError `invalid_request` naming a part that the API cannot carry in its place.
    """
    system, conversation = Contents(), _Conversation(route)
    for index, message in enumerate(map(restore_calls, messages)):
        where = f"params.messages[{index}].content"
        if message.role == "system":
            system += _encode_system(message, where)
        elif message.role == "assistant":
            conversation.add_model_message(message, where)
        else:
            conversation.add_user_message(message, where)
    conversation.end_user_turn()
    if not conversation.contents:
        raise invalid_request("`params.messages` has no content of the user or the model.", "params.messages")
    return system, conversation.contents


class _PendingCall(NamedTuple):
    """A call that waits for its result. `server_id` is the id that the server gave to it, if any."""

    id: str
    name: str
    server_id: str | None


class _Conversation:
    """The contents so far, and what the user's side has added since the model's last turn."""

    def __init__(self, route: Route) -> None:
        self.contents: Contents = []
        self._route = route
        self._calls: list[_PendingCall] = []
        self._results: dict[str, list[tuple[ToolResultPart, str]]] = {}
        """Results and their places by the id of their call."""
        self._user_parts: Contents = []

    def add_model_message(self, message: Message, where: str) -> None:
        """Add a message of the model."""
        self.end_user_turn()
        parts = [(part, f"{where}[{at}]") for at, part in enumerate(list_parts(message))]
        encoded = [each for part, place in parts if (each := _encode_model_part(part, self._route, place)) is not None]
        if thinks_in_levels(self._route):
            _sign_first_call(encoded)
        self._calls += [_make_pending_call(part, self._route) for part, _ in parts if isinstance(part, ToolCallPart)]
        if encoded and self.contents and self.contents[-1]["role"] == "model":
            self.contents[-1]["parts"] += encoded
        elif encoded:
            self.contents.append({"role": "model", "parts": encoded})

    def add_user_message(self, message: Message, where: str) -> None:
        """Add a message of the user or of a tool."""
        for at, part in enumerate(list_parts(message)):
            place = f"{where}[{at}]"
            if isinstance(part, ToolResultPart):
                self._results.setdefault(part.id, []).append((part, place))
            elif (encoded := _encode_user_part(part, self._route, place)) is not None:
                self._user_parts.append(encoded)

    def end_user_turn(self) -> None:
        """Make one turn of the user's side: first the results, one for each call in the order of the calls."""
        if not self._results and not self._user_parts:
            return
        responses, media = Contents(), Contents()
        for call in self._calls:
            results = self._results.get(call.id)
            part, place = results.pop(0) if results else (ToolResultPart(call.id, NO_RESULT, is_error=True), "")
            responses.append(_encode_response(call, part))
            media += _encode_result_media(part, place)
        for _, place in (orphan for results in self._results.values() for orphan in results):
            raise invalid_request(f"`{place}` answers no tool call of the turn before it.", f"{place}.id")
        parts = responses + media + self._user_parts
        if self.contents and self.contents[-1]["role"] == "user":
            # Nothing of the model's turn between them could be encoded.
            self.contents[-1]["parts"] += parts
        else:
            self.contents.append({"role": "user", "parts": parts})
        self._calls, self._results, self._user_parts = [], {}, []


def _encode_system(message: Message, where: str) -> Contents:
    texts = Contents()
    for at, part in enumerate(list_parts(message)):
        if not isinstance(part, TextPart):
            raise make_unsupported_error(f"{where}[{at}]", "a system message takes only text")
        if part.text:
            texts.append({"text": part.text})
    return texts


def _encode_user_part(part: Part, route: Route, where: str) -> dict[str, Any] | None:
    match part:
        case TextPart():
            # An empty text is refused.
            return {"text": part.text} if part.text else None
        case ImagePart() | FilePart():
            return _encode_media(part, where)
        case ToolCallPart():
            raise make_unsupported_error(where, "a tool call belongs in an assistant message")
        case OpaquePart():
            return dict(read_own_fields(part.state, route)) or None
        case _:
            return None


def _encode_model_part(part: Part, route: Route, where: str) -> dict[str, Any] | None:
    match part:
        case TextPart():
            signature = _read_signature(part.state, route)
            return {"text": part.text} | signature if part.text or signature else None
        case ReasoningPart():
            # Reasoning without a signature need not come back, and another provider's must not.
            signature = _read_signature(part.state, route)
            return {"text": part.content, "thought": True} | signature if signature else None
        case ToolCallPart():
            return _encode_call(part, route) | _read_signature(part.state, route)
        case ImagePart() | FilePart():
            return _encode_media(part, where)
        case ToolResultPart():
            raise make_unsupported_error(where, "a tool result does not belong in an assistant message")
        case OpaquePart():
            return dict(read_own_fields(part.state, route)) or None


def _read_signature(state: str | State | None, route: Route) -> dict[str, str]:
    signature = read_own_fields(state, route).get("thoughtSignature")
    return {"thoughtSignature": signature} if isinstance(signature, str) and signature else {}


def _sign_first_call(parts: Contents) -> None:
    """Put NO_SIGNATURE on the first call of *parts* when none of them is signed."""
    calls = [part for part in parts if "functionCall" in part]
    # Of parallel calls only the first is signed, and the signature may stand on the part before it.
    if calls and not any("thoughtSignature" in part for part in parts):
        calls[0]["thoughtSignature"] = NO_SIGNATURE


# --- tools -----------------------------------------------------------------------------------


def _make_pending_call(part: ToolCallPart, route: Route) -> _PendingCall:
    server_id = read_own_fields(part.state, route).get("id")
    return _PendingCall(part.id, fit_name(part.name), server_id if isinstance(server_id, str) else None)


def fit_name(name: str) -> str:
    """Return *name*, which may come from another provider's call, in the alphabet that the API accepts."""
    fitted = "".join(c if c.isascii() and (c.isalnum() or c in "_.:-") else "_" for c in name) or "_"
    return (fitted if fitted[0].isalpha() or fitted[0] == "_" else f"_{fitted}")[:64]


def _encode_call(part: ToolCallPart, route: Route) -> dict[str, Any]:
    return {"functionCall": _identify(_make_pending_call(part, route)) | {"args": get_arguments(part)}}


def _identify(call: _PendingCall) -> dict[str, Any]:
    # The server knows only ids of its own.
    return ({} if call.server_id is None else {"id": call.server_id}) | {"name": call.name}


def _encode_response(call: _PendingCall, part: ToolResultPart) -> dict[str, Any]:
    if isinstance(part.content, str):
        text = part.content
    else:
        text = "\n".join(each.text for each in part.content if isinstance(each, TextPart))
    return {"functionResponse": _identify(call) | {"response": {"error" if part.is_error else "output": text}}}


def _encode_result_media(part: ToolResultPart, where: str) -> Contents:
    if isinstance(part.content, str):
        return []
    return [
        _encode_media(each, f"{where}.content[{at}]")
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
"""By the extension in a URL: some hosts of the API refuse a file at a URL without its type."""


def _encode_media(part: ImagePart | FilePart, where: str) -> dict[str, Any]:
    if part.data is None and part.url is not None and part.url.startswith("gs://"):
        return _encode_url(part.url, part)
    inline = read_inline_data(part, where)
    if inline is None:
        return _encode_url(part.url or "", part)
    return {"inlineData": {"mimeType": inline[0], "data": inline[1]}}


def _encode_url(url: str, part: ImagePart | FilePart) -> dict[str, Any]:
    extension = url.partition("?")[0].rpartition(".")[2].lower()
    media_type = part.media_type or MEDIA_TYPES.get(extension)
    return {"fileData": {"fileUri": url} | ({"mimeType": media_type} if media_type else {})}
