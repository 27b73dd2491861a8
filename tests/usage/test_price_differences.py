"""Our prices beside those that somebody else keeps: equal for every model that both know, but for what is listed.

`price_differences.toml` has each difference with its reason. One that is not there is a mistake of theirs or of
ours; one that is there and no longer found is to be taken off.
"""

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from genai_prices.data import providers

from protocol.messages import Usage
from sidecar.catalogue import models, provider_rows
from sidecar.catalogue.models import ModelRow
from sidecar.usage.cost import calculate

pytestmark = pytest.mark.long

TABLE = tomllib.loads((Path(__file__).parent / "price_differences.toml").read_text(encoding="utf-8"))

THEIRS = {
    "copilot": "github-copilot",
    "bedrock": "aws",
    "vertex": "google",
    "gemini": "google",
    "xai": "x-ai",
}
"""Our id of a provider → theirs, where that is not the same."""

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
"""The day of the tables, outside the peak hours of whoever has such."""

USAGES: list[dict[str, int]] = [
    {"input_tokens": 10_000, "output_tokens": 2000},
    {"input_tokens": 300_000, "output_tokens": 1000, "cache_read_tokens": 50_000},
    {"input_tokens": 300_000, "output_tokens": 1000, "cache_write_tokens": 50_000},
]
"""Short, long and cached: tiers and each class of tokens."""

CONTEXTS = {
    "batch": {"processing": "batch"},
    "fast": {"speed": "fast"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}
"""A way to be served → how they say it."""


@cache
def their_providers() -> dict[str, Any]:
    return {provider.id: provider for provider in providers}


def known_to_both(name: str) -> Iterator[tuple[str, str, ModelRow]]:
    """Yield their id of the provider, and the models with a price that they list under it, not under another."""
    theirs = their_providers().get(THEIRS.get(name, name))
    for model, row in models.read_rows(name).items():
        if theirs is not None and row.price is not None and theirs.find_model(model) is not None:
            yield theirs.id, model, row


def their_usd(provider: str, model: str, usage: dict[str, int], mode: str | None = None) -> Decimal:
    context: Any = CONTEXTS[mode] if mode else None
    priced = calc_price(
        TheirUsage(**usage), model, provider_id=provider, genai_request_timestamp=AT, price_context=context
    )
    return priced.total_price


def our_usd(row: ModelRow, usage: dict[str, int], mode: str | None = None) -> Decimal | None:
    found = calculate(msgspec.convert(usage, Usage), row, AT, mode=mode)["usd"]
    return None if found is None else Decimal(found)


@pytest.mark.parametrize("name", sorted(provider_rows.read_providers()))
def test_a_model_that_both_know_costs_the_same_or_the_difference_is_listed(name: str) -> None:
    listed = {each for row in TABLE["difference"] for each in row["models"] if each.startswith(f"{name}/")}
    found = {
        f"{name}/{model}"
        for theirs, model, row in known_to_both(name)
        if any(our_usd(row, usage) != their_usd(theirs, model, usage) for usage in USAGES)
    }
    assert found == listed


@pytest.mark.parametrize("name", sorted(provider_rows.read_providers()))
def test_a_way_to_be_served_costs_the_same_where_both_know_its_price(name: str) -> None:
    listed = {each for row in TABLE["difference"] for each in row["models"]}
    usage, wrong = USAGES[0], []
    for theirs, model, row in known_to_both(name):
        for mode in row.modes:
            usd = their_usd(theirs, model, usage, mode)
            # Whoever has no price for it gives the usual one.
            if usd not in (our_usd(row, usage, mode), their_usd(theirs, model, usage)):
                wrong.append(f"{name}/{model}")
    assert set(wrong) <= listed


def test_most_models_are_known_to_both() -> None:
    """Ours: a test that compares nothing would pass as well."""
    compared = sum(1 for name in provider_rows.read_providers() for _ in known_to_both(name))
    assert compared > 1000
    assert sum(len(row["models"]) for row in TABLE["difference"]) < compared / 10


def test_every_difference_has_a_reason_and_stands_once() -> None:
    listed = [each for row in TABLE["difference"] for each in row["models"]]
    assert len(listed) == len(set(listed))
    assert all(len(row["reason"]) > 20 for row in TABLE["difference"])
