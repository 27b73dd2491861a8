"""Costs to the last digit: worked examples by hand, and those of the fact sheets when they are at hand."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from protocol.messages import Usage
from sidecar.catalogue import models
from sidecar.catalogue.provider_rows import read_aliases
from sidecar.usage.cost import calculate, find_rates, make_unknown

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WORKED = next(iter(Path(__file__).parents[3].glob("*/facts/catalogue/worked-costs.json")), None)


def examples() -> list[Any]:
    rows = json.loads(WORKED.read_text(encoding="utf-8")) if WORKED else []
    # Requests of a legacy plan are billed by the prompt: tokens do not matter there.
    return [pytest.param(row, id=f"{i}-{row['why'][:40]}") for i, row in enumerate(rows) if "billing" not in row]


@pytest.mark.skipif(WORKED is None, reason="the fact sheets are not beside the repository")
@pytest.mark.parametrize("example", examples())
def test_a_worked_example_comes_out_to_the_last_digit(example: dict[str, Any]) -> None:
    raw = example["usage"]
    write = raw["cache_write_5m"] + raw["cache_write_1h"]
    usage = Usage(
        input_tokens=raw["input"] + raw["cache_read"] + write,
        output_tokens=raw["output"],
        cache_read_tokens=raw["cache_read"],
        cache_write_tokens=write,
        cache_write_1h_tokens=raw["cache_write_1h"],
        reasoning_tokens=raw["reasoning"],
    )
    name = {"cloudflare-workers-ai": "cloudflare"}.get(example["provider"], example["provider"])
    row = models.find_row(read_aliases().get(name, name), example["model"])
    factors = [each for each in (row.multipliers if row else ()) if "multiplier" in example]
    got = calculate(usage, row, datetime.fromisoformat(example["at"]), factors=factors)
    assert got["usd"] == example["expected_usd"], got


def test_the_parts_add_up_and_name_what_was_billed() -> None:
    row = models.find_row("anthropic", "claude-opus-5-5")
    usage = Usage(
        input_tokens=28_000,
        output_tokens=500,
        cache_read_tokens=20_000,
        cache_write_tokens=7000,
        cache_write_1h_tokens=4000,
    )
    assert calculate(usage, row, NOW) == {
        "usd": "0.065",
        "parts": {
            "input": "0.004",
            "cache_read": "0.004",
            "cache_write": "0.015",
            "cache_write_1h": "0.032",
            "output": "0.01",
        },
        "source": "catalogue",
        "priced_at": "2026-11-20T12:00:00+00:00",
    }


def test_what_is_not_known_is_null_with_the_reason() -> None:
    row = models.find_row("anthropic", "claude-opus-5-5")
    assert calculate(Usage(input_tokens=1, output_tokens=1), None, NOW) == make_unknown("model_unknown")
    assert calculate(None, row, NOW) == make_unknown("usage_unknown")
    assert calculate(Usage(input_tokens=1), row, NOW) == make_unknown("usage_unknown")
    contradiction = Usage(input_tokens=1, output_tokens=1, cache_read_tokens=5)
    assert calculate(contradiction, row, NOW) == make_unknown("usage_contradicts_itself")


def test_a_tier_reprices_the_whole_request_and_a_mode_beyond_it_is_unknown() -> None:
    row = models.find_row("openai", "gpt-6-sol")
    assert row is not None
    below, above = find_rates(row, 272_000, NOW), find_rates(row, 272_001, NOW)
    assert below is not None
    assert above is not None
    assert (str(below.input), str(above.input)) == ("2", "4")
    assert find_rates(row, 272_000, NOW, "flex") == row.modes["flex"]
    assert find_rates(row, 272_001, NOW, "flex") is None


def test_an_announced_price_holds_from_its_day_on() -> None:
    row = models.find_row("gemini", "gemini-4-argon")
    assert row is not None
    before = find_rates(row, 10, datetime(2026, 11, 30, 23, 59, tzinfo=UTC))
    after = find_rates(row, 10, datetime(2026, 12, 1, tzinfo=UTC))
    assert before == row.price
    assert after == row.changes[0].price


def test_off_peak_hours_end_with_the_minute_and_weekends_have_no_peak() -> None:
    row = models.find_row("deepseek", "deepseek-v4-pro")
    assert row is not None
    assert row.off_peak is not None
    friday = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
    assert find_rates(row, 10, friday) == row.price
    assert find_rates(row, 10, friday.replace(hour=4)) == row.off_peak.price
    assert find_rates(row, 10, friday.replace(day=21)) == row.off_peak.price
