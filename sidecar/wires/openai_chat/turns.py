"""Messages → the messages of Chat Completions. [pure]

Knows its roles, its parts and, by the columns of `Quirks`, how those who imitate it differ. Must not
know the options or the answer. Sources: openai 3.52.0 (`types/chat/chat_completion_message_param.py`),
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
from sidecar.core.message_content import decode_text, list_parts, read_inline_data
from sidecar.wires.shared.errors import make_unsupported_error
from sidecar.wires.shared.state import read_own_state
from sidecar.wires.shared.tool_calls import Fit, pair_calls
from sidecar.wires.shared.types import Route

ECHOED_TEXTS = frozenset({"reasoning", "reasoning_content", "reasoning_text"})
"""The fields that take reasoning back as plain text."""

AFTER_RESULTS = {"role": "assistant", "content": "Done."}
"""Stands between tool results and a user's message, where those must not follow each other."""

_NINE = re.compile("[a-zA-Z0-9]{9}")


def conversation(messages: list[Message], route: Route, fit_name: Fit) -> list[dict[str, Any]]:
    """Return the messages of the request: every tool result one of its own, right after the calls."""
    turns: list[dict[str, Any]] = []
    held: list[dict[str, Any]] = []
    last_user = max((at for at, message in enumerate(messages) if _is_prompt(message)), default=-1)
    for index, message in enumerate(pair_calls(messages, partial(_tool_id, route=route), fit_name)):
        where = f"params.messages[{index}].content"
        if message.role in ("user", "tool"):
            own = _answer(message, where, turns, held)
            if message.role == "tool" or not own:
                # Nothing may stand between the results of one turn, so what a result cannot hold waits.
                continue
        _flush(held, turns)
        if message.role == "system":
            turns.append({"role": route.quirks.system_role, "content": _plain(message, where)})
        elif message.role == "assistant" and (turn := _assistant(message, route, where, under_way=index > last_user)):
            turns.append(turn)
    _flush(held, turns)
    return turns if route.quirks.user_after_results else _apart(turns)


def _apart(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *turns* with a word of the assistant's between the results of tools and what the user says."""
    apart = turns[:1]
    for before, turn in pairwise(turns):
        apart += [AFTER_RESULTS, turn] if (before["role"], turn["role"]) == ("tool", "user") else [turn]
    return apart


def _is_prompt(message: Message) -> bool:
    """Return whether *message* is the user's own: some hosts put tool results into that role."""
    return message.role == "user" and not all(isinstance(part, ToolResultPart) for part in list_parts(message))


def _answer(message: Message, where: str, turns: list[dict[str, Any]], held: list[dict[str, Any]]) -> bool:
    """Add the tool results of *message* to *turns* and the rest to *held*; return whether there is a rest."""
    rest = False
    for at, part in enumerate(list_parts(message)):
        if isinstance(part, ToolResultPart):
            text, media = _result(part, f"{where}[{at}]")
            turns.insert(_behind_call(part.id, turns), {"role": "tool", "tool_call_id": part.id, "content": text})
            if media:
                held += [{"type": "text", "text": f"What the tool call {part.id} returned:"}, *media]
        else:
            held.append(_content(part, f"{where}[{at}]"))
            rest = True
    return rest


def _behind_call(call_id: str, turns: list[dict[str, Any]]) -> int:
    """Return where the result of that call goes in *turns*: behind the results of the calls beside it."""
    end = len(turns)
    for at in range(end - 1, -1, -1):
        if any(call["id"] == call_id for call in turns[at].get("tool_calls", ())):
            return next((behind for behind in range(at + 1, end) if turns[behind]["role"] != "tool"), end)
    return end


def _flush(held: list[dict[str, Any]], turns: list[dict[str, Any]]) -> None:
    """Move what is *held* into one user message."""
    if held:
        turns.append({"role": "user", "content": _joined(held)})
        held.clear()


def _joined(content: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return *content*, as a plain string when it is text alone: not every imitation takes a list."""
    if all(part["type"] == "text" for part in content):
        return "\n\n".join(part["text"] for part in content)
    return [part for part in content if part.get("text") != ""]


def _plain(message: Message, where: str) -> str:
    parts = list_parts(message)
    if at := [at for at, part in enumerate(parts) if not isinstance(part, TextPart)]:
        raise make_unsupported_error(f"{where}[{at[0]}]", "a system message is text on this wire")
    return "\n\n".join(part.text for part in parts if isinstance(part, TextPart))


def _content(part: Part, where: str) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, ImagePart):
        return _image(part, where)
    if isinstance(part, FilePart):
        return _file(part, where)
    raise make_unsupported_error(where, "a user message takes `text`, `image`, `file` and `tool_result` parts")


def _image(part: ImagePart, where: str) -> dict[str, Any]:
    data = read_inline_data(part, where)
    image = {"url": part.url if data is None else f"data:{data[0]};base64,{data[1]}"}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _file(part: FilePart, where: str) -> dict[str, Any]:
    data = read_inline_data(part, where)
    if data is None:
        raise make_unsupported_error(f"{where}.url", "this wire takes a file only as `data` or as a data: URL")
    media_type, encoded = data
    if media_type.startswith("text/"):
        return {"type": "text", "text": decode_text(encoded, where)}
    name = part.name or f"document.{media_type.rpartition('/')[2]}"
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{media_type};base64,{encoded}"}}


def _result(part: ToolResultPart, where: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the text of a tool result and the parts that a tool message has no place for."""
    content = [TextPart(part.content)] if isinstance(part.content, str) else part.content
    built = [_content(each, f"{where}.content[{at}]") for at, each in enumerate(content)]
    media = [each for each in built if each["type"] != "text"]
    text = "\n\n".join(each["text"] for each in built if each["type"] == "text")
    if not text and media:
        text = "See the next user message."
    # There is no field for it, and a model must see that its call went wrong.
    return (f"Error: {text}" if part.is_error else text), media


class _Turn(msgspec.Struct):
    """The parts of an assistant message, by the fields that they go to."""

    texts: list[str] = []
    refusals: list[str] = []
    thoughts: list[str] = []
    opaque: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    fields: dict[str, Any] = {}


def _assistant(message: Message, route: Route, where: str, *, under_way: bool) -> dict[str, Any] | None:
    """Return an assistant message, or None when nothing of it can be said here."""
    turn = _Turn()
    for at, part in enumerate(list_parts(message)):
        if not isinstance(part, ReasoningPart):
            _sort(part, turn, route, f"{where}[{at}]")
        elif _wanted_back(route, under_way=under_way) and (state := _own(part.state, route)) is not None:
            turn.thoughts.append(part.content)
            turn.fields |= state
    content = _assistant_content(turn, route)
    if turn.refusals:
        turn.fields["refusal"] = "".join(turn.refusals)
    if turn.calls:
        turn.fields["tool_calls"] = turn.calls
    if not (content or turn.refusals or turn.calls):
        return None
    return {"role": "assistant", "content": content} | turn.fields


def _sort(part: Part, turn: _Turn, route: Route, where: str) -> None:
    match part:
        case TextPart():
            own_refusal = part.refusal and _own(part.state, route) is not None
            (turn.refusals if own_refusal else turn.texts).append(part.text)
        case ToolCallPart():
            turn.calls.append(_call(part, route))
        case OpaquePart():
            # A call that the provider itself has answered does not go back: each call here needs its result.
            if "part" in (state := _own(part.state, route) or {}):
                turn.opaque.append(state["part"])
        case _:
            raise make_unsupported_error(where, "an assistant message takes no such part on this wire")


def _assistant_content(turn: _Turn, route: Route) -> Any:
    text, thought, echo = "".join(turn.texts), "".join(turn.thoughts), route.quirks.reasoning_echo
    if thought and echo in ECHOED_TEXTS:
        turn.fields[echo] = thought
    said = [{"type": "text", "text": text}] if text else []
    if thought and echo == "thinking_parts":
        return [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}, *said, *turn.opaque]
    return [*said, *turn.opaque] if turn.opaque else text or None


def _wanted_back(route: Route, *, under_way: bool) -> bool:
    echo = route.quirks.reasoning_echo
    return under_way if echo == "reasoning_content" else echo != ""


def _own(state: State | None, route: Route) -> dict[str, Any] | None:
    """Return the data of *state* when this model minted it here: signatures are worth nothing to another."""
    if state is None or state.model != route.model:
        return None
    data = read_own_state(state, route)
    return data if isinstance(data, dict) else None


def _call(part: ToolCallPart, route: Route) -> dict[str, Any]:
    text = part.arguments_text
    if text is None or not text.strip():
        text = msgspec.json.encode(part.arguments or {}).decode()
    state = _own(part.state, route) or {}
    signature = state.get("function")
    function = {"name": part.name, "arguments": text} | (signature if isinstance(signature, dict) else {})
    return state | {"id": part.id, "type": "function", "function": function}


def _tool_id(call_id: str, route: Route) -> str:
    if route.quirks.tool_ids == "any" or _NINE.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]
