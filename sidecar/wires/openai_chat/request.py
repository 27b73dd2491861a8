"""A chat → the request of OpenAI's Chat Completions, `POST /chat/completions`. [pure]

Knows the options and, by the columns of `Quirks`, how those who imitate it differ; the messages are
built by `openai_chat_turns`. Must not know the answer. Sources: openai 3.52.0
(`types/chat/completion_create_params.py`), openrouter 1.3.84, groq 1.7.0, cerebras_cloud_sdk 1.91.0,
mistralai 3.7.0, read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import Tool
from protocol.replies import Warn
from protocol.requests import Chat, NamedTool, Options, ReasoningOptions
from sidecar.core.http import HttpRequest
from sidecar.wires.openai_chat.turns import conversation
from sidecar.wires.shared.options import (
    describe_left_out,
    drop_refused_options,
    get_json_format,
    list_stops,
    merge_provider_options,
    write_json_instruction,
)
from sidecar.wires.shared.tool_calls import make_name_fit
from sidecar.wires.shared.types import Encoded, Route

REFUSABLE = ("tools", "tool_choice", "parallel_tool_calls", "reasoning", "max_tokens")
"""Options, beside those of `SAMPLING`, that are left out for a model that is known to refuse them."""

CACHE_OPTIONS: dict[str, dict[str, Any]] = {
    "": {},
    "cache_control": {"cache_control": {"type": "ephemeral"}},
    "gateway": {"providerOptions": {"gateway": {"caching": "auto"}}},
}
"""The fields that ask for the prompt to be cached, by `Quirks.cache_option`."""

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*."""
    warnings: list[Warn] = []
    options = _accepted(chat.options, route, warnings)
    messages = conversation(chat.messages, route, make_name_fit(options.tools))
    body: dict[str, Any] = {"model": route.model, "messages": messages}
    body |= _stream(route)
    body |= _limits(options, route)
    body |= _tools(options)
    body |= _reasoning(options.reasoning, route, warnings)
    _response_format(body, options, route, warnings)
    if options.cache == "auto":
        body |= CACHE_OPTIONS[route.quirks.cache_option]
    return Encoded(
        HttpRequest(
            method="POST",
            url=route.base_url + (route.path or "/chat/completions"),
            headers={"content-type": "application/json"} | route.headers,
            body=msgspec.json.encode(merge_provider_options(body, chat)),
        ),
        warnings,
    )


# --- options ---------------------------------------------------------------------------------


def _accepted(options: Options, route: Route, warnings: list[Warn]) -> Options:
    """Return *options* without what the model or the provider is known to refuse, each with a warning."""
    options = drop_refused_options(options, route, warnings)
    refused = {name for name in REFUSABLE if name in route.facts.refuses}
    if route.facts.sampling is False:
        refused |= {"temperature", "top_p"}
    if not route.quirks.seed_field:
        refused.add("seed")
    if route.facts.reasoning is False:
        refused.add("reasoning")
    given = (name for name in options.__struct_fields__ if getattr(options, name) not in (None, []))
    dropped = [name for name in given if name in refused]
    warnings.extend(describe_left_out(name, route) for name in dropped)
    return msgspec.structs.replace(options, **{name: [] if name == "tools" else None for name in dropped})


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
        "stop": list_stops(options) or None,
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
    wanted = get_json_format(options)
    if wanted is None:
        return
    by_schema = wanted.type == "json_schema"
    refused = "response_format" in route.facts.refuses or (by_schema and route.facts.structured is False)
    if refused or (by_schema and not route.quirks.json_schema):
        text = write_json_instruction(wanted, route, warnings)
        body["messages"].insert(0, {"role": route.quirks.system_role, "content": text})
    if by_schema and not refused and route.quirks.json_schema:
        strict = {} if wanted.strict is None else {"strict": wanted.strict}
        schema = {"name": wanted.name, "schema": wanted.schema} | strict
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif not refused:
        body["response_format"] = {"type": "json_object"}


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
                warnings.append(describe_left_out("reasoning.effort", route))
    if budget is not None:
        warnings.append(describe_left_out("reasoning.budget_tokens", route))
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
        warnings.append(describe_left_out("reasoning.effort", route))
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
