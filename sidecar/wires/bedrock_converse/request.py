"""A chat → the request of Amazon Bedrock's Converse API, `POST /model/{id}/converse-stream`. [pure]

Knows the request's options, which are the same for all families of models; `turns` encodes the
messages. Must not know the answer. Source: botocore 1.44.5
(`bedrock-runtime/2023-09-30/service-2.json`), read 2026-11.
"""

import re
from typing import Any
from urllib.parse import quote

import msgspec

from protocol.messages import Tool
from protocol.options import NamedTool, Options, ReasoningOptions
from protocol.replies import Warn
from protocol.requests import Chat
from sidecar.core.errors import invalid_request
from sidecar.core.http import HttpRequest
from sidecar.wires.bedrock_converse.models import get_family
from sidecar.wires.bedrock_converse.turns import encode_conversation
from sidecar.wires.shared.options import (
    describe_left_out,
    drop_refused_options,
    get_json_format,
    list_stops,
    write_json_instruction,
)
from sidecar.wires.shared.thinking_budgets import BUDGET_TOKENS, MIN_THINKING_TOKENS
from sidecar.wires.shared.types import Encoded, Route

STREAM_PATH = "/converse-stream"

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*."""
    warnings: list[Warn] = []
    options = drop_refused_options(chat.options, route, warnings)
    system, messages = encode_conversation(chat.messages, route, warnings)
    body: dict[str, Any] = {"messages": messages}
    if system:
        body["system"] = system
    _add_tools(body, options, route, warnings)
    _add_reasoning(body, options, route, warnings)
    _add_inference_config(body, options, route, warnings)
    _add_response_format(body, options, route, warnings)
    if options.cache == "auto":
        _mark_cache(body, get_family(route.model).cached)
    path = route.path or f"/model/{quote(route.model, safe='-._~')}{STREAM_PATH}"
    return Encoded(
        HttpRequest(
            method="POST",
            url=route.base_url + path,
            headers={"content-type": "application/json"} | route.headers,
            body=msgspec.json.encode(_merge_provider_options(body, options)),
        ),
        warnings,
    )


def make_whole_request(request: HttpRequest) -> HttpRequest:
    """Return *request* as one that is answered by one document, for models that cannot stream tool calls."""
    body = request.body
    if b'"streamProcessingMode"' in body:
        # Only the guardrail of a stream has this mode.
        fields = msgspec.json.decode(body)
        fields.get("guardrailConfig", {}).pop("streamProcessingMode", None)
        body = msgspec.json.encode(fields)
    before, path, after = request.url.rpartition(STREAM_PATH)
    url = f"{before}/converse{after}" if path else request.url
    return msgspec.structs.replace(request, url=url, body=body)


def _merge_provider_options(body: dict[str, Any], options: Options) -> dict[str, Any]:
    """Return *body* with the caller's `provider_options` laid over it; an object in both gets the fields of both.

    Most of what a caller adds, `top_k` or a beta, goes into the object that reasoning goes into as well.
    """
    merged = {
        key: body[key] | value if isinstance(value, dict) and isinstance(body.get(key), dict) else value
        for key, value in options.provider_options.items()
    }
    return body | merged


# --- options ---------------------------------------------------------------------------------


def _add_tools(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    """Add the tools; a history with calls needs some even when the caller wants none, or it is refused."""
    called = _list_called_tools(body["messages"])
    tools = [_encode_tool(tool, f"params.options.tools[{at}]") for at, tool in enumerate(options.tools)]
    if tools and "tools" in route.facts.refuses:
        warnings.append(describe_left_out("tools", route))
        tools = []
    if options.parallel_tool_calls is False and tools:
        warnings.append(describe_left_out("parallel_tool_calls", route))
    if options.tool_choice == "none" and called and tools:
        warnings.append(describe_left_out("tool_choice", route))
    elif options.tool_choice == "none":
        tools = []
    if tools:
        body["toolConfig"] = {"tools": tools} | _encode_tool_choice(options)
    elif called:
        body["toolConfig"] = {"tools": [_make_tool_spec(name, {"type": "object"}) for name in called]}


def _list_called_tools(turns: list[dict[str, Any]]) -> list[str]:
    blocks = [block for turn in turns for block in turn["content"]]
    # A block with a type is of the provider's own tool, which is declared in another way.
    calls = [block["toolUse"] for block in blocks if "toolUse" in block and "type" not in block["toolUse"]]
    names = [call["name"] for call in calls]
    if not names and any("toolResult" in block and "type" not in block["toolResult"] for block in blocks):
        return ["tool"]
    return list(dict.fromkeys(names))


def _encode_tool(tool: Tool, where: str) -> dict[str, Any]:
    if not _TOOL_NAME.fullmatch(tool.name):
        raise invalid_request(
            f"`{where}.name` must have at most 64 letters, digits, `_` and `-` on this wire.", f"{where}.name"
        )
    encoded = _make_tool_spec(tool.name, tool.parameters)
    if tool.description:
        encoded["toolSpec"]["description"] = tool.description
    if tool.strict is not None:
        encoded["toolSpec"]["strict"] = tool.strict
    return encoded


def _make_tool_spec(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"toolSpec": {"name": name, "inputSchema": {"json": parameters}}}


def _encode_tool_choice(options: Options) -> dict[str, Any]:
    match options.tool_choice:
        case NamedTool(name):
            return {"toolChoice": {"tool": {"name": name}}}
        case "required":
            return {"toolChoice": {"any": {}}}
        case _:
            # A free choice is the default, and families that cannot be forced refuse the field altogether.
            return {}


def _add_inference_config(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    fields: dict[str, Any] = {
        "maxTokens": options.max_tokens,
        "temperature": options.temperature,
        "topP": options.top_p,
        "stopSequences": list_stops(options) or None,
    }
    if body.get("additionalModelRequestFields", {}).get("thinking", {}).get("type") in ("adaptive", "enabled"):
        # A model that thinks takes only the defaults.
        for field, option in (("temperature", "temperature"), ("topP", "top_p")):
            if fields.pop(field) is not None:
                warnings.append(describe_left_out(option, route))
    if options.seed is not None:
        warnings.append(describe_left_out("seed", route))
    if given := {name: value for name, value in fields.items() if value is not None}:
        body["inferenceConfig"] = given


def _add_reasoning(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    reasoning = options.reasoning
    if reasoning is None:
        return
    facts = route.facts
    thinks = facts.thinking is not None or get_family(route.model).thinking
    if facts.reasoning is False or not (thinks or facts.reasoning):
        # A model of which nothing is known probably does not reason.
        if reasoning.effort != "none":
            warnings.append(describe_left_out("reasoning", route))
    elif thinks and reasoning.effort == "none":
        body["additionalModelRequestFields"] = {"thinking": {"type": "disabled"}}
    elif facts.thinking == "budget":
        _add_thinking_budget(body, reasoning, options, route, warnings)
    else:
        if reasoning.budget_tokens is not None:
            warnings.append(describe_left_out("reasoning.budget_tokens", route))
        if thinks:
            # Models show none of their thinking unless they are asked to.
            display = "omitted" if reasoning.include is False else "summarized"
            body["additionalModelRequestFields"] = {"thinking": {"type": "adaptive", "display": display}}
        _add_effort(body, reasoning, route, warnings)


def _add_thinking_budget(
    body: dict[str, Any], reasoning: ReasoningOptions, options: Options, route: Route, warnings: list[Warn]
) -> None:
    max_tokens = options.max_tokens or route.facts.max_output
    budget = max(MIN_THINKING_TOKENS, reasoning.budget_tokens or BUDGET_TOKENS[reasoning.effort or "medium"])
    if max_tokens is not None:
        budget = min(budget, max_tokens - 1)
    if budget < MIN_THINKING_TOKENS:
        warnings.append(describe_left_out("reasoning", route))
    else:
        body["additionalModelRequestFields"] = {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _add_effort(body: dict[str, Any], reasoning: ReasoningOptions, route: Route, warnings: list[Warn]) -> None:
    effort = "low" if reasoning.effort == "minimal" else reasoning.effort
    if effort is None:
        return
    if effort == "none" or (route.facts.efforts and effort not in route.facts.efforts):
        warnings.append(describe_left_out("reasoning.effort", route))
    else:
        body["outputConfig"] = {"effort": effort}


def _add_response_format(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    json_format = get_json_format(options)
    if json_format is None:
        return
    if json_format.type == "json_schema" and route.facts.structured is not False:
        # The schema goes as a JSON document inside a string.
        schema = {"name": json_format.name, "schema": msgspec.json.encode(json_format.schema).decode()}
        structure = {"type": "json_schema", "structure": {"jsonSchema": schema}}
        body.setdefault("outputConfig", {})["textFormat"] = structure
    else:
        body.setdefault("system", []).append({"text": write_json_instruction(json_format, route, warnings)})


def _mark_cache(body: dict[str, Any], places: tuple[str, ...]) -> None:
    """Set cache points after the system text, the tools and the last two user turns: 4, the most allowed."""
    point = {"cachePoint": {"type": "default"}}
    if "system" in places and body.get("system"):
        body["system"].append(point)
    if "tools" in places and "toolConfig" in body:
        body["toolConfig"]["tools"].append(point)
    if "messages" in places:
        user_turns = [turn for turn in body["messages"] if turn["role"] == "user"]
        for turn in user_turns[-2:]:
            content = turn["content"]
            # A point right behind a document is refused.
            end = next((at for at in range(len(content), 0, -1) if "document" not in content[at - 1]), 0)
            if end:
                content.insert(end, point)
