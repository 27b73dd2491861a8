"""Messages → the messages of Chat Completions. [pure]

Knows the roles, the parts and, by the columns of `Quirks`, where the imitations differ. Must not know
the options or the answer. Sources: openai 3.52.0 (`types/chat/chat_completion_message_param.py`),
openrouter 1.3.84, groq 1.7.0, cerebras_cloud_sdk 1.91.0, mistralai 3.7.0, read 2026-11.
"""

import hashlib
import re
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec

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
from sidecar.core.json_values import open_state, read_object
from sidecar.core.message_content import decode_text, list_parts, read_inline_data
from sidecar.wires.shared.errors import make_unsupported_error
from sidecar.wires.shared.state import read_own_state
from sidecar.wires.shared.tool_calls import Fit, pair_calls
from sidecar.wires.shared.types import Route

TEXT_ECHOES = frozenset({"reasoning", "reasoning_content", "reasoning_text"})
"""The fields that take reasoning back as plain text."""

AFTER_RESULTS = {"role": "assistant", "content": "Done."}
"""Stands between tool results and a user message, where one must not follow the other."""

_NINE = re.compile("[a-zA-Z0-9]{9}")


def encode_conversation(messages: list[Message], route: Route, fit_name: Fit) -> list[dict[str, Any]]:
    """Return the messages of the request: each tool result is a message of its own, right after its call."""
    turns: list[dict[str, Any]] = []
    # Content of the user's side that waits until all results of the turn have been added.
    held: list[dict[str, Any]] = []
    last_user = max((at for at, message in enumerate(messages) if _is_users_own(message)), default=-1)
    for index, message in enumerate(pair_calls(messages, partial(_fit_id, route=route), fit_name)):
        where = f"params.messages[{index}].content"
        if message.role in ("user", "tool"):
            has_own_content = _take_user_side(message, where, turns, held)
            if message.role == "tool" or not has_own_content:
                # Nothing may stand between the results of one turn, so the content that they cannot hold waits.
                continue
        _flush(held, turns)
        if message.role == "system":
            turns.append({"role": route.quirks.system_role, "content": _join_system_text(message, where)})
        elif message.role == "assistant" and (
            turn := _encode_assistant(message, route, where, is_current=index > last_user)
        ):
            turns.append(turn)
    _flush(held, turns)
    return turns if route.quirks.user_after_results else _separate_results(turns)


def _separate_results(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *turns* with an assistant message between tool results and a user message."""
    separated = turns[:1]
    for before, turn in pairwise(turns):
        separated += [AFTER_RESULTS, turn] if (before["role"], turn["role"]) == ("tool", "user") else [turn]
    return separated


def _is_users_own(message: Message) -> bool:
    """Return whether *message* is the user's own: some hosts put tool results into that role."""
    return message.role == "user" and not all(isinstance(part, ToolResultPart) for part in list_parts(message))


# --- the user's side -------------------------------------------------------------------------


def _take_user_side(message: Message, where: str, turns: list[dict[str, Any]], held: list[dict[str, Any]]) -> bool:
    """Add the tool results of *message* to *turns* and its own content to *held*; return whether it has any."""
    has_own_content = False
    for at, part in enumerate(list_parts(message)):
        if isinstance(part, ToolResultPart):
            text, media = _encode_result(part, f"{where}[{at}]")
            result = {"role": "tool", "tool_call_id": part.id, "content": text}
            turns.insert(_find_result_place(part.id, turns), result)
            if media:
                held += [{"type": "text", "text": f"What the tool call {part.id} returned:"}, *media]
        else:
            held.append(_encode_content(part, f"{where}[{at}]"))
            has_own_content = True
    return has_own_content


def _find_result_place(call_id: str, turns: list[dict[str, Any]]) -> int:
    """Return where the result of a call belongs in *turns*: after the results of the calls beside it."""
    end = len(turns)
    for at in range(end - 1, -1, -1):
        if any(call["id"] == call_id for call in turns[at].get("tool_calls", ())):
            return next((after for after in range(at + 1, end) if turns[after]["role"] != "tool"), end)
    return end


def _flush(held: list[dict[str, Any]], turns: list[dict[str, Any]]) -> None:
    """Move the *held* content into one user message."""
    if held:
        turns.append({"role": "user", "content": _simplify_content(held)})
        held.clear()


def _simplify_content(content: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return *content* as a plain string when it is only text: not every imitation takes a list."""
    if all(part["type"] == "text" for part in content):
        return "\n\n".join(part["text"] for part in content)
    return [part for part in content if part.get("text") != ""]


def _join_system_text(message: Message, where: str) -> str:
    parts = list_parts(message)
    if others := [at for at, part in enumerate(parts) if not isinstance(part, TextPart)]:
        raise make_unsupported_error(f"{where}[{others[0]}]", "a system message takes only text on this wire")
    return "\n\n".join(part.text for part in parts if isinstance(part, TextPart))


def _encode_content(part: Part, where: str) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, ImagePart):
        return _encode_image(part, where)
    if isinstance(part, FilePart):
        return _encode_file(part, where)
    raise make_unsupported_error(where, "a user message takes `text`, `image`, `file` and `tool_result` parts")


def _encode_image(part: ImagePart, where: str) -> dict[str, Any]:
    inline = read_inline_data(part, where)
    image = {"url": part.url if inline is None else f"data:{inline[0]};base64,{inline[1]}"}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _encode_file(part: FilePart, where: str) -> dict[str, Any]:
    inline = read_inline_data(part, where)
    if inline is None:
        raise make_unsupported_error(f"{where}.url", "this wire takes a file only as `data` or as a data: URL")
    media_type, data = inline
    if media_type.startswith("text/"):
        return {"type": "text", "text": decode_text(data, where)}
    name = part.name or f"document.{media_type.rpartition('/')[2]}"
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{media_type};base64,{data}"}}


def _encode_result(part: ToolResultPart, where: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the text of a tool result, and the parts that a tool message cannot hold."""
    content = [TextPart(part.content)] if isinstance(part.content, str) else part.content
    encoded = [_encode_content(each, f"{where}.content[{at}]") for at, each in enumerate(content)]
    media = [each for each in encoded if each["type"] != "text"]
    text = "\n\n".join(each["text"] for each in encoded if each["type"] == "text")
    if not text and media:
        text = "See the next user message."
    # The API has no field for an error, and the model must see that its call failed.
    return (f"Error: {text}" if part.is_error else text), media


# --- the assistant's side --------------------------------------------------------------------


class _AssistantTurn(msgspec.Struct):
    """The parts of an assistant message, by the fields that they go into."""

    texts: list[str] = []
    refusals: list[str] = []
    reasoning: list[str] = []
    opaque: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    fields: dict[str, Any] = {}


def _encode_assistant(message: Message, route: Route, where: str, *, is_current: bool) -> dict[str, Any] | None:
    """Return an assistant message, or None when this wire can carry none of it."""
    turn = _AssistantTurn()
    for at, part in enumerate(list_parts(message)):
        if not isinstance(part, ReasoningPart):
            _sort_part(part, turn, route, f"{where}[{at}]")
        elif _wants_reasoning_back(route, is_current=is_current) and (
            (state := _read_model_state(part.state, route)) is not None
        ):
            turn.reasoning.append(part.content)
            turn.fields |= state
    content = _encode_assistant_content(turn, route)
    if turn.refusals:
        turn.fields["refusal"] = "".join(turn.refusals)
    if turn.calls:
        turn.fields["tool_calls"] = turn.calls
    if not (content or turn.refusals or turn.calls):
        return None
    return {"role": "assistant", "content": content} | turn.fields


def _sort_part(part: Part, turn: _AssistantTurn, route: Route, where: str) -> None:
    match part:
        case TextPart():
            is_own_refusal = part.refusal and _read_model_state(part.state, route) is not None
            (turn.refusals if is_own_refusal else turn.texts).append(part.text)
        case ToolCallPart():
            turn.calls.append(_encode_call(part, route))
        case OpaquePart():
            # A call that the provider has answered itself does not go back: each call here needs its result.
            if "part" in (state := _read_model_state(part.state, route) or {}):
                turn.opaque.append(state["part"])
        case _:
            raise make_unsupported_error(where, "an assistant message cannot hold this kind of part on this wire")


def _encode_assistant_content(turn: _AssistantTurn, route: Route) -> Any:
    text, reasoning, echo = "".join(turn.texts), "".join(turn.reasoning), route.quirks.reasoning_echo
    if reasoning and echo in TEXT_ECHOES:
        turn.fields[echo] = reasoning
    text_parts = [{"type": "text", "text": text}] if text else []
    if reasoning and echo == "thinking_parts":
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": reasoning}]}
        return [thinking, *text_parts, *turn.opaque]
    return [*text_parts, *turn.opaque] if turn.opaque else text or None


def _wants_reasoning_back(route: Route, *, is_current: bool) -> bool:
    echo = route.quirks.reasoning_echo
    return is_current if echo == "reasoning_content" else echo != ""


def _read_model_state(state: str | State | None, route: Route) -> dict[str, Any] | None:
    """Return the data of *state* when this very model made it here, else None: signatures bind to a model."""
    state = open_state(state)
    if state is None or state.model != route.model:
        return None
    data = read_own_state(state, route)
    return data if isinstance(data, dict) else None


def _encode_call(part: ToolCallPart, route: Route) -> dict[str, Any]:
    text = part.arguments_text
    if text is None or not text.strip():
        text = msgspec.json.encode(part.arguments or {}).decode()
    state = _read_model_state(part.state, route) or {}
    function = {"name": part.name, "arguments": text} | read_object(state.get("function"))
    return state | {"id": part.id, "type": "function", "function": function}


def _fit_id(call_id: str, route: Route) -> str:
    if route.quirks.tool_ids == "any" or _NINE.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]
