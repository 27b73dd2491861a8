"""Usage × rates → US dollars, in decimals to the last digit. [pure]

Knows disjoint buckets, long-context tiers, dated changes, off-peak hours, modes and factors.
Must not know wires or HTTP. An unknown price is null with a reason, never 0.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from protocol.messages import Usage
from sidecar.catalogue.models import ModelRow, OffPeak, Rates, find_price
from sidecar.catalogue.overlay import CONFIGURATION, REFRESHED
from sidecar.usage.amounts import format_plain

_MILLION = Decimal(1_000_000)


def calculate(
    usage: Usage | None, row: ModelRow | None, at: datetime, *, mode: str | None = None, factors: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the `cost` object of *usage* with the model *row* at the time *at*.

    *mode* is a service mode (`flex`, `priority`, …), *factors* the names of the multipliers that apply.
    """
    if row is None:
        return make_unknown("model_unknown")
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return make_unknown("usage_unknown")
    rates = find_rates(row, usage.input_tokens, at, mode)
    if rates is None:
        return make_unknown("price_unknown")
    factor, buckets = _multiply(row, factors), _split(usage, rates)
    if any(tokens < 0 for _, tokens, _ in buckets):
        return make_unknown("usage_contradicts_itself")
    parts = {name: tokens * rate * factor / _MILLION for name, tokens, rate in buckets}
    return {
        "usd": format_plain(sum(parts.values(), Decimal(0))),
        "parts": {name: format_plain(amount) for name, amount in parts.items()},
    } | _describe_price(row, at)


def _describe_price(row: ModelRow, at: datetime) -> dict[str, Any]:
    """Return who states the price, and when it applies."""
    return {
        "source": row.price_source if row.price_source in (CONFIGURATION, REFRESHED) else "catalogue",
        "priced_at": at.astimezone(UTC).isoformat(timespec="seconds"),
    }


def calculate_searches(units: int | None, row: ModelRow, price: Decimal, at: datetime) -> dict[str, Any]:
    """Return the `cost` object of the search *units* of a rerank, 1,000 of which cost *price*."""
    if units is None:
        return make_unknown("usage_unknown")
    usd = format_plain(units * price / 1000)
    return {"usd": usd, "parts": {"search": usd}} | _describe_price(row, at)


def make_reported(usd: str) -> dict[str, Any]:
    """Return the `cost` object of a request that costs *usd* according to its provider."""
    return {"usd": usd, "parts": {}, "source": "provider", "priced_at": None}


def add_credits(cost: dict[str, Any], credit_usd: str | None) -> dict[str, Any]:
    """Return *cost* with its amount in credits of *credit_usd* US dollars; None: the provider has no credits."""
    if credit_usd is None or cost["usd"] is None:
        return cost
    return cost | {"credits": format_plain(Decimal(cost["usd"]) / Decimal(credit_usd))}


def make_unknown(reason: str) -> dict[str, Any]:
    """Return the `cost` object of an unknown cost."""
    return {"usd": None, "reason": reason}


def find_rates(row: ModelRow, prompt_tokens: int, at: datetime, mode: str | None = None) -> Rates | None:
    """Return the rates of a request with *prompt_tokens*, cached ones included, or None for unknown rates.

    A tier reprices the whole request. A *mode* has rates of its own, which hold below the first tier and are unknown
    beyond it. A price that the user has set holds in every mode.
    """
    tier = next((tier for tier in reversed(row.tiers) if prompt_tokens > tier.over_tokens), None)
    if mode is not None and row.price_source != CONFIGURATION:
        return row.modes[mode] if mode in row.modes and tier is None else None
    if tier is not None:
        return tier.price
    if row.off_peak and not _is_peak(row.off_peak, at):
        return row.off_peak.price
    return find_price(row, at.astimezone(UTC).date())


def _split(usage: Usage, rates: Rates) -> list[tuple[str, int, Decimal]]:
    """Return the disjoint parts of *usage*, each with its rate; an absent rate falls back to that of a wider part."""
    read, write, hour = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0, usage.cache_write_1h_tokens or 0
    write_rate = rates.input if rates.cache_write is None else rates.cache_write
    buckets = [
        ("input", (usage.input_tokens or 0) - read - write, rates.input),
        ("cache_read", read, rates.input if rates.cache_read is None else rates.cache_read),
        ("cache_write", write - hour, write_rate),
        ("cache_write_1h", hour, write_rate if rates.cache_write_1h is None else rates.cache_write_1h),
    ]
    output, reasoning = usage.output_tokens or 0, usage.reasoning_tokens or 0
    if rates.reasoning is None:
        return [*buckets, ("output", output, rates.output)]
    return [*buckets, ("output", output - reasoning, rates.output), ("reasoning", reasoning, rates.reasoning)]


def _multiply(row: ModelRow, factors: Iterable[str]) -> Decimal:
    factor = Decimal(1)
    for name in factors:
        factor *= row.multipliers.get(name, Decimal(1))
    return factor


def _is_peak(off_peak: OffPeak, at: datetime) -> bool:
    now = at.astimezone(UTC)
    if off_peak.weekdays_only and now.weekday() >= 5:
        return False
    clock = now.strftime("%H:%M")
    return any(start <= clock < end for start, _, end in (hours.partition("-") for hours in off_peak.peak_utc))


# --- sums ------------------------------------------------------------------------------------

COUNTS = tuple(name for name in Usage.__struct_fields__ if name.endswith("_tokens"))


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


def mark_estimated(cost: dict[str, Any]) -> dict[str, Any]:
    """Return *cost*, computed from a usage that is an estimate."""
    return cost if cost["usd"] is None else cost | {"source": "estimate"}
