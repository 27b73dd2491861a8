"""The build of the catalogue: the file is what it makes of the facts, and its rules say what they should."""

import random
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.catalogue import build, build_rules, models
from sidecar.catalogue.models import ModelRow, Rates

FACTS = sorted(Path(__file__).parents[2].resolve().parent.glob("*/facts/catalogue/models.json"))
"""The facts, where a maintainer keeps them beside the repository."""


@pytest.mark.skipif(not FACTS, reason="the facts are not beside the repository")
def test_the_file_is_what_the_build_makes_of_the_facts_in_any_order() -> None:
    facts = FACTS[0].read_bytes()
    assert build.build(facts) == models.PATH.read_bytes()
    shuffled = msgspec.json.decode(facts, type=list[msgspec.Raw])
    random.Random(7).shuffle(shuffled)
    assert build.build(msgspec.json.encode(shuffled)) == models.PATH.read_bytes()


def made(**fields: Any) -> ModelRow:
    """Return the row that the build makes of a fact with *fields*, written and read again."""
    fact = {"provider": "groq", "id": "m", "name": "M"} | fields
    rows = msgspec.json.decode(build.build(msgspec.json.encode([fact])), type=dict[str, dict[str, ModelRow]])
    return rows[build_rules.PROVIDERS[str(fact["provider"])]][str(fact["id"])]


def test_an_unknown_fact_stays_unknown() -> None:
    assert made() == ModelRow(name="M")


def test_every_rate_arrives_under_its_name() -> None:
    price = {"in": "1", "out": "2", "cr": "0.3", "cw5": "4", "cw1h": "5", "audio_in": "6", "audio_out": "7"}
    row = made(price=price | {"reasoning": "8"}, price_from="docs", multipliers={"us": 1.1})
    assert row.price == Rates(
        input=Decimal(1),
        output=Decimal(2),
        cache_read=Decimal("0.3"),
        cache_write=Decimal(4),
        cache_write_1h=Decimal(5),
        audio_input=Decimal(6),
        audio_output=Decimal(7),
        reasoning=Decimal(8),
    )
    assert row.multipliers == {"us": Decimal("1.1")}


def test_tiers_and_changes_are_put_in_order() -> None:
    price = {"in": "1", "out": "2"}
    row = made(
        price=price,
        price_from="docs",
        tiers=[{"over": 9, "in": "3", "out": "4"}, {"over": 5, "in": "2", "out": "3"}],
        changes=[{"from": "2027-02-01", "price": price}, {"from": "2027-01-01", "price": price}],
    )
    assert [tier.over_tokens for tier in row.tiers] == [5, 9]
    assert row.tiers[0].price.input == Decimal(2)
    assert [change.since for change in row.changes] == [date(2027, 1, 1), date(2027, 2, 1)]


def test_a_day_that_does_not_exist_is_cut_to_its_month() -> None:
    assert made(cutoff="2025-02-31").cutoff == "2025-02"
    assert made(cutoff="2025-02-28").cutoff == "2025-02-28"
    assert made(cutoff="2025-02").cutoff == "2025-02"


@pytest.mark.parametrize(
    ("context", "max_output", "expected"), [(100, 200, 100), (200, 100, 100), (None, 100, 100), (100, None, None)]
)
def test_no_answer_is_longer_than_the_window(context: int | None, max_output: int | None, expected: int | None) -> None:
    assert made(context=context, max_output=max_output).max_output == expected


def test_a_mode_of_which_half_is_known_is_left_out() -> None:
    price = {"in": "2", "out": "4"}
    row = made(price=price, price_from="docs", modes={"flex": {"in": "1"}, "batch": {"in": "1", "out": "2"}})
    assert set(row.modes) == {"batch"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"provider": "nobody"},
        {"new_field": 1},
        {"caps": {"smell": True}},
        {"price": {"in": "1", "out": "1", "smell": "1"}, "price_from": "docs"},
        {"price": {"in": "1", "out": "1"}, "price_from": "somewhere@1"},
        {"price": {"in": "a", "out": "1"}, "price_from": "docs"},
        {"modes": {"slow": {"in": "1", "out": "1"}}},
        {"retires": "soon"},
    ],
)
def test_a_fact_that_is_not_understood_stops_the_build(wrong: dict[str, Any]) -> None:
    fact = {"provider": "groq", "id": "m", "name": "M"} | wrong
    with pytest.raises((ValueError, msgspec.ValidationError)):
        build.build(msgspec.json.encode([fact]))


def test_a_model_that_is_listed_twice_stops_the_build() -> None:
    fact = {"provider": "groq", "id": "m", "name": "M"}
    with pytest.raises(ValueError, match="twice"):
        build.build(msgspec.json.encode([fact, fact]))


@pytest.mark.parametrize(
    ("provider", "model", "thinking"),
    [
        ("anthropic", "claude-3-opus-20240229", None),
        ("anthropic", "claude-3-5-sonnet-20241022", None),
        ("anthropic", "claude-3-7-sonnet-20250219", "budget"),
        ("anthropic", "claude-sonnet-4-20250514", "budget"),
        ("anthropic", "claude-opus-4-5-20251101", "budget"),
        ("anthropic", "claude-opus-4-6", "adaptive"),
        ("anthropic", "claude-haiku-5-5", "adaptive"),
        ("amazon-bedrock", "us.anthropic.claude-opus-4-6-v1", "adaptive"),
        ("amazon-bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", "budget"),
        ("google-vertex", "claude-opus-4-5@20251101", "budget"),
        ("github-copilot", "claude-sonnet-4.5", "budget"),
        ("github-copilot", "claude-fable-5.1", "adaptive"),
        ("google", "gemini-2.5-pro", "budget"),
        ("google", "gemini-3.8-flash", None),
        ("openai", "gpt-6-sol", None),
    ],
)
def test_how_a_model_is_asked_to_think(provider: str, model: str, thinking: str | None) -> None:
    reasoning = not model.startswith(("claude-3-o", "claude-3-5"))
    assert made(provider=provider, id=model, caps={"reasoning": reasoning}).thinking == thinking


@pytest.mark.parametrize(
    ("provider", "model", "wire"),
    [
        ("openai", "gpt-4o-2024-11-20", "openai_chat"),
        ("openai", "gpt-4.1-mini", "openai_chat"),
        ("openai", "gpt-5-search-api", "openai_chat"),
        ("openai", "gpt-5-nano", "openai_responses"),
        ("openai", "o3-mini", "openai_responses"),
        ("openai", "codex-mini-latest", "openai_responses"),
        ("openai", "gpt-6.1-sol", "openai_responses"),
        ("openai", "gpt-oss-120b", None),
        ("azure", "gpt-35-turbo", "openai_chat"),
        ("azure", "claude-opus-5", "anthropic_messages"),
        ("azure", "grok-4.7", None),
        ("github-copilot", "gpt-5-mini", "openai_chat"),
        ("github-copilot", "gpt-5.3-codex", "openai_responses"),
        ("github-copilot", "claude-opus-5.5", None),
        ("google-vertex", "gemini-3.8-flash", "gemini"),
        ("google-vertex", "claude-opus-5@default", "anthropic_messages"),
        ("google-vertex", "openai/gpt-oss-20b-maas", "openai_chat"),
        ("xai", "grok-4.20-multi-agent-0309", "openai_responses"),
        ("xai", "grok-4.7", None),
        ("openrouter", "openai/gpt-5", None),
        ("anthropic", "claude-opus-5", None),
    ],
)
def test_which_wire_a_model_needs(provider: str, model: str, wire: str | None) -> None:
    assert made(provider=provider, id=model).wire == wire


@pytest.mark.parametrize(("provider", "model"), [("azure", "container"), ("openai", "gpt-3.5-turbo-instruct")])
def test_what_nobody_can_chat_with_is_left_out(provider: str, model: str) -> None:
    fact = {"provider": provider, "id": model, "name": "M"}
    assert build.make_table(msgspec.convert([fact], list[build.Fact])) == {}


@pytest.mark.parametrize(
    ("provider", "model", "price", "known"),
    [
        ("google-vertex", "meta/llama3-8b-instruct-maas", {"in": "0", "out": "0"}, False),
        ("openrouter", "vendor/model", {"in": "0", "out": "0"}, False),
        ("openrouter", "vendor/model:free", {"in": "0", "out": "0"}, True),
        ("openrouter", "vendor/free-model", {"in": "0", "out": "0"}, False),
        ("groq", "model:free", {"in": "0", "out": "0"}, False),
        ("groq", "model", {"in": "1", "out": "0"}, True),
        ("ollama", "llama3", {"in": "0", "out": "0"}, True),
        ("ollama", "gpt-oss:20b-cloud", {"in": "0", "out": "0"}, False),
        ("openrouter", "~vendor/model-latest", {"in": "0.2", "out": "8", "cr": "0.3"}, False),
    ],
)
def test_a_price_that_cannot_be_meant_is_unknown(provider: str, model: str, price: dict[str, str], known: bool) -> None:
    row = made(provider=provider, id=model, price=price, price_from="docs")
    assert [row.price is not None, row.price_source is not None, row.price_date is not None] == [known] * 3


def test_the_fee_of_a_router_is_not_the_price_of_a_model() -> None:
    row = made(provider="azure", id="model-router", price={"in": "0.14", "out": "0"}, price_from="docs")
    assert (row.price, row.price_source, row.price_date) == (None, None, None)


def test_a_host_that_says_otherwise_is_corrected_where_the_model_refuses_sampling() -> None:
    caps = {"temperature": True}
    assert made(provider="azure", id="claude-opus-4-8", caps=caps).caps.sampling is False
    assert made(provider="azure", id="claude-opus-4-6", caps=caps).caps.sampling is True
    assert made(provider="vercel", id="anthropic/claude-opus-4.8", caps=caps).caps.sampling is True
