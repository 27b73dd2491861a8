"""What is known of each provider's models: limits, capabilities, prices.

`models.json` is one object `{provider: {model: row}}`, made by `build.py`. Of it only what is asked for
is parsed: the first question splits the file by provider, the first about a provider splits its rows,
and each lookup decodes its own row. An absent field is unknown, never no and never 0.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeVar

import msgspec

from sidecar.core import resources
from sidecar.wires.shared.types import ModelFacts

T = TypeVar("T")

PATH = resources.find("catalogue/models.json")

MADE = date(2026, 11, 20)
"""The day up to which the facts of the table go."""

LOCAL = "local"
"""The source of the price of what runs at the user's place, which is nothing."""


class Rates(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Prices in USD per million tokens; decimal strings in the file."""

    input: Decimal
    """A prompt token that was neither read from a cache nor written to one."""
    output: Decimal
    """A generated token, reasoning included."""
    cache_read: Decimal | None = None
    """A prompt token read from a cache. Absent: billed as `input`."""
    cache_write: Decimal | None = None
    """A prompt token written to a cache for 5 minutes, or of the only write class. Absent: billed as `input`."""
    cache_write_1h: Decimal | None = None
    """A prompt token written to a cache for an hour. Absent: billed as `cache_write`."""
    audio_input: Decimal | None = None
    """A prompt token of audio. Absent: billed as `input`."""
    audio_output: Decimal | None = None
    """A generated token of audio. Absent: billed as `output`."""
    reasoning: Decimal | None = None
    """A reasoning token, only where it is not billed as `output`."""


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates of a whole request whose prompt, cached tokens included, is longer than `over_tokens`."""

    over_tokens: int
    price: Rates


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An announced price, in place of the row's own from the start of the day `since` (UTC)."""

    since: date
    price: Rates


class OffPeak(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Rates outside the peak hours; the row's own are those of the peak."""

    price: Rates
    peak_utc: tuple[str, ...]
    """The peak hours, each `HH:MM-HH:MM` in UTC, its end not included."""
    weekdays_only: bool = False
    """Whether Saturday and Sunday (UTC) have no peak hours."""
    excludes: str | None = None
    """Which other days have none, in words: the table cannot tell them."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the model takes and does at this provider; None: unknown."""

    tools: bool | None = None
    images: bool | None = None
    """Takes images."""
    pdf: bool | None = None
    """Takes PDF files."""
    audio: bool | None = None
    """Takes audio."""
    video: bool | None = None
    """Takes video."""
    reasoning: bool | None = None
    structured: bool | None = None
    """Answers in JSON of a given schema."""
    sampling: bool | None = None
    """Takes `temperature` and `top_p`."""


class ModelRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is known of one model at one provider."""

    name: str
    """For people."""
    family: str | None = None
    status: Literal["deprecated", "retired", "unlisted", "beta"] | None = None
    """As of the day the table was made; None: live. `unlisted`: no longer in any list, probably gone."""
    released: str | None = None
    """`YYYY-MM-DD` or `YYYY-MM`."""
    retires: date | None = None
    """The announced last day."""
    cutoff: str | None = None
    """Where its knowledge ends: `YYYY-MM-DD` or `YYYY-MM`."""
    context_length: int | None = None
    """Tokens of prompt and answer together."""
    max_input: int | None = None
    """Tokens of the prompt, where fewer than `context_length`."""
    max_output: int | None = None
    """Tokens of the answer, reasoning included."""
    cache_min_tokens: int | None = None
    """The shortest prompt that is cached."""
    caps: Capabilities = Capabilities()
    efforts: tuple[str, ...] = ()
    """The reasoning efforts that it takes, weakest first; empty: unknown."""
    thinking: Literal["adaptive", "budget"] | None = None
    """Which way of asking for reasoning it takes, where a wire has both."""
    refuses: tuple[str, ...] = ()
    """Options that it answers with an error, beyond what `caps` says."""
    wire: str | None = None
    """The wire that it needs; None: the provider's usual one."""
    price: Rates | None = None
    """None: unknown, which is not free."""
    price_source: str | None = None
    """Where the price was read."""
    price_date: date | None = None
    """How old the price is."""
    tiers: tuple[Tier, ...] = ()
    """By ascending `over_tokens`; the last that applies counts."""
    changes: tuple[Change, ...] = ()
    """By ascending `since`; the last that has come counts."""
    off_peak: OffPeak | None = None
    modes: dict[Literal["batch", "fast", "flex", "priority"], Rates] = {}
    """Rates of other ways to be served, below the first tier. One that only `price` has is unknown for the mode."""
    multipliers: dict[str, Decimal] = {}
    """Factors on every rate: `us` for inference in the US only, `regional_endpoint`, `regional_processing_us` and
    `regional_processing_eu` for data that stays in a region, `fast`."""
    premium_requests: Decimal | None = None
    """What one prompt counts for subscribers who are billed by request."""


_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
row_of = msgspec.json.Decoder(ModelRow).decode
"""Return the row that its JSON is."""
_rows = msgspec.json.Decoder(dict[str, ModelRow]).decode

_DATED = re.compile(r"(?:[-@]20\d{6}|[-@]20\d\d-\d\d-\d\d|-latest)\Z", re.ASCII)


def lookup(provider: str, model: str, path: Path = PATH) -> ModelRow | None:
    """Return the row of *model*, or of the same id without its date or `-latest`, or None.

    Nothing is guessed beyond that: a price for the wrong model is worse than none.
    """
    raw = find(_models(provider, path), model)
    return None if raw is None else row_of(raw)


def find(table: Mapping[str, T], model: str) -> T | None:
    """Return what *table* has of *model*, or of the same id without its date or `-latest`, or None."""
    found = table.get(model)
    return table.get(_DATED.sub("", model)) if found is None else found


def names(provider: str, path: Path = PATH) -> list[str]:
    """Return the ids of all rows of *provider*."""
    return list(_models(provider, path))


def of_provider(provider: str, path: Path = PATH) -> dict[str, ModelRow]:
    """Return all rows of *provider* by model id; empty when it has none."""
    raw = _providers(path).get(provider)
    return {} if raw is None else _rows(raw)


@cache
def _providers(path: Path) -> dict[str, msgspec.Raw]:
    return _split(path.read_bytes())


def _models(provider: str, path: Path) -> dict[str, msgspec.Raw]:
    # Names that are no provider's come from outside and are not remembered.
    return _split_models(provider, path) if provider in _providers(path) else {}


@cache
def _split_models(provider: str, path: Path) -> dict[str, msgspec.Raw]:
    return _split(_providers(path)[provider])


REFUSED_WITHOUT = MappingProxyType({"sampling": ("temperature", "top_p"), "images": ("images",), "tools": ("tools",)})
"""What a model without the capability refuses."""


def facts(row: ModelRow) -> ModelFacts:
    """Return what a wire needs to know of *row*."""
    lacking = (names for cap, names in REFUSED_WITHOUT.items() if getattr(row.caps, cap) is False)
    return ModelFacts(
        context_length=row.context_length,
        max_output=row.max_output,
        refuses=frozenset(row.refuses).union(*lacking),
        structured=row.caps.structured,
        sampling=row.caps.sampling,
        reasoning=row.caps.reasoning,
        thinking=row.thinking,
        efforts=row.efforts,
    )


def price_on(row: ModelRow, day: date) -> Rates | None:
    """Return the price of *row* on *day* (UTC), announced changes included; None: unknown."""
    price = row.price
    for change in row.changes:
        if change.since <= day:
            price = change.price
    return price
