"""Make `models.json` from a file of collected facts: `python -m sidecar.catalogue.build FACTS.json [OUT.json]`.

A maintainer's tool; the running program reads only its result. The facts are a list of objects
`{provider, id, name, …}`, one for each model at each provider, collected from models.dev, genai-prices, litellm,
catwalk, the SDKs' own lists and the providers' pages (November 2026). An unknown field is an error, so that no new fact
is lost silently. What the facts do not say, such as the wire that a model needs, is in `build_rules.py`, and the models
that are not for chats are in `other_models.toml`.

The same facts always make the same bytes: providers and models are sorted, one model a line.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from sidecar.catalogue import models
from sidecar.catalogue.build_rules import (
    FREE,
    IN_REGION,
    KINDS,
    NOT_CHAT,
    OTHER_PRICES_FROM,
    PRICE_DATES,
    PROVIDERS,
    REFUSES,
    SAMPLING,
    THINKING,
    WIRES,
    WITHOUT_PRICE,
    Rule,
)
from sidecar.catalogue.models import Capabilities, Change, ModelRow, OffPeak, Rates, Tier
from sidecar.core import resources

T = TypeVar("T")


class _Rates(msgspec.Struct, forbid_unknown_fields=True):
    """Rates with the keys that the facts use, and the attributes of `Rates`."""

    input: Decimal = msgspec.field(name="in")
    output: Decimal | None = msgspec.field(name="out", default=None)
    cache_read: Decimal | None = msgspec.field(name="cr", default=None)
    cache_write: Decimal | None = msgspec.field(name="cw5", default=None)
    cache_write_1h: Decimal | None = msgspec.field(name="cw1h", default=None)
    audio_input: Decimal | None = msgspec.field(name="audio_in", default=None)
    audio_output: Decimal | None = msgspec.field(name="audio_out", default=None)
    reasoning: Decimal | None = None


class _Tier(_Rates, forbid_unknown_fields=True, kw_only=True):
    over: int


class _Change(msgspec.Struct, forbid_unknown_fields=True):
    since: date = msgspec.field(name="from")
    price: _Rates


class _OffPeak(msgspec.Struct, forbid_unknown_fields=True):
    price: _Rates
    peak_utc: tuple[str, ...]
    weekdays_only: bool
    excludes: str | None = None


class _PremiumRequests(msgspec.Struct, forbid_unknown_fields=True):
    annual_legacy: Decimal


class Fact(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The facts about one model at one provider."""

    provider: str
    id: str
    name: str
    family: str | None = None
    context: int | None = None
    max_input: int | None = None
    max_output: int | None = None
    price: _Rates | None = None
    price_from: str | None = None
    tiers: tuple[_Tier, ...] = ()
    changes: tuple[_Change, ...] = ()
    off_peak: _OffPeak | None = None
    modes: dict[Literal["batch", "fast", "flex", "priority"], _Rates] = {}
    multipliers: dict[str, Decimal] = {}
    caps: dict[str, bool] = {}
    efforts: tuple[str, ...] = ()
    cutoff: str | None = None
    released: str | None = None
    status: Literal["deprecated", "retired", "unlisted", "beta", "alpha"] | None = None
    retires: date | None = None
    copilot_multiplier: _PremiumRequests | None = None
    cache_min_tokens: int | None = None
    notes: Any = None
    sources: Any = None
    inherited: Any = None


def build(facts: bytes) -> bytes:
    """Return the bytes of `models.json` for *facts*, a JSON list.

    Raises: msgspec.ValidationError or ValueError for facts that this script does not understand.
    """
    rows = make_table(msgspec.json.decode(facts, type=list[Fact]))
    for provider, others in read_other_models().items():
        of_provider = rows.setdefault(provider, {})
        if twice := of_provider.keys() & others.keys():
            raise ValueError(f"{provider}: the facts have {', '.join(sorted(twice))} too.")
        of_provider |= others
    return encode(rows)


def read_other_models() -> dict[str, dict[str, ModelRow]]:
    """Return the models that are not for chats, by provider and by id."""
    with resources.find("catalogue/other_models.toml").open("rb") as file:
        rows = msgspec.convert(tomllib.load(file), dict[str, dict[str, ModelRow]])
    return {
        provider: {model: _date_price(provider, model, row) for model, row in others.items()}
        for provider, others in rows.items()
    }


def _date_price(provider: str, model: str, row: ModelRow) -> ModelRow:
    if row.price is None:
        return row
    source = row.price_source or OTHER_PRICES_FROM
    day = _find_price_date(source, f"{provider}/{model}")
    return msgspec.structs.replace(row, price_source=source, price_date=day)


def make_table(facts: Iterable[Fact]) -> dict[str, dict[str, ModelRow]]:
    """Return the rows by our provider id and by model id."""
    rows: dict[str, dict[str, ModelRow]] = {}
    for fact in facts:
        provider = PROVIDERS.get(fact.provider)
        if provider is None:
            raise ValueError(f"{fact.provider}: no such provider in PROVIDERS.")
        if _apply_rules(NOT_CHAT, provider, fact):
            continue
        of_provider = rows.setdefault(provider, {})
        if fact.id in of_provider:
            raise ValueError(f"{provider}/{fact.id}: listed twice.")
        of_provider[fact.id] = _make_row(provider, fact)
    return rows


def encode(rows: dict[str, dict[str, ModelRow]]) -> bytes:
    """Return *rows* as JSON with one model a line, in order."""
    text = msgspec.json.Encoder(order="deterministic").encode
    tables = []
    for provider, of_provider in sorted(rows.items()):
        lines = [text(model) + b":" + text(row) for model, row in sorted(of_provider.items())]
        tables.append(text(provider) + b":{\n" + b",\n".join(lines) + b"\n}")
    return b"{\n" + b",\n".join(tables) + b"\n}\n"


def _make_row(provider: str, fact: Fact) -> ModelRow:
    return ModelRow(
        name=fact.name,
        kind=_apply_rules(KINDS, provider, fact) or "chat",
        family=fact.family,
        # No program treats an alpha differently from a beta.
        status="beta" if fact.status == "alpha" else fact.status,
        released=_check_day(fact.released),
        retires=fact.retires,
        cutoff=_check_day(fact.cutoff),
        context_length=fact.context,
        max_input=fact.max_input,
        max_output=_find_max_output(fact),
        cache_min_tokens=fact.cache_min_tokens,
        caps=_make_capabilities(provider, fact),
        efforts=fact.efforts,
        thinking=_apply_rules(THINKING, provider, fact),
        refuses=_apply_rules(REFUSES, provider, fact) or (),
        wire=_apply_rules(WIRES, provider, fact),
        premium_requests=fact.copilot_multiplier.annual_legacy if fact.copilot_multiplier else None,
        **_make_price_columns(provider, fact),
    )


def _make_price_columns(provider: str, fact: Fact) -> dict[str, Any]:
    """Return the price and the columns that change it. Empty without a price, as they mean nothing alone."""
    price = _check_price(provider, fact)
    if price is None:
        return {}
    if (factor := _apply_rules(IN_REGION, provider, fact)) and (fact.price_from or "").startswith("litellm"):
        price = _scale(price, factor)
    tiers = sorted(fact.tiers, key=lambda tier: tier.over)
    changes = sorted(fact.changes, key=lambda change: change.since)
    return {
        "price": price,
        "price_source": fact.price_from,
        "price_date": _find_price_date(fact.price_from or "", f"{fact.provider}/{fact.id}"),
        "tiers": tuple(Tier(over_tokens=tier.over, price=_make_rates(tier)) for tier in tiers),
        "changes": tuple(Change(since=change.since, price=_make_rates(change.price)) for change in changes),
        "off_peak": _make_off_peak(fact.off_peak),
        # A mode of which only a part is known has no price.
        "modes": {mode: _make_rates(rates) for mode, rates in fact.modes.items() if rates.output is not None},
        "multipliers": fact.multipliers,
    }


def _check_price(provider: str, fact: Fact) -> Rates | None:
    """Return the price of *fact*, or None if there is none or it cannot be right."""
    if fact.price is None or _apply_rules(WITHOUT_PRICE, provider, fact):
        return None
    price = _make_rates(fact.price)
    if not price.input and not price.output and not _apply_rules(FREE, provider, fact):
        return None
    # A cache that costs more than sending again would be of no use, so the price must be wrong.
    return None if price.cache_read is not None and price.cache_read > price.input else price


def _apply_rules(rules: tuple[Rule[T], ...], provider: str, fact: Fact) -> T | None:
    """Return the value of the first rule that matches, or None."""
    for rule in rules:
        if rule.providers and provider not in rule.providers:
            continue
        if rule.reasoning and not fact.caps.get("reasoning"):
            continue
        if re.search(rule.ids, fact.id):
            return rule.value
    return None


def _check_day(text: str | None) -> str | None:
    """Return *text*, or only its month if its day does not exist, such as 2025-02-31."""
    if text is None:
        return None
    try:
        date.fromisoformat(text if len(text) == len("YYYY-MM-DD") else f"{text}-01")
    except ValueError:
        return text[: len("YYYY-MM")]
    return text


def _find_max_output(fact: Fact) -> int | None:
    # Sources disagree about some hosts. No answer is longer than the window, so the smaller limit is the safe one.
    limits = [limit for limit in (fact.max_output, fact.context) if limit is not None]
    return None if fact.max_output is None else min(limits)


def _make_capabilities(provider: str, fact: Fact) -> Capabilities:
    # The facts call the capability by one of its two options.
    caps = {"sampling" if name == "temperature" else name: known for name, known in fact.caps.items()}
    sampling = _apply_rules(SAMPLING, provider, fact)
    if sampling is not None:
        caps["sampling"] = sampling
    return msgspec.convert(caps, Capabilities)


def _make_rates(rates: _Rates) -> Rates:
    return Rates(**{name: getattr(rates, name) for name in _Rates.__struct_fields__})


def _scale(rates: Rates, factor: Decimal) -> Rates:
    known = {name: rate for name in Rates.__struct_fields__ if (rate := getattr(rates, name)) is not None}
    return Rates(**{name: (rate * factor).normalize() for name, rate in known.items()})


def _make_off_peak(off_peak: _OffPeak | None) -> OffPeak | None:
    if off_peak is None:
        return None
    return OffPeak(
        price=_make_rates(off_peak.price),
        peak_utc=off_peak.peak_utc,
        weekdays_only=off_peak.weekdays_only,
        excludes=off_peak.excludes,
    )


def _find_price_date(price_source: str, whose: str) -> date | None:
    for source, day in PRICE_DATES:
        if price_source.startswith(source):
            return day
    raise ValueError(f"{whose}: the date of its price is not in PRICE_DATES.")


def main(arguments: list[str]) -> None:
    """Write the table made from the facts that *arguments* name."""
    if len(arguments) not in (1, 2):
        raise SystemExit("usage: python -m sidecar.catalogue.build FACTS.json [OUT.json]")
    out = Path(arguments[1]) if len(arguments) == 2 else models.PATH
    out.write_bytes(build(Path(arguments[0]).read_bytes()))


if __name__ == "__main__":
    main(sys.argv[1:])
