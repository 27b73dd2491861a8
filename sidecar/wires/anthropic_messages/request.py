"""A chat → the request of Anthropic's Messages API, `POST /v1/messages`. [pure]

Knows the request's options and which of them a model or an API version refuses; `turns` encodes the
messages. Must not know the answer. Sources: anthropic 2.11.0 (`types/message_create_params.py`) and
the migration guide to version 2026-10-21, read 2026-11.
"""

from typing import Any

import msgspec

from protocol.messages import Message, Tool
from protocol.options import NamedTool, Options, ReasoningOptions
from protocol.replies import Warn
from protocol.requests import Chat
from sidecar.core.http import HttpRequest
from sidecar.wires.anthropic_messages.turns import encode_conversation
from sidecar.wires.shared.options import (
    describe_left_out,
    drop_refused_options,
    get_json_format,
    list_stops,
    merge_provider_options,
    write_json_instruction,
)
from sidecar.wires.shared.thinking_budgets import BUDGET_TOKENS, MIN_THINKING_TOKENS
from sidecar.wires.shared.types import Encoded, Route

VERSION = "2026-10-21"
"""Refuses `temperature`, `top_p` and `top_k` for every model."""

VERSION_WITH_SAMPLING = "2023-06-01"
"""For a model that still takes them."""

DEFAULT_MAX_TOKENS = 32_000
"""`max_tokens` is required: this, or less for a model that cannot write as much."""


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*."""
    warnings: list[Warn] = []
    options = drop_refused_options(chat.options, route, warnings)
    body = _encode_body(chat.messages, options, route)
    _add_thinking(body, options, route, warnings)
    version = _add_sampling(body, options, route, warnings)
    _add_response_format(body, options, route, warnings)
    if options.seed is not None:
        warnings.append(describe_left_out("seed", route))
    if options.cache == "auto":
        _mark_cache(body)
    headers = {"content-type": "application/json"}
    if route.quirks.version_in_body:
        body = {"anthropic_version": route.quirks.version_in_body} | body
    else:
        headers["anthropic-version"] = version
        body = {"model": route.model} | body
    return Encoded(
        HttpRequest(
            method="POST",
            url=f"{route.base_url}{route.path or '/v1/messages'}",
            headers=headers | route.headers,
            body=msgspec.json.encode(merge_provider_options(body, chat)),
        ),
        warnings,
    )


def _encode_body(messages: list[Message], options: Options, route: Route) -> dict[str, Any]:
    """Return the fields of the body that every model takes."""
    system, turns = encode_conversation(messages, route)
    body: dict[str, Any] = {
        "max_tokens": options.max_tokens or min(route.facts.max_output or DEFAULT_MAX_TOKENS, DEFAULT_MAX_TOKENS),
        "messages": turns,
        "stream": True,
    }
    if system:
        body["system"] = system
    if options.tools:
        body["tools"] = [_encode_tool(tool) for tool in options.tools]
        if choice := _encode_tool_choice(options):
            body["tool_choice"] = choice
    if stops := list_stops(options):
        body["stop_sequences"] = stops
    return body


def _encode_tool(tool: Tool) -> dict[str, Any]:
    encoded: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters}
    if tool.description is not None:
        encoded["description"] = tool.description
    if tool.strict is not None:
        encoded["strict"] = tool.strict
    return encoded


def _encode_tool_choice(options: Options) -> dict[str, Any] | None:
    match options.tool_choice:
        case NamedTool(name):
            choice: dict[str, Any] = {"type": "tool", "name": name}
        case "required":
            choice = {"type": "any"}
        case "none":
            return {"type": "none"}
        case _:
            if options.tool_choice is None and options.parallel_tool_calls is None:
                return None
            choice = {"type": "auto"}
    if options.parallel_tool_calls is not None:
        choice["disable_parallel_tool_use"] = not options.parallel_tool_calls
    return choice


# --- reasoning -------------------------------------------------------------------------------


def _add_thinking(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    reasoning = options.reasoning
    if reasoning is None:
        return
    is_off = reasoning.effort == "none" or reasoning.budget_tokens == 0
    if route.facts.reasoning is False:
        if not is_off:
            warnings.append(describe_left_out("reasoning", route))
    elif is_off:
        body["thinking"] = {"type": "disabled"}
    elif route.facts.thinking == "budget":
        _add_thinking_budget(body, reasoning, route, warnings)
    else:
        _add_adaptive_thinking(body, reasoning, route, warnings)


def _add_thinking_budget(body: dict[str, Any], reasoning: ReasoningOptions, route: Route, warnings: list[Warn]) -> None:
    max_tokens = body["max_tokens"]
    # Thinking and answer share the limit, so an effort leaves half of it to the answer.
    budget = reasoning.budget_tokens or min(BUDGET_TOKENS[reasoning.effort or "medium"], max_tokens // 2)
    budget = max(MIN_THINKING_TOKENS, min(budget, max_tokens - 1))
    if budget < max_tokens:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    else:
        warnings.append(describe_left_out("reasoning", route))


def _add_adaptive_thinking(
    body: dict[str, Any], reasoning: ReasoningOptions, route: Route, warnings: list[Warn]
) -> None:
    if reasoning.budget_tokens is not None:
        warnings.append(describe_left_out("reasoning.budget_tokens", route))
    # Models show none of their thinking unless they are asked to.
    body["thinking"] = {"type": "adaptive", "display": "omitted" if reasoning.include is False else "summarized"}
    effort = "low" if reasoning.effort == "minimal" else reasoning.effort
    if effort and route.facts.efforts and effort not in route.facts.efforts:
        warnings.append(describe_left_out("reasoning.effort", route))
    elif effort:
        body.setdefault("output_config", {})["effort"] = effort


# --- other options ---------------------------------------------------------------------------


def _add_sampling(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> str:
    """Add the sampling options to *body* and return the API version that allows them."""
    sampling = {name: value for name in ("temperature", "top_p") if (value := getattr(options, name)) is not None}
    if not sampling:
        return VERSION
    # A model that thinks takes only the defaults.
    thinks = body.get("thinking", {}).get("type") in ("adaptive", "enabled")
    is_taken = route.quirks.unknown_sampling if route.facts.sampling is None else route.facts.sampling
    if thinks or not is_taken:
        warnings.extend(describe_left_out(name, route) for name in sampling)
        return VERSION
    body |= sampling
    return VERSION_WITH_SAMPLING


def _add_response_format(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    json_format = get_json_format(options)
    if json_format is None:
        return
    if json_format.type == "json_schema" and route.facts.structured is not False:
        body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": json_format.schema}
    else:
        text = write_json_instruction(json_format, route, warnings)
        body.setdefault("system", []).append({"type": "text", "text": text})


def _mark_cache(body: dict[str, Any]) -> None:
    """Set cache breakpoints after the tools, the system text and the last two user turns: 4, the most allowed."""
    mark = {"cache_control": {"type": "ephemeral"}}
    for field in ("tools", "system"):
        # Each has its own: a system text that changes from chat to chat leaves the tools cached.
        if body.get(field):
            body[field][-1] |= mark
    user_turns = [turn for turn in body["messages"] if turn["role"] == "user"]
    for turn in user_turns[-2:]:
        turn["content"][-1] |= mark
