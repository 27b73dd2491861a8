"""A chat → the request of Gemini's `streamGenerateContent`. [pure]

Knows the request's fields and what the generations of models take. Must not know the answer.
Sources: google-genai 3.4.0 (`types.py`, `models.py`, `_transformers.py`) and
https://ai.google.dev/gemini-api/docs (thinking, thought-signatures, function-calling), read 2026-11.
"""

from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from protocol.replies import Warn
from protocol.requests import Chat, NamedTool, Options, ReasoningOptions
from sidecar.core.errors import invalid
from sidecar.core.http import HttpRequest
from sidecar.wires.gemini.turns import conversation, thinks_in_levels
from sidecar.wires.shared.options import describe_left_out, drop_refused_options, list_stops
from sidecar.wires.shared.types import Encoded, Route


def encode(chat: Chat, route: Route) -> Encoded:
    """Return the streaming request for *chat*.

    Raises: SidecarError `invalid_request` for what the API has no place for.
    """
    warnings: list[Warn] = []
    options = drop_refused_options(chat.options, route, warnings)
    system, contents = conversation(chat.messages, route)
    body: dict[str, Any] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    if options.tools and "tools" in route.facts.refuses:
        warnings.append(describe_left_out("tools", route))
    elif options.tools:
        body |= _tools(options)
    if options.parallel_tool_calls is False:
        warnings.append(describe_left_out("parallel_tool_calls", route))
    if config := _generation_config(options, route, warnings):
        body["generationConfig"] = config
    return Encoded(
        HttpRequest(
            method="POST",
            url=route.base_url + _path(route),
            headers={"content-type": "application/json"} | route.headers,
            body=msgspec.json.encode(_laid_over(body, chat.options.provider_options)),
        ),
        warnings,
    )


_FOLDERS = ("models/", "tunedModels/")


def _path(route: Route) -> str:
    model = route.model
    if any(mark in model for mark in ("..", "?", "&")):
        raise invalid("`params.model` is no model's name: it has `..`, `?` or `&`.", "params.model")
    if route.path is not None:
        return route.path
    name = model if model.startswith(_FOLDERS) else f"models/{model}"
    return f"/v1beta/{quote(name, safe='/@')}:streamGenerateContent?alt=sse"


def _laid_over(body: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return *body* with *given* laid over it, object by object: most options stand in an object of their own."""
    merged = dict(body)
    for key, value in given.items():
        ours = body.get(key)
        merged[key] = _laid_over(ours, value) if isinstance(ours, dict) and isinstance(value, dict) else value
    return merged


# --- options ---------------------------------------------------------------------------------

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def _tools(options: Options) -> dict[str, Any]:
    declared = []
    for tool in options.tools:
        function: dict[str, Any] = {"name": tool.name, "parametersJsonSchema": tool.parameters}
        if tool.description is not None:
            function["description"] = tool.description
        declared.append(function)
    fields: dict[str, Any] = {"tools": [{"functionDeclarations": declared}]}
    choice = options.tool_choice
    if isinstance(choice, NamedTool):
        calling = {"mode": "ANY", "allowedFunctionNames": [choice.name]}
        fields["toolConfig"] = {"functionCallingConfig": calling}
    elif choice is not None:
        fields["toolConfig"] = {"functionCallingConfig": {"mode": _MODES[choice]}}
    return fields


def _generation_config(options: Options, route: Route, warnings: list[Warn]) -> dict[str, Any]:
    named = {
        "maxOutputTokens": options.max_tokens,
        "temperature": options.temperature,
        "topP": options.top_p,
        "stopSequences": list_stops(options) or None,
        "seed": options.seed,
    }
    config: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    wanted = options.response_format
    if wanted is not None and wanted.type != "text":
        config["responseMimeType"] = "application/json"
        if wanted.type == "json_schema" and wanted.schema is not None:
            config["responseJsonSchema"] = wanted.schema
    if options.reasoning is not None and (thinking := _thinking(options, options.reasoning, route, warnings)):
        config["thinkingConfig"] = thinking
    return config


# --- thinking --------------------------------------------------------------------------------


class Budget(NamedTuple):
    """The thinking tokens that a family of models takes. `off`: whether 0, for none, is taken too."""

    least: int
    most: int
    off: bool


BUDGETS: dict[str, Budget] = {
    "gemini-2.5-pro": Budget(128, 32_768, off=False),
    "gemini-2.5-flash-lite": Budget(512, 24_576, off=True),
    "gemini-2.5-flash": Budget(1, 24_576, off=True),
}
"""By the beginning of a model's name, the first that fits. Source: ai.google.dev/gemini-api/docs/thinking, 2026-11."""

_ANY_BUDGET = Budget(1, 24_576, off=True)

BUDGET_OF_EFFORT = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
"""Thinking tokens for an effort, as the provider's own OpenAI-compatible endpoint has them."""

LEVELS = ("minimal", "low", "medium", "high", "xhigh", "max")
"""Efforts, weakest first. The API has no `max`: it becomes the strongest that the model takes."""

USUAL_LEVELS = ("low", "medium", "high")
"""What is asked for of models whose efforts are unknown: some refuse the others."""


def _thinking(options: Options, wanted: ReasoningOptions, route: Route, warnings: list[Warn]) -> dict[str, Any]:
    unwanted = wanted.effort == "none" or wanted.budget_tokens == 0
    if route.facts.reasoning is False:
        if not unwanted:
            warnings.append(describe_left_out("reasoning", route))
        return {}
    # Models show nothing of their thoughts unless they are asked to.
    config: dict[str, Any] = {"includeThoughts": True} if wanted.include is not False and not unwanted else {}
    family = next((budget for name, budget in BUDGETS.items() if _name(route).startswith(name)), None)
    if family or route.facts.thinking == "budget":
        return config | _tokens(family or _ANY_BUDGET, wanted, options.max_tokens, route, warnings)
    if wanted.budget_tokens and wanted.effort is None:
        return config | {"thinkingBudget": wanted.budget_tokens}
    if wanted.budget_tokens:
        # A budget beside a level is an error.
        warnings.append(describe_left_out("reasoning.budget_tokens", route))
    if unwanted and not route.facts.reasoning and not thinks_in_levels(route):
        # Whoever cannot think must not be asked how much.
        return config
    return config | _level("none" if unwanted else wanted.effort, route, warnings)


def _name(route: Route) -> str:
    return route.model.removeprefix("models/")


def _tokens(
    family: Budget, wanted: ReasoningOptions, max_tokens: int | None, route: Route, warnings: list[Warn]
) -> dict[str, Any]:
    if wanted.effort == "none" or wanted.budget_tokens == 0:
        if family.off:
            return {"thinkingBudget": 0}
        text = f"cannot be kept from thinking; {family.least} tokens were granted"
        warnings.append(_changed("reasoning", text, route))
        return {"thinkingBudget": family.least}
    if wanted.budget_tokens is None and wanted.effort is None:
        return {}
    budget = wanted.budget_tokens
    if budget is None:
        budget = BUDGET_OF_EFFORT[wanted.effort or "medium"]
        if max_tokens is not None:
            # Thoughts and answer share the limit, so an effort leaves half of it to the answer.
            budget = min(budget, max_tokens // 2)
    return {"thinkingBudget": max(family.least, min(budget, family.most))}


def _level(effort: str | None, route: Route, warnings: list[Warn]) -> dict[str, Any]:
    if effort is None:
        return {}
    taken = [level for level in route.facts.efforts if level in LEVELS] or list(USUAL_LEVELS)
    if effort == "none":
        level = min(taken, key=LEVELS.index)
        text = f"cannot be kept from thinking; the effort `{level}` was asked for"
        warnings.append(_changed("reasoning", text, route))
    else:
        # Of two that are as near, the stronger.
        level = min(taken, key=lambda each: (abs(LEVELS.index(each) - LEVELS.index(effort)), -LEVELS.index(each)))
        if effort not in (level, "max"):
            text = f"takes no effort `{effort}`; `{level}` was asked for"
            warnings.append(_changed("reasoning.effort", text, route))
    return {"thinkingLevel": level.upper()}


def _changed(option: str, text: str, route: Route) -> Warn:
    return Warn(
        code="option_changed", message=f"{route.provider}/{route.model} {text}.", param=f"params.options.{option}"
    )
