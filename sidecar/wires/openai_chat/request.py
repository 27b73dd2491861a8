"""A chat → the request of OpenAI's Chat Completions, `POST /chat/completions`. [pure]

Knows the options and, by the columns of `Quirks`, where the imitations differ; `turns` encodes the
messages. Must not know the answer. Sources: openai 3.52.0
(`types/chat/completion_create_params.py`), openrouter 1.3.84, groq 1.7.0, cerebras_cloud_sdk 1.91.0,
mistralai 3.7.0, read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import Tool
from protocol.options import NamedTool, Options, ReasoningOptions, ResponseFormat
from protocol.replies import Warn
from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.wires.openai_chat.turns import encode_conversation
from sidecar.wires.shared.options import (
    JSON_WORD,
    describe_left_out,
    drop_refused_options,
    get_json_format,
    lacks_json_word,
    list_stops,
    merge_provider_options,
    write_json_instruction,
)
from sidecar.wires.shared.tool_calls import make_name_fit
from sidecar.wires.shared.types import Encoded, Route

REFUSABLE = ("tools", "tool_choice", "parallel_tool_calls", "reasoning", "max_tokens")
"""Options, beside the sampling options, that are left out for a model that is known to refuse them."""

CACHE_OPTIONS: dict[str, dict[str, Any]] = {
    "": {},
    "cache_control": {"cache_control": {"type": "ephemeral"}},
    "gateway": {"providerOptions": {"gateway": {"caching": "auto"}}},
}
"""The fields that ask the provider to cache the prompt, by `Quirks.cache_option`."""

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*."""
    warnings: list[Warn] = []
    options = _drop_refused_options(chat.options, route, warnings)
    messages = encode_conversation(chat.messages, route, make_name_fit(options.tools))
    body: dict[str, Any] = {"model": route.model, "messages": messages}
    body |= _encode_stream_options(route)
    body |= _encode_sampling(options, route)
    body |= _encode_tools(options)
    body |= _encode_reasoning(options.reasoning, route, warnings)
    if (json_format := get_json_format(options)) is not None:
        _add_response_format(body, json_format, route, warnings)
        if json_format.type == "json" and "response_format" in body and lacks_json_word(chat):
            messages.insert(0, {"role": route.quirks.system_role, "content": JSON_WORD})
    if options.cache == "auto":
        body |= CACHE_OPTIONS[route.quirks.cache_option]
        if route.quirks.cache_mark:
            _mark_cache(messages, route.quirks.cache_mark)
    return Encoded(
        HttpRequest(
            method="POST",
            url=route.base_url + (route.path or "/chat/completions"),
            headers={"content-type": "application/json"} | route.headers,
            body=msgspec.json.encode(merge_provider_options(body, chat)),
        ),
        warnings,
    )


def _mark_cache(messages: list[dict[str, Any]], field: str) -> None:
    """Set marks after the system text, the last two turns of the user's and the last result: 4, the most allowed."""
    first_turn = next((at for at, each in enumerate(messages) if each["role"] != "system"), len(messages))
    asked = [at for at, each in enumerate(messages) if each["role"] == "user"]
    results = [at for at, each in enumerate(messages) if each["role"] == "tool"]
    for at in {*range(first_turn - 1, first_turn), *asked[-2:], *results[-1:]} - {-1}:
        messages[at] = messages[at] | {field: {"type": "ephemeral"}}


# --- options ---------------------------------------------------------------------------------


def _drop_refused_options(options: Options, route: Route, warnings: list[Warn]) -> Options:
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


def _encode_stream_options(route: Route) -> dict[str, Any]:
    if "stream" in route.facts.refuses:
        return {"stream": False}
    stream_options = {"include_usage": True} if route.quirks.usage_option else {}
    if route.quirks.obfuscation_option:
        stream_options["include_obfuscation"] = False
    return {"stream": True, "stream_options": stream_options} if stream_options else {"stream": True}


def _encode_sampling(options: Options, route: Route) -> dict[str, Any]:
    fields = {
        route.quirks.max_tokens_field: options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "stop": list_stops(options) or None,
        route.quirks.seed_field: options.seed,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _encode_tools(options: Options) -> dict[str, Any]:
    if not options.tools:
        return {}
    fields: dict[str, Any] = {"tools": [_encode_tool(tool) for tool in options.tools]}
    choice = options.tool_choice
    if isinstance(choice, NamedTool):
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        fields["tool_choice"] = choice
    if options.parallel_tool_calls is not None:
        fields["parallel_tool_calls"] = options.parallel_tool_calls
    return fields


def _encode_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _add_response_format(body: dict[str, Any], json_format: ResponseFormat, route: Route, warnings: list[Warn]) -> None:
    has_schema = json_format.type == "json_schema"
    is_refused = "response_format" in route.facts.refuses or (has_schema and route.facts.structured is False)
    if is_refused or (has_schema and not route.quirks.json_schema):
        text = write_json_instruction(json_format, route, warnings)
        body["messages"].insert(0, {"role": route.quirks.system_role, "content": text})
    if has_schema and not is_refused and route.quirks.json_schema:
        strict = {} if json_format.strict is None else {"strict": json_format.strict}
        schema = {"name": json_format.name, "schema": json_format.schema} | strict
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif not is_refused:
        body["response_format"] = {"type": "json_object"}


# --- reasoning -------------------------------------------------------------------------------


def _encode_reasoning(reasoning: ReasoningOptions | None, route: Route, warnings: list[Warn]) -> dict[str, Any]:
    is_hidden = reasoning is not None and reasoning.include is False
    fields: dict[str, Any] = {}
    if route.quirks.reasoning_format and (reasoning is not None or route.facts.reasoning):
        fields["reasoning_format"] = "hidden" if is_hidden else "parsed"
    if reasoning is None:
        return fields
    effort = _pick_effort(reasoning.effort, route, warnings)
    budget = reasoning.budget_tokens
    match route.quirks.reasoning_option:
        case "reasoning":
            return fields | {"reasoning": _encode_reasoning_object(effort, budget, is_hidden=is_hidden)}
        case "thinking":
            fields["thinking"] = {"type": "disabled" if reasoning.effort == "none" else "enabled"}
        case "reasoning_effort":
            if effort is not None:
                fields["reasoning_effort"] = effort
        case _:
            if effort is not None:
                warnings.append(describe_left_out("reasoning.effort", route))
    if budget is not None:
        warnings.append(describe_left_out("reasoning.budget_tokens", route))
    return fields


def _encode_reasoning_object(effort: str | None, budget: int | None, *, is_hidden: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"enabled": effort != "none"}
    if effort != "none" and budget is not None:
        # Effort and budget exclude each other, and the budget says more.
        fields = {"max_tokens": budget}
    elif effort not in (None, "none"):
        fields = {"effort": effort}
    return fields | ({"exclude": True} if is_hidden else {})


def _pick_effort(effort: str | None, route: Route, warnings: list[Warn]) -> str | None:
    """Return *effort*, or the nearest one that the model is known to take; `none` is near to nothing else."""
    efforts = route.facts.efforts
    if effort is None or not efforts or effort in efforts:
        return effort
    similar = [each for each in efforts if (each == "none") == (effort == "none")]
    if not similar:
        warnings.append(describe_left_out("reasoning.effort", route))
        return None
    nearest = min(similar, key=lambda each: abs(_rank_effort(each) - _rank_effort(effort)))
    warnings.append(
        Warn(
            code="option_changed",
            message=f"{route.provider}/{route.model} takes no effort `{effort}`; `{nearest}` was asked for.",
            param="params.options.reasoning.effort",
        )
    )
    return nearest


def _rank_effort(effort: str) -> int:
    """Return the rank of *effort*; a provider's own word (such as `default`) ranks in the middle."""
    return EFFORTS.index(effort) if effort in EFFORTS else EFFORTS.index("medium")
