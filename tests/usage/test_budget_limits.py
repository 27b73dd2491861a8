"""Limits of money and of tokens: a stream that is ended, a prompt that is refused, a day that is used up."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import environment
from tests.support.fake_provider import Provider
from tests.support.in_process import InProcess
from tests.support.ledgers import MODEL, answered, report
from tests.support.lines import Line, Object
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC, OPENAI, SHAPES, Shape, opened
from tests.support.stalling_providers import lively

pytestmark = pytest.mark.long

CLOSED_SECONDS = 0.25

CENT = 0.0001
"""What the tests' answers cost nearly: 0.00009 dollars."""


def limited(sidecar: Program, model: str, shape: Shape = ANTHROPIC, action: str = "stream_chat", **options: Any) -> Any:
    params = sidecar.params(model, shape)
    params["options"] |= options
    return sidecar.send(action, params, provider=shape.provider)


def text_of(lines: list[Line]) -> str:
    data = [line.data["data"] for line in lines]
    return "".join(each["content"] for each in data if each["type"] == "content")


# --- one request -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.wire)
def test_a_stream_ends_at_its_limit_of_tokens(warm: Program, provider: Provider, shape: Shape) -> None:
    lines = warm.stream(limited(warm, provider.play("m", lively(shape)), shape, token_limit=10))
    done = lines[-1].data["data"]
    assert (done["finish_reason"], done["provider_finish_reason"]) == ("length", "token_limit")
    assert done["message"]["content"][0]["text"] == text_of(lines)
    assert 36 <= len(text_of(lines)) <= 200
    assert (done["usage"] or {}).get("output_tokens") is None
    assert done["cost"]["usd"] is None
    assert provider.closed(provider.call("m")) - lines[-1].at <= CLOSED_SECONDS


def test_a_stream_ends_at_its_budget_and_says_what_it_cost(warm: Program, provider: Provider) -> None:
    provider.play(MODEL, lively())
    # 10 tokens of the prompt are 0.00002 dollars; what is left pays for 20 of the answer.
    done = warm.reply(limited(warm, MODEL, budget_usd="0.00022"))["data"]
    assert (done["finish_reason"], done["provider_finish_reason"]) == ("length", "budget_usd")
    assert done["cost"]["source"] == "estimate"
    assert 0.00022 <= float(done["cost"]["usd"]) < 0.0005
    assert report(warm, "finish_reason", provider="anthropic")["rows"][-1]["group"] == {"finish_reason": "stop"}
    assert report(warm, "model")["rows"][0]["cost_usd"] == done["cost"]["usd"]


def test_generate_has_limits_too(warm: Program, provider: Provider) -> None:
    data = warm.reply(limited(warm, provider.play("m", lively()), action="generate", token_limit=2))["data"]
    assert (data["finish_reason"], data["provider_finish_reason"]) == ("length", "token_limit")
    assert set(data["content"]) == {"x"}


def test_a_call_that_is_cut_is_not_in_the_message(warm: Program, provider: Provider) -> None:
    def call(arguments: str, **head: Any) -> bytes:
        from tests.support.reply_scripts import _choice

        return _choice({"tool_calls": [{"index": 0, "function": {"arguments": arguments}} | head]})

    begun = [OPENAI.opening, OPENAI.text("Let me see."), call("", id="c1", type="function", function={"name": "f"})]
    provider.play("m", opened([*begun, *[call('{"a": "' + "x" * 400)], *[call("x")] * 10]))
    lines = warm.stream(limited(warm, "m", OPENAI, token_limit=50, tools=[{"name": "f"}]))
    assert "tool_call" not in [line.data["data"]["type"] for line in lines]
    assert [part["type"] for part in lines[-1].data["data"]["message"]["content"]] == ["text"]


def test_an_answer_within_its_limits_is_as_it_is(warm: Program, provider: Provider) -> None:
    provider.play(MODEL, ANTHROPIC.answer("up"))
    done = warm.reply(limited(warm, MODEL, budget_usd=1, token_limit=1000))["data"]
    assert (done["finish_reason"], done["cost"]["source"], done["warnings"]) == ("stop", "catalogue", [])


def test_a_prompt_that_is_too_dear_is_sent_nowhere(sidecar: Program, provider: Provider) -> None:
    params = sidecar.params(MODEL)
    params["messages"] = [{"role": "user", "content": "x" * 40_000}]
    params["options"] |= {"budget_usd": 0.01}
    error = sidecar.ask("stream_chat", params, provider="anthropic")["error"]
    assert (error["code"], error["reason"], error["retryable"]) == ("quota_exceeded", "budget_usd", False)
    assert not provider.calls(MODEL)
    assert report(sidecar)["totals"]["requests"] == 0


def test_a_budget_without_a_price_is_said_not_to_hold(sidecar: Program, provider: Provider) -> None:
    lines = sidecar.stream(limited(sidecar, provider.play("of-no-price", ANTHROPIC.answer("up")), budget_usd=1))
    (warning,) = lines[0].data["data"]["warnings"]
    assert (warning["code"], warning["param"]) == ("option_left_out", "params.options.budget_usd")


# --- a day and a month -----------------------------------------------------------------------


def configured(tmp_path: Path, provider: Provider, budgets: str, **env: str) -> InProcess:
    file = tmp_path / "config.toml"
    file.write_text(f"[budgets]\n{budgets}\n", encoding="utf-8")
    return InProcess(tmp_path, provider, arguments=["--config", str(file)], env=environment(tmp_path, **env))


def refusal(sidecar: Program, provider: Provider) -> Object:
    before = len(provider.calls(MODEL))
    error: Object = sidecar.reply(sidecar.chat(MODEL))["error"]
    assert len(provider.calls(MODEL)) == before
    return error


@pytest.mark.parametrize("window", ["day", "month"])
@pytest.mark.parametrize("ledger", ["on", "off"])
def test_a_budget_warns_once_and_then_refuses(tmp_path: Path, provider: Provider, window: str, ledger: str) -> None:
    env = {} if ledger == "on" else {"SIDECAR_LEDGER": "off"}
    with configured(tmp_path, provider, f"{window}_usd = 0.00025\nwarn_at = 0.3", **env) as sidecar:
        sidecar.ask("initialize", {"events": ["warnings"]})
        provider.play(MODEL, ANTHROPIC.answer("up"))
        starts = [sidecar.stream(sidecar.chat(MODEL))[0].data["data"] for _ in range(3)]
        assert [[each["code"] for each in start["warnings"]] for start in starts] == [[], ["budget_nearly_used"], []]
        assert [each["data"]["code"] for each in sidecar.events] == ["budget_nearly_used"]
        error = refusal(sidecar, provider)
        assert (error["code"], error["reason"], error["retryable"]) == ("quota_exceeded", f"budget_{window}", False)
        assert 0 < error["retry_after_ms"] <= 86_400_000 * (1 if window == "day" else 31)


def test_what_was_spent_before_and_by_others_counts(tmp_path: Path, provider: Provider) -> None:
    with InProcess(tmp_path, provider) as sidecar:
        answered(sidecar, provider)
    with configured(tmp_path, provider, "day_usd = '0.00009'") as sidecar:
        assert refusal(sidecar, provider)["reason"] == "budget_day"


def test_a_provider_has_a_budget_of_its_own(tmp_path: Path, provider: Provider) -> None:
    provider.play("gpt-6-luna", OPENAI.answer("up"))
    with configured(tmp_path, provider, "day_usd = 5\n[budgets.providers.anthropic]\nmonth_usd = 0.00009") as sidecar:
        answered(sidecar, provider)
        assert refusal(sidecar, provider)["reason"] == "budget_month"
        assert sidecar.reply(sidecar.chat("gpt-6-luna", OPENAI))["success"]


# --- chats at once ---------------------------------------------------------------------------

ROOM_FOR_THREE = "day_usd = 0.05"
"""A chat is expected to cost 2000 tokens of output, 0.02 dollars, and a little for its prompt."""


def test_chats_that_begin_at_once_do_not_all_pass(tmp_path: Path, provider: Provider) -> None:
    provider.play(MODEL, lively())
    with configured(tmp_path, provider, ROOM_FOR_THREE) as sidecar:
        asked = [sidecar.chat(MODEL) for _ in range(20)]
        for refused in asked[3:]:
            error = sidecar.reply(refused)["error"]
            assert (error["code"], error["reason"], error["retryable"]) == ("quota_exceeded", "budget_day", True)
            assert "retry_after_ms" not in error
        provider.call(MODEL, 2)
        assert len(provider.calls(MODEL)) == 3
        for going in asked[:3]:
            sidecar.ask("cancel", {"id": going})
            assert sidecar.stream(going)[-1].data["error"]["code"] == "cancelled"
        answered(sidecar, provider)


def test_a_chat_after_the_other_passes_however_little_is_left(tmp_path: Path, provider: Provider) -> None:
    provider.play(MODEL, ANTHROPIC.answer("up"))
    with configured(tmp_path, provider, "day_usd = 0.001") as sidecar:
        for _ in range(5):
            assert sidecar.reply(sidecar.chat(MODEL))["success"]


def test_chats_of_another_process_count_within_three_seconds(tmp_path: Path, provider: Provider) -> None:
    provider.play(MODEL, lively())
    provider.play("of-no-price", ANTHROPIC.answer("up"))
    budget = "day_usd = 0.015"
    with configured(tmp_path, provider, budget) as first, configured(tmp_path, provider, budget) as second:
        assert second.reply(second.chat("of-no-price"))["success"]
        going = first.chat(MODEL)
        first.chunk(going, 1)
        assert within(3.0, second, lambda: not second.reply(second.chat("of-no-price"))["success"])
        assert refusal(second, provider)["retryable"]
        first.ask("cancel", {"id": going})
        first.stream(going)
        assert within(3.0, second, lambda: second.reply(second.chat("of-no-price"))["success"])


def within(seconds: float, sidecar: Program, happens: Callable[[], bool]) -> bool:
    """Return whether it *happens* in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if happens():
            return True
        sidecar.let_pass(0.1)
    return False
