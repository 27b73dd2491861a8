"""How Gemini's models are asked to think: by a budget of tokens or by a level. [pure]

Knows which generation takes which, and within what bounds. Source:
https://ai.google.dev/gemini-api/docs/thinking, read 2026-11.
"""

import re
from typing import Any, NamedTuple

from protocol.options import Options, ReasoningOptions
from protocol.replies import Warn
from sidecar.wires.shared.options import describe_left_out
from sidecar.wires.shared.types import Route

LEVEL_FAMILIES = re.compile(r"(?:models/)?gemini-(?:[3-9]|[1-9]\d|(?:pro|flash|flash-lite)-latest)", re.ASCII)
"""Names of the generations that think in levels and refuse a function call without a signature."""


class ThinkingRange(NamedTuple):
    """The thinking tokens that a family of models accepts, beside 0 if thinking `can_be_off`."""

    least_tokens: int
    most_tokens: int
    can_be_off: bool


RANGES: dict[str, ThinkingRange] = {
    "gemini-2.5-pro": ThinkingRange(128, 32_768, can_be_off=False),
    "gemini-2.5-flash-lite": ThinkingRange(512, 24_576, can_be_off=True),
    "gemini-2.5-flash": ThinkingRange(1, 24_576, can_be_off=True),
}
"""By the beginning of the model's name; the first match counts."""

_ANY_RANGE = ThinkingRange(1, 24_576, can_be_off=True)

BUDGET_TOKENS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
"""Thinking tokens by effort, as in the provider's own OpenAI-compatible endpoint."""

LEVELS = ("minimal", "low", "medium", "high", "xhigh", "max")
"""Efforts, weakest first. The API has no `max`: it becomes the strongest level of the model."""

USUAL_LEVELS = ("low", "medium", "high")
"""The levels of models whose efforts are unknown: some models refuse the others."""


def thinks_in_levels(route: Route) -> bool:
    """Return whether the model's name belongs to a generation that thinks in levels."""
    return LEVEL_FAMILIES.match(route.model) is not None


def encode_thinking(
    options: Options, reasoning: ReasoningOptions, route: Route, warnings: list[Warn]
) -> dict[str, Any]:
    """Return the `thinkingConfig` for *reasoning*, with a warning for what the model cannot do."""
    is_off = reasoning.effort == "none" or reasoning.budget_tokens == 0
    if route.facts.reasoning is False:
        if not is_off:
            warnings.append(describe_left_out("reasoning", route))
        return {}
    # Models show none of their thinking unless they are asked to.
    config: dict[str, Any] = {"includeThoughts": True} if reasoning.include is not False and not is_off else {}
    name = route.model.removeprefix("models/")
    accepted = next((accepted for prefix, accepted in RANGES.items() if name.startswith(prefix)), None)
    if accepted or route.facts.thinking == "budget":
        return config | _encode_budget(accepted or _ANY_RANGE, reasoning, options.max_tokens, route, warnings)
    if reasoning.budget_tokens and reasoning.effort is None:
        return config | {"thinkingBudget": reasoning.budget_tokens}
    if reasoning.budget_tokens:
        # A budget beside a level is an error.
        warnings.append(describe_left_out("reasoning.budget_tokens", route))
    if is_off and not route.facts.reasoning and not thinks_in_levels(route):
        # A model that cannot think refuses a level.
        return config
    return config | _encode_level("none" if is_off else reasoning.effort, route, warnings)


def _encode_budget(
    accepted: ThinkingRange, reasoning: ReasoningOptions, max_tokens: int | None, route: Route, warnings: list[Warn]
) -> dict[str, Any]:
    if reasoning.effort == "none" or reasoning.budget_tokens == 0:
        if accepted.can_be_off:
            return {"thinkingBudget": 0}
        text = f"cannot be kept from thinking; it may use {accepted.least_tokens} tokens for it"
        warnings.append(_describe_change("reasoning", text, route))
        return {"thinkingBudget": accepted.least_tokens}
    if reasoning.budget_tokens is None and reasoning.effort is None:
        return {}
    tokens = reasoning.budget_tokens
    if tokens is None:
        tokens = BUDGET_TOKENS[reasoning.effort or "medium"]
        if max_tokens is not None:
            # Thinking and answer share the limit, so an effort leaves half of it to the answer.
            tokens = min(tokens, max_tokens // 2)
    return {"thinkingBudget": max(accepted.least_tokens, min(tokens, accepted.most_tokens))}


def _encode_level(effort: str | None, route: Route, warnings: list[Warn]) -> dict[str, Any]:
    if effort is None:
        return {}
    levels = [level for level in route.facts.efforts if level in LEVELS] or list(USUAL_LEVELS)
    if effort == "none":
        level = min(levels, key=LEVELS.index)
        text = f"cannot be kept from thinking; the effort `{level}` was asked for"
        warnings.append(_describe_change("reasoning", text, route))
    else:
        # Of two levels that are equally near, the stronger one.
        level = min(levels, key=lambda each: (abs(LEVELS.index(each) - LEVELS.index(effort)), -LEVELS.index(each)))
        if effort not in (level, "max"):
            text = f"takes no effort `{effort}`; `{level}` was asked for"
            warnings.append(_describe_change("reasoning.effort", text, route))
    return {"thinkingLevel": level.upper()}


def _describe_change(option: str, text: str, route: Route) -> Warn:
    return Warn(
        code="option_changed", message=f"{route.provider}/{route.model} {text}.", param=f"params.options.{option}"
    )
