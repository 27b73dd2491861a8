"""The limits of one request: what is counted, what replaces the count, what a budget pays for."""

from decimal import Decimal

import msgspec
import pytest

from protocol.messages import Message, ToolCall, Usage
from protocol.options import Options
from protocol.replies import Content, Reasoning, ToolCallChunk, ToolCallDelta
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.generation import request_limits

FRAME = 6
"""What the model is known to add to one message."""

PROMPT = 1000

CHAT = Chat(model="gpt-6", messages=[Message(role="user", content="x" * 4 * (PROMPT - FRAME))])


def chat(**options: object) -> Chat:
    return msgspec.structs.replace(CHAT, options=msgspec.convert(options, Options))


def price(usage: Usage) -> Decimal:
    """Return what a model costs that takes 1 dollar for a million of the prompt and 10 for one of the answer."""
    return ((usage.input_tokens or 0) + 10 * (usage.output_tokens or 0)) * Decimal("0.000001")


def unknown(usage: Usage) -> None:
    """Return that the price of *usage* is not known."""


def test_without_limits_nothing_is_watched() -> None:
    assert request_limits.watch_limits(CHAT, price) == (None, [])


def test_characters_are_counted_until_the_provider_counts() -> None:
    watch, _ = request_limits.watch_limits(chat(token_limit=10), unknown)
    assert watch
    assert watch.find_reached_limit([Content("x" * 16), Reasoning("x" * 16)], None) is None
    assert watch.output_tokens == 8
    # The call was counted by its pieces.
    call = ToolCall(id="1", name="f", arguments={}, arguments_text="x" * 400)
    assert watch.find_reached_limit([ToolCallDelta(0, "1", "f", "x" * 4), ToolCallChunk(call)], None) is None
    assert watch.find_reached_limit([], Usage(output_tokens=3)) is None
    assert watch.output_tokens == 3
    assert watch.find_reached_limit([Content("x" * 24)], Usage(output_tokens=3)) is None
    assert watch.output_tokens == 9
    assert watch.drop_stale_output_count(Usage(input_tokens=5, output_tokens=3)) == Usage(input_tokens=5)
    assert watch.find_reached_limit([Content("x" * 4)], Usage(output_tokens=3)) == "token_limit"
    assert watch.usage == Usage(input_tokens=PROMPT, output_tokens=10)


def test_a_reported_usage_over_the_limit_ends_the_answer() -> None:
    watch, _ = request_limits.watch_limits(chat(token_limit=10), unknown)
    assert watch
    assert watch.find_reached_limit([], Usage(output_tokens=11)) == "token_limit"
    assert watch.drop_stale_output_count(Usage(output_tokens=11)) == Usage(output_tokens=11)


@pytest.mark.parametrize("budget", ["0.002", 0.002], ids=["text", "number"])
def test_a_budget_pays_for_the_prompt_first(budget: object) -> None:
    watch, warnings = request_limits.watch_limits(chat(budget_usd=budget), price)
    assert watch
    assert not warnings
    # 1000 tokens of prompt are 0.001; what is left pays for 100.
    assert watch.find_reached_limit([Content("x" * 396)], None) is None
    assert watch.find_reached_limit([Content("x" * 4)], None) == "budget_usd"


def test_a_prompt_longer_than_its_estimate_leaves_less_of_the_budget() -> None:
    watch, _ = request_limits.watch_limits(chat(budget_usd="0.002"), price)
    assert watch
    assert watch.find_reached_limit([Content("x" * 40)], Usage(input_tokens=1900)) == "budget_usd"
    assert price(watch.usage) == Decimal("0.002")


def test_a_prompt_that_costs_more_than_the_budget_is_refused() -> None:
    with pytest.raises(SidecarError) as caught:
        request_limits.watch_limits(chat(budget_usd="0.0009"), price)
    body = caught.value.body
    assert (body.code, body.reason, body.param) == ("quota_exceeded", "budget_usd", "params.options.budget_usd")


def test_a_budget_without_a_price_gives_a_warning() -> None:
    watch, warnings = request_limits.watch_limits(chat(budget_usd=1), unknown)
    assert [warning.param for warning in warnings] == ["params.options.budget_usd"]
    assert watch
    assert watch.find_reached_limit([Content("x" * 10_000_000)], None) is None


@pytest.mark.parametrize("wrong", ["-1", "1e5", "", "0.1234567890123", -0.5, 1e10, "nan"])
def test_an_invalid_amount_is_refused(wrong: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"budget_usd": wrong}, Options)
