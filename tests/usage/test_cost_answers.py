"""`calculate_cost`: which price applies, and what has none."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.fake_provider import Provider
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.reply_scripts import OPENAI

USAGE = {"input_tokens": 28_000, "output_tokens": 500, "cache_read_tokens": 20_000}


def cost(sidecar: Program, model: str, usage: Object = USAGE, **params: Any) -> Object:
    reply = sidecar.ask("calculate_cost", {"model": model, "usage": usage} | params)
    assert reply["success"], reply
    data: Object = reply["data"]
    return data


UNPRICED = "price_unknown"


def hosted(sidecar: Program, model: str) -> Object:
    return cost(sidecar, model, settings={"base_url": "https://ollama.com"})


def test_a_price_of_nothing_that_no_seller_stands_by_is_unknown(bare: Program) -> None:
    for model in ("vertex/meta/llama3-8b-instruct-maas", "openrouter/~deepseek/deepseek-pro-latest"):
        assert cost(bare, model) == {"usd": None, "reason": UNPRICED}
    assert cost(bare, "openrouter/openai/gpt-oss-20b:free")["usd"] == "0"


def test_a_usage_is_priced_now_or_at_a_time(bare: Program) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    now = cost(bare, "anthropic/claude-opus-5-5")
    assert before <= datetime.fromisoformat(now["priced_at"]) <= datetime.now(UTC)
    assert (now["usd"], now["source"]) == ("0.046", "catalogue")
    assert now["parts"] == {
        "input": "0.032",
        "cache_read": "0.004",
        "cache_write": "0",
        "cache_write_1h": "0",
        "output": "0.01",
    }
    # An announced price, and a zone that is not UTC.
    usage = {"input_tokens": 1_000_000, "output_tokens": 0}
    for at, usd in (
        ("2026-11-30", "2"),
        ("2026-12-01", "4"),
        ("2026-12-01T01:00:00+02:00", "2"),
        ("2026-12-01T00:00:00Z", "4"),
    ):
        assert cost(bare, "gemini/gemini-4-argon", usage, at=at)["usd"] == usd, at


def test_a_place_and_a_way_to_be_served_have_their_price(bare: Program) -> None:
    plain = cost(bare, "vertex/claude-opus-5-5")
    regional = cost(bare, "vertex/claude-opus-5-5", settings={"location": "europe-west4"})
    assert float(regional["usd"]) == pytest.approx(1.1 * float(plain["usd"]))
    batch = cost(bare, "anthropic/claude-fable-5", mode="batch")
    assert float(batch["usd"]) == pytest.approx(0.5 * float(cost(bare, "anthropic/claude-fable-5")["usd"]))
    assert cost(bare, "deepseek/deepseek-chat", mode="flex") == {"usd": None, "reason": "price_unknown"}


SERVED: list[tuple[Object, str | None]] = [
    ({"service_tier": "flex"}, "flex"),
    ({"service_tier": "priority"}, "priority"),
    ({"serviceTier": {"type": "flex"}}, "flex"),
    ({"service_tier": "auto", "speed": "fast"}, "fast"),
    ({"service_tier": "default"}, None),
    ({"speed": "standard", "service_tier": "auto"}, None),
]
"""Options of providers → the mode of `calculate_cost`."""


def served(sidecar: Program, provider: Provider, model: str, options: Object) -> Object:
    """Return what a chat under these options of its provider has used and cost."""
    given = sidecar.params(provider.play(model, OPENAI.answer("up")), OPENAI)
    given["options"] |= {"provider_options": options}
    data: Object = sidecar.ask("generate", given, provider="openai")["data"]
    data["cost"].pop("priced_at", None)
    return data


def test_a_chat_costs_what_calculate_cost_says_of_its_mode(sidecar: Program, provider: Provider) -> None:
    found = set[str | None]()
    for model in ("gpt-6-sol", "gpt-5.5-pro", "o1-mini", "no-such-model"):
        for options, mode in SERVED:
            done = served(sidecar, provider, model, options)
            expected = cost(sidecar, f"openai/{model}", done["usage"], **({"mode": mode} if mode else {}))
            expected.pop("priced_at", None)
            assert done["cost"] == expected, (model, options)
            found.add(expected.get("reason"))
    assert found == {None, UNPRICED, "model_unknown"}


def test_a_mode_of_an_unknown_price_is_named_so(sidecar: Program, provider: Provider) -> None:
    for tier in ("scale", "economy", 5, ["flex"]):
        done = served(sidecar, provider, "gpt-6-sol", {"service_tier": tier})
        assert done["cost"] == {"usd": None, "reason": UNPRICED}


def test_a_provider_that_bills_in_credits_says_so_beside_the_dollars(bare: Program) -> None:
    found = cost(bare, "copilot/gpt-5.6-luna", at="2026-11-20")
    assert float(found["credits"]) == pytest.approx(100 * float(found["usd"]))
    assert "credits" not in cost(bare, "openai/gpt-5.6-luna", at="2026-11-20")
    assert "credits" not in cost(bare, "copilot/no-such-model")


def test_what_runs_at_the_users_place_is_free_and_nothing_else_is(bare: Program) -> None:
    free = cost(bare, "ollama/my-own-model:7b")
    assert (free["usd"], free["parts"]["input"]) == ("0", "0")
    assert cost(bare, "ollama/qwen3-coder:480b-cloud")["usd"] is None
    assert cost(bare, "ollama/gpt-oss:120b", settings={"base_url": "https://ollama.com"})["usd"] is None
    # What the table knows of it at home holds nowhere else.
    assert (cost(bare, "ollama/llama3")["usd"], hosted(bare, "ollama/llama3")) == (
        "0",
        {"usd": None, "reason": UNPRICED},
    )
    assert cost(bare, "openai/no-such-model") == {"usd": None, "reason": "model_unknown"}


def test_a_deployment_costs_what_its_model_does(bare: Program) -> None:
    deployed = {"settings": {"deployments": {"prod": {"base_model": "gpt-5.5"}}}}
    assert cost(bare, "azure/prod", **deployed)["usd"] == cost(bare, "azure/gpt-5.5")["usd"]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"model": "openai/gpt-6"}, "params.usage"),
        ({"model": "openai/gpt-6", "usage": USAGE, "at": "yesterday"}, "params.at"),
        ({"model": "openai/gpt-6", "usage": USAGE, "at": "0001-01-01T00:00:00+14:00"}, "params.at"),
        ({"model": "openai/gpt-6", "usage": USAGE, "mode": "slow"}, "params.mode"),
        ({"model": "openai/gpt-6", "usage": {"input_tokens": "many"}}, "params.usage.input_tokens"),
        ({"model": "gpt-6", "usage": USAGE}, "provider"),
    ],
)
def test_what_cannot_be_priced_is_refused(bare: Program, params: Object, param: str) -> None:
    error = bare.ask("calculate_cost", params)["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)


def test_a_usage_that_contradicts_itself_has_no_price(bare: Program) -> None:
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_read_tokens": 11}
    assert cost(bare, "openai/gpt-6-sol", usage) == {"usd": None, "reason": "usage_contradicts_itself"}
    assert cost(bare, "openai/gpt-6-sol", {"input_tokens": 10}) == {"usd": None, "reason": "usage_unknown"}
    assert cost(bare, "openai/gpt-6-sol", {"input_tokens": 10, "output_tokens": -1})["usd"] is None
