"""A chat → the request of Anthropic's Messages API, `POST /v1/messages`. [pure]

Knows the request's fields and which of them a model or an API version refuses. Must not know
the answer. Sources: anthropic 2.11.0 (`types/message_create_params.py`, `types/*_param.py`)
and the migration guide to version 2026-10-21, read 2026-11.
"""

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
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from protocol.replies import Warn
from protocol.requests import Chat, NamedTool, Options, ReasoningOptions
from sidecar.core.http import HttpRequest
from sidecar.core.message_content import decode_text, list_parts, read_inline_data
from sidecar.wires.shared import calls
from sidecar.wires.shared.draft import parse_arguments
from sidecar.wires.shared.options import (
    describe_left_out,
    drop_refused_options,
    get_json_format,
    list_stops,
    merge_provider_options,
    write_json_instruction,
)
from sidecar.wires.shared.state import read_own_state
from sidecar.wires.shared.types import Encoded, Route

VERSION = "2026-10-21"
"""Refuses `temperature`, `top_p` and `top_k` whatever the model."""

VERSION_WITH_SAMPLING = "2023-06-01"
"""The version to say for a model that still takes them."""

DEFAULT_MAX_TOKENS = 32_000
"""`max_tokens` is required; this, or less where the model cannot write as much."""

MIN_THINKING_TOKENS = 1024

BUDGET_OF_EFFORT = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 31_999}
"""Thinking tokens for an effort, for the models that take only a budget."""


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*."""
    warnings: list[Warn] = []
    options = drop_refused_options(chat.options, route, warnings)
    body = _body(chat.messages, options, route)
    _thinking(body, options, route, warnings)
    version = _sampling(body, options, route, warnings)
    _response_format(body, options, route, warnings)
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


def _body(messages: list[Message], options: Options, route: Route) -> dict[str, Any]:
    """Return the body as far as every model takes it."""
    system, turns = _conversation(messages, route)
    body: dict[str, Any] = {
        "max_tokens": options.max_tokens or min(route.facts.max_output or DEFAULT_MAX_TOKENS, DEFAULT_MAX_TOKENS),
        "messages": turns,
        "stream": True,
    }
    if system:
        body["system"] = system
    if options.tools:
        body["tools"] = [_tool(tool) for tool in options.tools]
        if choice := _tool_choice(options):
            body["tool_choice"] = choice
    if stops := list_stops(options):
        body["stop_sequences"] = stops
    return body


# --- messages --------------------------------------------------------------------------------


def _conversation(messages: list[Message], route: Route) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the system blocks and the turns, consecutive turns of one role merged into one."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(calls.paired(messages, tool_id, tool_name)):
        where = f"params.messages[{index}].content"
        blocks = [
            block
            for at, part in enumerate(list_parts(message))
            if (block := _block(part, message.role, route, f"{where}[{at}]")) is not None
        ]
        if message.role == "system":
            system.extend(blocks)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    if turns and turns[0]["role"] == "assistant":
        # A conversation begins with a user turn, and a text of nothing but blanks is refused.
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": FILLER}]})
    for turn in turns:
        if turn["role"] == "user":
            # The results of an assistant turn must come before anything else in the next user turn.
            turn["content"].sort(key=lambda block: block.get("type") != "tool_result")
    return system, turns


def _block(part: Part, role: str, route: Route, where: str) -> dict[str, Any] | None:
    match part:
        case TextPart():
            return _text(part, role, route)
        case ImagePart() | FilePart():
            return _media(part, where)
        case ReasoningPart():
            return _thought(part, route)
        case ToolCallPart():
            return _tool_use(part, route)
        case ToolResultPart():
            return _tool_result(part, where, route)
        case OpaquePart():
            return _own(part, route) or None


def _own(part: TextPart | ReasoningPart | ToolCallPart | OpaquePart, route: Route) -> dict[str, Any]:
    """Return the fields of a block that this provider left with *part*; another's are dropped."""
    data = read_own_state(part.state, route)
    return dict(data) if isinstance(data, dict) else {}


def _text(part: TextPart, role: str, route: Route) -> dict[str, Any] | None:
    # A text of nothing but blanks is refused, even one that the model wrote.
    if not part.text.strip():
        return None
    # Citations are refused in a user turn.
    return {"type": "text", "text": part.text} | (_own(part, route) if role == "assistant" else {})


def _thought(part: ReasoningPart, route: Route) -> dict[str, Any] | None:
    # Without its signature a thinking block is refused, so another provider's is left out.
    own = _own(part, route)
    if own.get("data"):
        return {"type": "redacted_thinking", "data": own["data"]}
    if own.get("signature"):
        return {"type": "thinking", "thinking": part.content, "signature": own["signature"]}
    return None


FILLER = "."
"""The text of a turn that must be there and says nothing."""

_OUTSIDE_NAMES = re.compile("[^a-zA-Z0-9_-]")

MAX_NAME_CHARS = 128


def tool_id(call_id: str) -> str:
    """Return *call_id*, or another for it in the alphabet that the API takes: letters, digits, `_` and `-`."""
    return calls.within(call_id, _OUTSIDE_NAMES)


def tool_name(name: str) -> str:
    """Return *name*, perhaps of another provider's call, in the alphabet that the API takes."""
    return _OUTSIDE_NAMES.sub("_", name)[:MAX_NAME_CHARS] or "_"


def _tool_use(part: ToolCallPart, route: Route) -> dict[str, Any]:
    arguments = parse_arguments(part.arguments_text or "") if part.arguments is None else part.arguments
    return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments or {}} | _own(part, route)


def _tool_result(part: ToolResultPart, where: str, route: Route) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.id}
    if isinstance(part.content, str):
        block["content"] = part.content
    else:
        inner = (_block(each, "tool", route, f"{where}.content[{at}]") for at, each in enumerate(part.content))
        block["content"] = [each for each in inner if each is not None]
    if part.is_error:
        block["is_error"] = True
    return block


def _media(part: ImagePart | FilePart, where: str) -> dict[str, Any]:
    kind = "image" if isinstance(part, ImagePart) else "document"
    data = read_inline_data(part, where)
    source: dict[str, Any]
    if data is None:
        source = {"type": "url", "url": part.url}
    elif kind == "document" and data[0].startswith("text/"):
        source = {"type": "text", "media_type": "text/plain", "data": decode_text(data[1], where)}
    else:
        source = {"type": "base64", "media_type": data[0], "data": data[1]}
    block: dict[str, Any] = {"type": kind, "source": source}
    if isinstance(part, FilePart) and part.name:
        block["title"] = part.name
    return block


# --- options ---------------------------------------------------------------------------------


def _tool(tool: Tool) -> dict[str, Any]:
    block: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters}
    if tool.description is not None:
        block["description"] = tool.description
    if tool.strict is not None:
        block["strict"] = tool.strict
    return block


def _tool_choice(options: Options) -> dict[str, Any] | None:
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


def _thinking(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    wanted = options.reasoning
    if wanted is None:
        return
    unwanted = wanted.effort == "none" or wanted.budget_tokens == 0
    if route.facts.reasoning is False:
        if not unwanted:
            warnings.append(describe_left_out("reasoning", route))
    elif unwanted:
        body["thinking"] = {"type": "disabled"}
    elif route.facts.thinking == "budget":
        _thinking_budget(body, wanted, route, warnings)
    else:
        _thinking_adaptive(body, wanted, route, warnings)


def _thinking_budget(body: dict[str, Any], wanted: ReasoningOptions, route: Route, warnings: list[Warn]) -> None:
    max_tokens = body["max_tokens"]
    # Thoughts and answer share the limit, so an effort leaves half of it to the answer.
    budget = wanted.budget_tokens or min(BUDGET_OF_EFFORT[wanted.effort or "medium"], max_tokens // 2)
    budget = max(MIN_THINKING_TOKENS, min(budget, max_tokens - 1))
    if budget < max_tokens:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    else:
        warnings.append(describe_left_out("reasoning", route))


def _thinking_adaptive(body: dict[str, Any], wanted: ReasoningOptions, route: Route, warnings: list[Warn]) -> None:
    if wanted.budget_tokens is not None:
        warnings.append(describe_left_out("reasoning.budget_tokens", route))
    # Models show nothing of their thoughts unless they are asked to.
    body["thinking"] = {"type": "adaptive", "display": "omitted" if wanted.include is False else "summarized"}
    effort = "low" if wanted.effort == "minimal" else wanted.effort
    if effort and route.facts.efforts and effort not in route.facts.efforts:
        warnings.append(describe_left_out("reasoning.effort", route))
    elif effort:
        body.setdefault("output_config", {})["effort"] = effort


def _sampling(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> str:
    """Add the sampling options and return the API version that lets them pass."""
    wanted = {name: value for name in ("temperature", "top_p") if (value := getattr(options, name)) is not None}
    if not wanted:
        return VERSION
    # A model that thinks takes the defaults only.
    thinks = body.get("thinking", {}).get("type") in ("adaptive", "enabled")
    if thinks or not route.facts.sampling:
        warnings.extend(describe_left_out(name, route) for name in wanted)
        return VERSION
    body |= wanted
    return VERSION_WITH_SAMPLING


def _response_format(body: dict[str, Any], options: Options, route: Route, warnings: list[Warn]) -> None:
    wanted = get_json_format(options)
    if wanted is None:
        return
    if wanted.type == "json_schema" and route.facts.structured is not False:
        body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": wanted.schema}
    else:
        text = write_json_instruction(wanted, route, warnings)
        body.setdefault("system", []).append({"type": "text", "text": text})


def _mark_cache(body: dict[str, Any]) -> None:
    """Place breakpoints after the tools, the system text and the last two user turns: as many as may be, 4."""
    mark = {"cache_control": {"type": "ephemeral"}}
    for part in ("tools", "system"):
        # Each has its own: a system text that changes from chat to chat leaves the tools cached.
        if body.get(part):
            body[part][-1] |= mark
    users = [turn for turn in body["messages"] if turn["role"] == "user"]
    for turn in users[-2:]:
        turn["content"][-1] |= mark
