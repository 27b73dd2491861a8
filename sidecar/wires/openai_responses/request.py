"""A chat → the request of OpenAI's Responses API, `POST /responses`. [pure]

Knows the input items, the options and which of them a model refuses. Must not know the
answer. Sources: openai 3.52.0 (`types/responses/response_create_params.py`,
`response_input_item_param.py`) and the guides on reasoning and file inputs, read 2026-11.
"""

import hashlib
from typing import Any
from urllib.parse import quote

import msgspec

from protocol.messages import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from protocol.replies import Warn
from protocol.requests import Chat, NamedTool, Options
from sidecar.core.http import HttpRequest
from sidecar.core.message_content import list_parts, read_inline_data
from sidecar.wires.shared.errors import make_unsupported_error
from sidecar.wires.shared.options import (
    describe_left_out,
    drop_refused_options,
    get_json_format,
    list_stops,
    merge_provider_options,
    write_json_instruction,
)
from sidecar.wires.shared.state import read_own_state
from sidecar.wires.shared.tool_calls import Fit, make_name_fit, pair_calls
from sidecar.wires.shared.types import Encoded, Route

MAX_CALL_ID_CHARS = 64
"""A longer `call_id` is refused."""

EXTENSIONS = {"text/plain": "txt", "text/markdown": "md"}
"""For a file without a name, where the extension is not the media type's second half."""

CUSTOM = "custom_tool_call"
"""The type of a call whose input is text of any kind, no JSON."""

CUSTOM_OUTPUT = "custom_tool_call_output"

OUTPUTS = frozenset({"function_call_output", CUSTOM_OUTPUT})
"""Items of the caller's, beside the messages that are not the assistant's."""


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*. Nothing of it is stored at the provider."""
    warnings: list[Warn] = []
    options = drop_refused_options(chat.options, route, warnings)
    body: dict[str, Any] = {
        "model": route.model,
        "input": _input(chat.messages, route, make_name_fit(options.tools)),
        "store": False,
        "stream": True,
    }
    if route.quirks.obfuscation_option:
        # The padding hides lengths from who watches the line, at the price of half the bytes.
        body["stream_options"] = {"include_obfuscation": False}
    if route.facts.reasoning is not False:
        body["include"] = ["reasoning.encrypted_content"]
    if options.max_tokens is not None:
        body["max_output_tokens"] = options.max_tokens
    if options.tools:
        _tools(body, options)
    _sampling(body, options, route, warnings)
    _reasoning(body, options, route, warnings)
    _text_format(body, options, route, warnings)
    return Encoded(
        HttpRequest(
            method="POST",
            url=f"{route.base_url}{route.path or '/responses'}",
            headers={"content-type": "application/json"} | route.headers,
            body=msgspec.json.encode(merge_provider_options(body, chat)),
        ),
        warnings,
    )


def continue_request(route: Route, response_id: str, starting_after: int | None) -> HttpRequest:
    """Return the request for what a background response streams after an event, or for all of it.

    Source: the guide on background mode, read 2026-11: such a response is kept for some minutes.
    """
    url = _of_response(route, response_id, "")
    after = "" if starting_after is None else f"&starting_after={starting_after}"
    return HttpRequest(method="GET", url=f"{url}{'&' if '?' in url else '?'}stream=true{after}", headers=route.headers)


def cancel_request(route: Route, response_id: str) -> HttpRequest:
    """Return the request that ends a background response; doing so twice does no harm."""
    return HttpRequest(method="POST", url=_of_response(route, response_id, "/cancel"), headers=route.headers)


def _of_response(route: Route, response_id: str, rest: str) -> str:
    path, mark, query = (route.path or "/responses").partition("?")
    return f"{route.base_url}{path}/{quote(response_id, safe='')}{rest}{mark}{query}"


# --- input items -----------------------------------------------------------------------------


def _input(messages: list[Message], route: Route, fit_name: Fit) -> list[dict[str, Any]]:
    """Return all items in the order of the messages and their parts."""
    items: list[dict[str, Any]] = []
    for index, message in enumerate(pair_calls(messages, call_id, fit_name)):
        items.extend(_items(message, route, f"params.messages[{index}].content"))
    custom = {item["call_id"] for item in items if item["type"] == CUSTOM}
    for item in items:
        if item["type"] in OUTPUTS and item["call_id"] in custom:
            item["type"] = CUSTOM_OUTPUT
    return _without_orphans(items)


def _without_orphans(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *items* without the reasoning that nothing of the model's follows, as after a turn that was cut.

    The API refuses it as "provided without its required following item".
    """
    kept: list[dict[str, Any]] = []
    followed = False
    for item in reversed(items):
        if item.get("type") != "reasoning":
            followed = item.get("role", "assistant") == "assistant" and item.get("type") not in OUTPUTS
        elif not followed:
            continue
        kept.append(item)
    return kept[::-1]


def _items(message: Message, route: Route, where: str) -> list[dict[str, Any]]:
    role = _role(message, route)
    items: list[dict[str, Any]] = []
    for at, part in enumerate(list_parts(message)):
        match part:
            case TextPart() | ImagePart() | FilePart():
                _add_content(items, part, role, route, f"{where}[{at}]")
            case ReasoningPart() | OpaquePart():
                items.extend(_own_item(part, route))
            case ToolCallPart():
                items.append(_call(part, route))
            case ToolResultPart():
                items.append(_result(part, f"{where}[{at}]"))
    return items


def _role(message: Message, route: Route) -> str:
    return {"system": _system_role(route), "tool": "user"}.get(message.role, message.role)


def _system_role(route: Route) -> str:
    # Reasoning models know it by another name.
    return "developer" if route.facts.reasoning else "system"


def _add_content(items: list[dict[str, Any]], part: Part, role: str, route: Route, where: str) -> None:
    """Append *part* to the message that is being built, or to a new one."""
    content = _content(part, role, where)
    if content is None:
        return
    own = read_own_state(part.state, route) if isinstance(part, TextPart) and role == "assistant" else None
    head = {"type": "message", "role": role} | ({"status": "completed"} if role == "assistant" else {})
    if isinstance(own, dict) and own.get("phase"):
        # It tells a commentary from the final answer, and the model does worse when it is dropped.
        head["phase"] = own["phase"]
    last = items[-1] if items else {}
    if {key: value for key, value in last.items() if key != "content"} == head:
        last["content"].append(content)
    else:
        items.append(head | {"content": [content]})


def _content(part: Part, role: str, where: str) -> dict[str, Any] | None:
    match part:
        case TextPart():
            return _text(part, role) if part.text else None
        case ImagePart() | FilePart() if role == "assistant":
            raise make_unsupported_error(where, "an assistant message takes text only")
        case ImagePart():
            data = read_inline_data(part, where)
            url = part.url if data is None else f"data:{data[0]};base64,{data[1]}"
            return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
        case FilePart():
            return _file(part, where)
    return None


def _text(part: TextPart, role: str) -> dict[str, Any]:
    if role != "assistant":
        return _input_text(part.text)
    if part.refusal:
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": []}


def _input_text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def _file(part: FilePart, where: str) -> dict[str, Any]:
    data = read_inline_data(part, where)
    if data is None:
        # A name beside an address is refused.
        return {"type": "input_file", "file_url": part.url}
    name = part.name or f"document.{EXTENSIONS.get(data[0], data[0].rpartition('/')[2])}"
    return {"type": "input_file", "filename": name, "file_data": f"data:{data[0]};base64,{data[1]}"}


def _own_item(part: ReasoningPart | OpaquePart, route: Route) -> list[dict[str, Any]]:
    """Return the item as this provider made it, or none: another's is of no use here."""
    item = read_own_state(part.state, route)
    if not isinstance(item, dict):
        return []
    if isinstance(part, ReasoningPart):
        # Without its content, the id of an item that is not stored names nothing.
        usable = item.get("encrypted_content") or item.get("content")
        if not usable or route.facts.reasoning is False:
            return []
    return [item]


def call_id(raw: str) -> str:
    """Return *raw* as the API takes it; one that is empty or too long becomes its digest, the same one every time."""
    return raw if 0 < len(raw) <= MAX_CALL_ID_CHARS else hashlib.sha256(raw.encode()).hexdigest()[:MAX_CALL_ID_CHARS]


def _call(part: ToolCallPart, route: Route) -> dict[str, Any]:
    text = part.arguments_text
    if text is None:
        text = msgspec.json.encode(part.arguments or {}).decode()
    own = read_own_state(part.state, route)
    if isinstance(own, dict) and own.get("type") == CUSTOM:
        return {"call_id": part.id, "name": part.name, "input": text} | own
    return {
        "type": "function_call",
        "call_id": part.id,
        "name": part.name,
        "arguments": text if text.strip() else "{}",
    } | (own if isinstance(own, dict) else {})


def _result(part: ToolResultPart, where: str) -> dict[str, Any]:
    output: str | list[dict[str, Any]]
    if isinstance(part.content, str):
        output = part.content
    elif all(isinstance(each, TextPart) for each in part.content):
        # Many servers of this API take nothing but text here.
        output = "\n".join(each.text for each in part.content if isinstance(each, TextPart))
    else:
        inner = (_content(each, "tool", f"{where}.content[{at}]") for at, each in enumerate(part.content))
        output = [each for each in inner if each is not None]
    return {"type": "function_call_output", "call_id": part.id, "output": output}


# --- options ---------------------------------------------------------------------------------


def _tools(body: dict[str, Any], options: Options) -> None:
    body["tools"] = [_tool(tool) for tool in options.tools]
    match options.tool_choice:
        case NamedTool(name):
            body["tool_choice"] = {"type": "function", "name": name}
        case str() as choice:
            body["tool_choice"] = choice
    if options.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = options.parallel_tool_calls


def _tool(tool: Tool) -> dict[str, Any]:
    # What is left open here is strict by default, unlike anywhere else, and refuses most schemas.
    item: dict[str, Any] = {
        "type": "function",
        "name": tool.name,
        "parameters": tool.parameters,
        "strict": tool.strict or False,
    }
    if tool.description is not None:
        item["description"] = tool.description
    return item


def _sampling(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    wanted = {name: value for name in ("temperature", "top_p") if (value := getattr(options, name)) is not None}
    if route.facts.sampling is False:
        warnings.extend(describe_left_out(name, route) for name in wanted)
    else:
        body |= wanted
    if list_stops(options):
        warnings.append(describe_left_out("stop", route))
    if options.seed is not None:
        warnings.append(describe_left_out("seed", route))


def _reasoning(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    wanted, facts = options.reasoning, route.facts
    if wanted is None:
        return
    if facts.reasoning is False:
        if wanted.effort != "none":
            warnings.append(describe_left_out("reasoning", route))
        return
    if wanted.budget_tokens is not None:
        warnings.append(describe_left_out("reasoning.budget_tokens", route))
    reasoning: dict[str, Any] = {}
    if wanted.effort and facts.efforts and wanted.effort not in facts.efforts:
        warnings.append(describe_left_out("reasoning.effort", route))
    elif wanted.effort:
        reasoning["effort"] = wanted.effort
    if wanted.include is not False and wanted.effort != "none":
        reasoning["summary"] = "auto"
    if reasoning:
        body["reasoning"] = reasoning


def _text_format(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    wanted = get_json_format(options)
    if wanted is None:
        return
    if wanted.type == "json":
        body["text"] = {"format": {"type": "json_object"}}
    elif route.facts.structured is False:
        text = write_json_instruction(wanted, route, warnings)
        body["input"].insert(0, {"type": "message", "role": _system_role(route), "content": [_input_text(text)]})
    else:
        form: dict[str, Any] = {"type": "json_schema", "name": wanted.name, "schema": wanted.schema}
        if wanted.strict is not None:
            form["strict"] = wanted.strict
        body["text"] = {"format": form}
