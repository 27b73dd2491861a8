"""What an answer has used and cost: as the provider reports it, else by its usage, else by an estimate.

Must not know wires, or where prices come from.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from protocol.messages import Usage
from protocol.requests import Chat
from sidecar.generation.request_limits import CHARS_PER_TOKEN, LimitWatch
from sidecar.generation.response_stream import ResponseStream
from sidecar.providers.values import Target
from sidecar.tokens.prompts import estimate_prompt_tokens
from sidecar.usage import pricing
from sidecar.usage.amounts import format_plain
from sidecar.wires.shared.types import Outcome

COUNTS = tuple(name for name in Usage.__struct_fields__ if name.endswith("_tokens"))


def price_usage(target: Target, chat: Chat, usage: Usage | None) -> dict[str, Any]:
    """Return the `cost` object of *usage*."""
    return pricing.price_attempt(target, chat.options.provider_options, usage)


def price_outcome(target: Target, chat: Chat, outcome: Outcome, limits: LimitWatch | None) -> dict[str, Any]:
    """Return the `cost` object of a complete answer."""
    if outcome.provider_cost_usd is not None:
        return pricing.price_reported(target, outcome.provider_cost_usd)
    if limits is None or not limits.has_ended_stream:
        return price_usage(target, chat, outcome.usage)
    return _mark_estimated(price_usage(target, chat, limits.usage))


def price_partial(target: Target, chat: Chat, stream: ResponseStream, usage: Usage | None) -> dict[str, Any] | None:
    """Return the `cost` object of an unfinished answer with this *usage*; None while that is unknown."""
    if stream.provider_cost_usd is not None:
        return pricing.price_reported(target, stream.provider_cost_usd)
    return None if usage is None else price_known(target, chat, usage)


def price_known(target: Target, chat: Chat, usage: Usage) -> dict[str, Any]:
    """Return the `cost` object of *usage*, marked as an estimate if the usage is one."""
    cost = price_usage(target, chat, usage)
    return _mark_estimated(cost) if usage.estimated is True else cost


def read_partial_usage(chat: Chat, stream: ResponseStream) -> Usage | None:
    """Return the usage of an answer that has broken off, with estimates for what its provider has not counted.

    None if nothing was received.
    """
    usage, uncounted = stream.usage, stream.uncounted_chars
    if not uncounted:
        return usage
    usage = usage or Usage()
    input_tokens = usage.input_tokens if usage.input_tokens is not None else estimate_prompt_tokens(chat)
    output_tokens = max(-(-uncounted // CHARS_PER_TOKEN), usage.output_tokens or 0)
    return msgspec.structs.replace(usage, input_tokens=input_tokens, output_tokens=output_tokens, estimated=True)


def estimate_unanswered_usage(chat: Chat) -> Usage:
    """Return the usage of a chat that was sent and then cancelled before anything came: its prompt."""
    return Usage(input_tokens=estimate_prompt_tokens(chat), output_tokens=0, estimated=True)


def count_tokens(usage: Usage | None) -> int:
    """Return the tokens of *usage*, prompt and answer; 0 if it is unknown."""
    return (usage.input_tokens or 0) + (usage.output_tokens or 0) if usage else 0


def sum_usage(usages: Iterable[Usage | None]) -> Usage | None:
    """Return the sums of the reported counts; None if there are none."""
    known = [usage for usage in usages if usage is not None]
    if not known:
        return None
    sums: dict[str, Any] = {"estimated": True} if any(usage.estimated is True for usage in known) else {}
    for name in COUNTS:
        counts = [count for usage in known if (count := getattr(usage, name)) is not None]
        sums[name] = sum(counts) if counts else None
    return Usage(**sums)


def sum_costs(costs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return one `cost` object for the sum of *costs*. It is unknown if one of them is."""
    costs = list(costs)
    if unknown := next((cost for cost in costs if cost["usd"] is None), None):
        return unknown
    parts: dict[str, Decimal] = {}
    for cost in costs:
        for name, amount in cost["parts"].items():
            parts[name] = parts.get(name, Decimal(0)) + Decimal(amount)
    total: dict[str, Any] = {"usd": _sum_amounts(cost["usd"] for cost in costs)}
    if "credits" in costs[-1]:
        total["credits"] = _sum_amounts(cost.get("credits", "0") for cost in costs)
    total["parts"] = {name: format_plain(amount) for name, amount in parts.items()}
    is_estimate = any(cost["source"] == "estimate" for cost in costs)
    return costs[-1] | total | ({"source": "estimate"} if is_estimate else {})


def _sum_amounts(amounts: Iterable[str]) -> str:
    return format_plain(sum(map(Decimal, amounts), Decimal(0)))


def _mark_estimated(cost: dict[str, Any]) -> dict[str, Any]:
    return cost if cost["usd"] is None else cost | {"source": "estimate"}
