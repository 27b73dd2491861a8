"""A chat → the request of Amazon Bedrock's Converse API, `POST /model/{id}/converse-stream`. [pure]

Knows the request's options, which are the same for all families of models; the turns are built by
`bedrock_turns`. Must not know the answer. Source: botocore 1.44.5
(`bedrock-runtime/2023-09-30/service-2.json`), read 2026-11.
"""

import re
from typing import Any
from urllib.parse import quote

import msgspec

from protocol.messages import Tool
from protocol.replies import Warn
from protocol.requests import Chat, NamedTool, Options, ReasoningOptions
from sidecar.core.errors import invalid
from sidecar.core.http import HttpRequest
from sidecar.wires.anthropic_messages.request import BUDGET_OF_EFFORT, MIN_THINKING_TOKENS
from sidecar.wires.bedrock_converse.models import family
from sidecar.wires.bedrock_converse.turns import conversation
from sidecar.wires.shared.options import (
    describe_left_out,
    drop_refused_options,
    get_json_format,
    list_stops,
    write_json_instruction,
)
from sidecar.wires.shared.types import Encoded, Route

STREAM_PATH = "/converse-stream"

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*."""
    warnings: list[Warn] = []
    options = drop_refused_options(chat.options, route, warnings)
    system, messages = conversation(chat.messages, route, warnings)
    body: dict[str, Any] = {"messages": messages}
    if system:
        body["system"] = system
    _tools(body, options, route, warnings)
    _reasoning(body, options, route, warnings)
    _inference(body, options, route, warnings)
    _response_format(body, options, route, warnings)
    if options.cache == "auto":
        _mark_cache(body, family(route.model).cached)
    path = route.path or f"/model/{quote(route.model, safe='-._~')}{STREAM_PATH}"
    return Encoded(
        HttpRequest(
            method="POST",
            url=route.base_url + path,
            headers={"content-type": "application/json"} | route.headers,
            body=msgspec.json.encode(_with_provider_options(body, options)),
        ),
        warnings,
    )


def whole_request(request: HttpRequest) -> HttpRequest:
    """Return *request* as one that is answered in one document, for models that cannot stream tool calls."""
    body = request.body
    if b'"streamProcessingMode"' in body:
        # Only a stream can be guarded piece by piece.
        sent = msgspec.json.decode(body)
        sent.get("guardrailConfig", {}).pop("streamProcessingMode", None)
        body = msgspec.json.encode(sent)
    head, found, tail = request.url.rpartition(STREAM_PATH)
    url = f"{head}/converse{tail}" if found else request.url
    return msgspec.structs.replace(request, url=url, body=body)


def _with_provider_options(body: dict[str, Any], options: Options) -> dict[str, Any]:
    """Return *body* under the caller's `provider_options`; an object of both has the fields of both.

    Most of what a caller adds, `top_k` or a beta, goes into an object that reasoning goes into as well.
    """
    laid = {
        key: body[key] | value if isinstance(value, dict) and isinstance(body.get(key), dict) else value
        for key, value in options.provider_options.items()
    }
    return body | laid


# --- options ---------------------------------------------------------------------------------


def _tools(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    """Add the tools, also where none is wanted but the history has calls: without tools those are refused."""
    used = _used_tools(body["messages"])
    wanted = [_tool(tool, f"params.options.tools[{at}]") for at, tool in enumerate(options.tools)]
    if wanted and "tools" in route.facts.refuses:
        warnings.append(describe_left_out("tools", route))
        wanted = []
    if options.parallel_tool_calls is False and wanted:
        warnings.append(describe_left_out("parallel_tool_calls", route))
    if options.tool_choice == "none" and used and wanted:
        warnings.append(describe_left_out("tool_choice", route))
    elif options.tool_choice == "none":
        wanted = []
    if wanted:
        body["toolConfig"] = {"tools": wanted} | _tool_choice(options)
    elif used:
        body["toolConfig"] = {"tools": [_tool_spec(name, {"type": "object"}) for name in used]}


def _used_tools(turns: list[dict[str, Any]]) -> list[str]:
    blocks = [block for turn in turns for block in turn["content"]]
    # One with a type is the provider's own tool, which is declared otherwise.
    calls = [block["toolUse"] for block in blocks if "toolUse" in block and "type" not in block["toolUse"]]
    names = [call["name"] for call in calls]
    if not names and any("toolResult" in block and "type" not in block["toolResult"] for block in blocks):
        return ["tool"]
    return list(dict.fromkeys(names))


def _tool(tool: Tool, where: str) -> dict[str, Any]:
    if not _TOOL_NAME.fullmatch(tool.name):
        raise invalid(f"`{where}.name` has at most 64 letters, digits, `_` and `-` on this wire.", f"{where}.name")
    made = _tool_spec(tool.name, tool.parameters)
    if tool.description:
        made["toolSpec"]["description"] = tool.description
    if tool.strict is not None:
        made["toolSpec"]["strict"] = tool.strict
    return made


def _tool_spec(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"toolSpec": {"name": name, "inputSchema": {"json": parameters}}}


def _tool_choice(options: Options) -> dict[str, Any]:
    match options.tool_choice:
        case NamedTool(name):
            return {"toolChoice": {"tool": {"name": name}}}
        case "required":
            return {"toolChoice": {"any": {}}}
        case _:
            # To choose freely is the default, and families that cannot be forced refuse the field altogether.
            return {}


def _inference(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    fields: dict[str, Any] = {
        "maxTokens": options.max_tokens,
        "temperature": options.temperature,
        "topP": options.top_p,
        "stopSequences": list_stops(options) or None,
    }
    if body.get("additionalModelRequestFields", {}).get("thinking", {}).get("type") in ("adaptive", "enabled"):
        # A model that thinks takes the defaults only.
        for field, option in (("temperature", "temperature"), ("topP", "top_p")):
            if fields.pop(field) is not None:
                warnings.append(describe_left_out(option, route))
    if options.seed is not None:
        warnings.append(describe_left_out("seed", route))
    if given := {name: value for name, value in fields.items() if value is not None}:
        body["inferenceConfig"] = given


def _reasoning(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    wanted = options.reasoning
    if wanted is None:
        return
    facts = route.facts
    thinks = facts.thinking is not None or family(route.model).thinking
    if facts.reasoning is False or not (thinks or facts.reasoning):
        # Of a model that nothing is known of, most do not reason.
        if wanted.effort != "none":
            warnings.append(describe_left_out("reasoning", route))
    elif thinks and wanted.effort == "none":
        body["additionalModelRequestFields"] = {"thinking": {"type": "disabled"}}
    elif facts.thinking == "budget":
        _thinking_budget(body, wanted, options, route, warnings)
    else:
        if wanted.budget_tokens is not None:
            warnings.append(describe_left_out("reasoning.budget_tokens", route))
        if thinks:
            # Models show nothing of their thoughts unless they are asked to.
            display = "omitted" if wanted.include is False else "summarized"
            body["additionalModelRequestFields"] = {"thinking": {"type": "adaptive", "display": display}}
        _effort(body, wanted, route, warnings)


def _thinking_budget(
    body: dict[str, Any], wanted: ReasoningOptions, options: Options, route: Route, warnings: list[Warn]
) -> None:
    limit = options.max_tokens or route.facts.max_output
    budget = max(MIN_THINKING_TOKENS, wanted.budget_tokens or BUDGET_OF_EFFORT[wanted.effort or "medium"])
    if limit is not None:
        budget = min(budget, limit - 1)
    if budget < MIN_THINKING_TOKENS:
        warnings.append(describe_left_out("reasoning", route))
    else:
        body["additionalModelRequestFields"] = {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _effort(body: dict[str, Any], wanted: ReasoningOptions, route: Route, warnings: list[Warn]) -> None:
    effort = "low" if wanted.effort == "minimal" else wanted.effort
    if effort is None:
        return
    if effort == "none" or (route.facts.efforts and effort not in route.facts.efforts):
        warnings.append(describe_left_out("reasoning.effort", route))
    else:
        body["outputConfig"] = {"effort": effort}


def _response_format(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    wanted = get_json_format(options)
    if wanted is None:
        return
    if wanted.type == "json_schema" and route.facts.structured is not False:
        # The schema is a JSON document inside of a string.
        schema = {"name": wanted.name, "schema": msgspec.json.encode(wanted.schema).decode()}
        structure = {"type": "json_schema", "structure": {"jsonSchema": schema}}
        body.setdefault("outputConfig", {})["textFormat"] = structure
    else:
        body.setdefault("system", []).append({"text": write_json_instruction(wanted, route, warnings)})


def _mark_cache(body: dict[str, Any], places: tuple[str, ...]) -> None:
    """Place cache points after the system text, the tools and the last two user turns (at most 4 go)."""
    point = {"cachePoint": {"type": "default"}}
    if "system" in places and body.get("system"):
        body["system"].append(point)
    if "tools" in places and "toolConfig" in body:
        body["toolConfig"]["tools"].append(point)
    if "messages" in places:
        for turn in [turn for turn in body["messages"] if turn["role"] == "user"][-2:]:
            content = turn["content"]
            # A point right behind a document is refused.
            end = next((at for at in range(len(content), 0, -1) if "document" not in content[at - 1]), 0)
            if end:
                content.insert(end, point)
