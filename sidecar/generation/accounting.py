"""What an answer has used and cost: as the provider reports it, else by its usage, else by an estimate.

Must not know wires, or where prices come from.
"""

from typing import Any

import msgspec

from protocol.messages import Usage
from protocol.requests import Chat
from sidecar.generation.request_limits import CHARS_PER_TOKEN, LimitWatch
from sidecar.generation.response_stream import ResponseStream
from sidecar.providers.values import Target
from sidecar.tokens.prompts import estimate_prompt_tokens
from sidecar.usage import pricing
from sidecar.usage.cost import mark_estimated
from sidecar.wires.shared.types import Outcome


def price_usage(target: Target, chat: Chat, usage: Usage | None) -> dict[str, Any]:
    """Return the `cost` object of *usage*."""
    return pricing.price_attempt(target, chat.options.provider_options, usage)


def price_outcome(target: Target, chat: Chat, outcome: Outcome, limits: LimitWatch | None) -> dict[str, Any]:
    """Return the `cost` object of a complete answer."""
    if outcome.provider_cost_usd is not None:
        return pricing.price_reported(target, outcome.provider_cost_usd)
    if limits is None or not limits.has_ended_stream:
        return price_usage(target, chat, outcome.usage)
    return mark_estimated(price_usage(target, chat, limits.usage))


def price_partial(target: Target, chat: Chat, stream: ResponseStream, usage: Usage | None) -> dict[str, Any] | None:
    """Return the `cost` object of an unfinished answer with this *usage*; None while that is unknown."""
    if stream.provider_cost_usd is not None:
        return pricing.price_reported(target, stream.provider_cost_usd)
    return None if usage is None else price_known(target, chat, usage)


def price_known(target: Target, chat: Chat, usage: Usage) -> dict[str, Any]:
    """Return the `cost` object of *usage*, marked as an estimate if the usage is one."""
    cost = price_usage(target, chat, usage)
    return mark_estimated(cost) if usage.estimated is True else cost


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
