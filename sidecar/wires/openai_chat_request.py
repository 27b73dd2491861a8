"""A chat → the request of OpenAI's Chat Completions, `POST /chat/completions`. [pure]

Knows the request's fields and, by the columns of `Quirks`, how those who imitate it differ. Must
not know the answer. Sources: openai 3.52.0 (`types/chat/completion_create_params.py`), openrouter
1.3.84, groq 1.7.0, cerebras_cloud_sdk 1.91.0, mistralai 3.7.0, read 2026-11.
"""

import hashlib
import re
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
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from protocol.replies import Warn
from protocol.requests import Chat, NamedTool, Options, ReasoningOptions
from sidecar.wires import common
from sidecar.wires.types import Encoded, HttpRequest, Route

REFUSABLE = ("tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning", "max_tokens")
"""Options, beside those of `common.SAMPLING`, that are left out for a model that is known to refuse them."""

ECHOED_TEXTS = frozenset({"reasoning", "reasoning_content", "reasoning_text"})
"""The fields that take reasoning back as plain text."""

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

_NINE = re.compile("[a-zA-Z0-9]{9}")


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*."""
    warnings: list[Warn] = []
    options = _accepted(chat.options, route, warnings)
    body: dict[str, Any] = {"model": route.model, "messages": _conversation(chat.messages, route)}
    body |= _stream(route)
    body |= _limits(options, route)
    body |= _tools(options)
    body |= _reasoning(options.reasoning, route, warnings)
    _response_format(body, options, route, warnings)
    if route.quirks.cache_control and options.cache == "auto":
        body["cache_control"] = {"type": "ephemeral"}
    return Encoded(
        HttpRequest(
            method="POST",
            url=route.base_url + (route.path or "/chat/completions"),
            headers={"content-type": "application/json"} | route.headers,
            body=msgspec.json.encode(common.merge_provider_options(body, chat)),
        ),
        warnings,
    )


# --- messages --------------------------------------------------------------------------------


def _conversation(messages: list[Message], route: Route) -> list[dict[str, Any]]:
    """Return the messages of the request: every tool result one of its own, right after the calls."""
    turns: list[dict[str, Any]] = []
    held: list[dict[str, Any]] = []
    last_user = max((at for at, message in enumerate(messages) if _is_prompt(message)), default=-1)
    for index, message in enumerate(messages):
        where = f"params.messages[{index}].content"
        if message.role in ("user", "tool"):
            own = _answer(message, route, where, turns, held)
            if message.role == "tool" or not own:
                # Nothing may stand between the results of one turn, so what a result cannot hold waits.
                continue
        _flush(held, turns)
        if message.role == "system":
            turns.append({"role": route.quirks.system_role, "content": _plain(message, where)})
        elif message.role == "assistant" and (turn := _assistant(message, route, where, under_way=index > last_user)):
            turns.append(turn)
    _flush(held, turns)
    return turns


def _is_prompt(message: Message) -> bool:
    """Return whether *message* is the user's own: some hosts put tool results into that role."""
    return message.role == "user" and not all(isinstance(part, ToolResultPart) for part in common.parts(message))


def _answer(
    message: Message, route: Route, where: str, turns: list[dict[str, Any]], held: list[dict[str, Any]]
) -> bool:
    """Add the tool results of *message* to *turns* and the rest to *held*; return whether there is a rest."""
    rest = False
    for at, part in enumerate(common.parts(message)):
        if isinstance(part, ToolResultPart):
            text, media = _result(part, f"{where}[{at}]")
            turns.append({"role": "tool", "tool_call_id": _tool_id(part.id, route), "content": text})
            if media:
                held += [{"type": "text", "text": f"What the tool call {_tool_id(part.id, route)} returned:"}, *media]
        else:
            held.append(_content(part, f"{where}[{at}]"))
            rest = True
    return rest


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
    parts = common.parts(message)
    if at := [at for at, part in enumerate(parts) if not isinstance(part, TextPart)]:
        raise common.unsupported(f"{where}[{at[0]}]", "a system message is text on this wire")
    return "\n\n".join(part.text for part in parts if isinstance(part, TextPart))


def _content(part: Part, where: str) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, ImagePart):
        return _image(part, where)
    if isinstance(part, FilePart):
        return _file(part, where)
    raise common.unsupported(where, "a user message takes `text`, `image`, `file` and `tool_result` parts")


def _image(part: ImagePart, where: str) -> dict[str, Any]:
    data = common.inline(part, where)
    image = {"url": part.url if data is None else f"data:{data[0]};base64,{data[1]}"}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _file(part: FilePart, where: str) -> dict[str, Any]:
    data = common.inline(part, where)
    if data is None:
        raise common.unsupported(f"{where}.url", "this wire takes a file only as `data` or as a data: URL")
    media_type, encoded = data
    if media_type.startswith("text/"):
        return {"type": "text", "text": common.text_of(encoded, where)}
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
    for at, part in enumerate(common.parts(message)):
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
            raise common.unsupported(where, "an assistant message takes no such part on this wire")


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
    data = common.own_state(state, route)
    return data if isinstance(data, dict) else None


def _call(part: ToolCallPart, route: Route) -> dict[str, Any]:
    text = part.arguments_text
    if text is None or not text.strip():
        text = msgspec.json.encode(part.arguments or {}).decode()
    state = _own(part.state, route) or {}
    signature = state.get("function")
    function = {"name": part.name, "arguments": text} | (signature if isinstance(signature, dict) else {})
    return state | {"id": _tool_id(part.id, route), "type": "function", "function": function}


def _tool_id(call_id: str, route: Route) -> str:
    if route.quirks.tool_ids == "any" or _NINE.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]


# --- options ---------------------------------------------------------------------------------


def _accepted(options: Options, route: Route, warnings: list[Warn]) -> Options:
    """Return *options* without what the model or the provider is known to refuse, each with a warning."""
    options = common.accepted(options, route, warnings)
    refused = {name for name in REFUSABLE if name in route.facts.refuses}
    if route.facts.sampling is False:
        refused |= {"temperature", "top_p"}
    if not route.quirks.seed_field:
        refused.add("seed")
    if route.facts.reasoning is False:
        refused.add("reasoning")
    given = (name for name in options.__struct_fields__ if getattr(options, name) not in (None, []))
    dropped = [name for name in given if name in refused]
    warnings.extend(common.left_out(name, route) for name in dropped)
    return common.replace(options, **{name: [] if name == "tools" else None for name in dropped})


def _stream(route: Route) -> dict[str, Any]:
    if "stream" in route.facts.refuses:
        return {"stream": False}
    wanted = {"include_usage": True} if route.quirks.usage_option else {}
    if route.quirks.obfuscation_option:
        wanted["include_obfuscation"] = False
    return {"stream": True, "stream_options": wanted} if wanted else {"stream": True}


def _limits(options: Options, route: Route) -> dict[str, Any]:
    fields = {
        route.quirks.max_tokens_field: options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "stop": common.stop_list(options) or None,
        route.quirks.seed_field: options.seed,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _tools(options: Options) -> dict[str, Any]:
    if not options.tools:
        return {}
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in options.tools]}
    choice = options.tool_choice
    if isinstance(choice, NamedTool):
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        fields["tool_choice"] = choice
    if options.parallel_tool_calls is not None:
        fields["parallel_tool_calls"] = options.parallel_tool_calls
    return fields


def _tool(tool: Tool) -> dict[str, Any]:
    optional = {"description": tool.description, "strict": tool.strict}
    given = {name: value for name, value in optional.items() if value is not None}
    return {"type": "function", "function": {"name": tool.name, "parameters": tool.parameters} | given}


def _response_format(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    wanted = options.response_format
    if wanted is None or wanted.type == "text":
        return
    body["response_format"] = {"type": "json_object"}
    if wanted.type == "json" or wanted.schema is None:
        return
    if route.quirks.json_schema:
        strict = {} if wanted.strict is None else {"strict": wanted.strict}
        schema = {"name": wanted.name, "schema": wanted.schema} | strict
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return
    text = f"Answer with one JSON object that obeys this JSON Schema:\n{msgspec.json.encode(wanted.schema).decode()}"
    body["messages"].insert(0, {"role": route.quirks.system_role, "content": text})
    warnings.append(
        Warn(
            code="emulated",
            message=f"A JSON Schema is asked for by instruction: {route.provider} takes none.",
            param="params.options.response_format",
        )
    )


def _reasoning(wanted: ReasoningOptions | None, route: Route, warnings: list[Warn]) -> dict[str, Any]:
    hidden = wanted is not None and wanted.include is False
    fields: dict[str, Any] = {}
    if route.quirks.reasoning_format and (wanted is not None or route.facts.reasoning):
        fields["reasoning_format"] = "hidden" if hidden else "parsed"
    if wanted is None:
        return fields
    effort = _effort(wanted.effort, route, warnings)
    budget = wanted.budget_tokens
    match route.quirks.reasoning_option:
        case "reasoning":
            return fields | {"reasoning": _reasoning_object(effort, budget, hidden=hidden)}
        case "thinking":
            fields["thinking"] = {"type": "disabled" if wanted.effort == "none" else "enabled"}
        case "reasoning_effort":
            if effort is not None:
                fields["reasoning_effort"] = effort
        case _:
            if effort is not None:
                warnings.append(common.left_out("reasoning.effort", route))
    if budget is not None:
        warnings.append(common.left_out("reasoning.budget_tokens", route))
    return fields


def _reasoning_object(effort: str | None, budget: int | None, *, hidden: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"enabled": effort != "none"}
    if effort != "none" and budget is not None:
        # Effort and budget exclude each other, and the budget says more.
        fields = {"max_tokens": budget}
    elif effort not in (None, "none"):
        fields = {"effort": effort}
    return fields | ({"exclude": True} if hidden else {})


def _effort(effort: str | None, route: Route, warnings: list[Warn]) -> str | None:
    """Return *effort*, or the nearest to it that the model takes, where that is known; never none for some."""
    taken = route.facts.efforts
    if effort is None or not taken or effort in taken:
        return effort
    similar = [each for each in taken if (each == "none") == (effort == "none")]
    if not similar:
        warnings.append(common.left_out("reasoning.effort", route))
        return None
    nearest = min(similar, key=lambda each: abs(_rank(each) - _rank(effort)))
    warnings.append(
        Warn(
            code="option_changed",
            message=f"{route.provider}/{route.model} takes no effort `{effort}`; `{nearest}` was asked for.",
            param="params.options.reasoning.effort",
        )
    )
    return nearest


def _rank(effort: str) -> int:
    """Return the place of *effort*; a provider's own word (such as `default`) stands in the middle."""
    return EFFORTS.index(effort) if effort in EFFORTS else EFFORTS.index("medium")
