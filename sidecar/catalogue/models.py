"""The limits, capabilities and prices of each provider's models: `models.json`, read on first use.

`models.json` is one object `{provider: {model: row}}`, made by `build.py`. Only what is needed is parsed: the first
use splits the file by provider, the first use of a provider splits its rows, and each lookup decodes one row. An absent
field is unknown, never false and never 0.
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

MADE_ON = date(2026, 11, 20)
"""The table holds the facts up to this day."""

LOCAL = "local"
"""The source of the price of a model that runs on the user's own machine, which is 0."""


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
    """A reasoning token. Absent: billed as `output`."""
    search: Decimal | None = None
    """1,000 search units of a rerank. Absent: it is billed by its tokens."""


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates of a whole request whose prompt, including cached tokens, is longer than `over_tokens`."""

    over_tokens: int
    price: Rates


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An announced price, which replaces the row's own from the start of the day `since` (UTC)."""

    since: date
    price: Rates


class OffPeak(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Rates outside the peak hours. The row's own rates apply in them."""

    price: Rates
    peak_utc: tuple[str, ...]
    """The peak hours, each as `HH:MM-HH:MM` in UTC, without its end."""
    weekdays_only: bool = False
    """Whether Saturday and Sunday (UTC) have no peak hours."""
    excludes: str | None = None
    """Other days without peak hours, in words, because no table has them."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the model accepts and does at this provider. None: unknown."""

    tools: bool | None = None
    images: bool | None = None
    """Accepts images."""
    pdf: bool | None = None
    """Accepts PDF files."""
    audio: bool | None = None
    """Accepts audio."""
    video: bool | None = None
    """Accepts video."""
    reasoning: bool | None = None
    structured: bool | None = None
    """Answers in JSON that conforms to a schema."""
    sampling: bool | None = None
    """Accepts `temperature` and `top_p`."""


ModelKind = Literal["chat", "completion", "embedding", "rerank"]


class ModelRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is known of one model at one provider."""

    name: str
    """For people."""
    kind: ModelKind = "chat"
    """What it is for. `completion`: it completes text and has no chat."""
    dimensions: tuple[int, ...] = ()
    """Of an embedding model: the lengths of its vectors, the usual one first. Empty: unknown."""
    family: str | None = None
    status: Literal["deprecated", "retired", "unlisted", "beta"] | None = None
    """On the day `MADE_ON`; None: live. `unlisted`: in no list any more, so probably gone."""
    released: str | None = None
    """`YYYY-MM-DD` or `YYYY-MM`."""
    retires: date | None = None
    """The announced last day."""
    cutoff: str | None = None
    """When its knowledge ends: `YYYY-MM-DD` or `YYYY-MM`."""
    context_length: int | None = None
    """Prompt and answer together, in tokens."""
    max_input: int | None = None
    """The prompt, in tokens, if that is less than `context_length`."""
    max_output: int | None = None
    """The answer including reasoning, in tokens."""
    cache_min_tokens: int | None = None
    """The shortest prompt that is cached, in tokens."""
    caps: Capabilities = Capabilities()
    efforts: tuple[str, ...] = ()
    """The reasoning efforts that it accepts, weakest first. Empty: unknown."""
    thinking: Literal["adaptive", "budget"] | None = None
    """The way to ask for reasoning that it accepts, if a wire has both."""
    refuses: tuple[str, ...] = ()
    """Options that it answers with an error, besides those that `caps` implies."""
    wire: str | None = None
    """The wire that it needs. None: the provider's usual one."""
    price: Rates | None = None
    """None: unknown, which is not free."""
    price_source: str | None = None
    """Where the price is from."""
    price_date: date | None = None
    """The day on which the price was correct."""
    tiers: tuple[Tier, ...] = ()
    """By ascending `over_tokens`. The last that applies wins."""
    changes: tuple[Change, ...] = ()
    """By ascending `since`. The last that has begun wins."""
    off_peak: OffPeak | None = None
    modes: dict[Literal["batch", "fast", "flex", "priority"], Rates] = {}
    """Rates of other service modes, below the first tier. A rate that only `price` has is unknown for the mode."""
    multipliers: dict[str, Decimal] = {}
    """Factors on every rate: `us` for inference in the US only, `regional_endpoint`, `regional_processing_us` and
    `regional_processing_eu` for data that stays in a region, `fast`."""
    premium_requests: Decimal | None = None
    """How many requests one prompt counts as, for subscribers who are billed by request."""


_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
decode_row = msgspec.json.Decoder(ModelRow).decode
"""Return the row of its JSON."""
_decode_rows = msgspec.json.Decoder(dict[str, ModelRow]).decode

_DATED = re.compile(r"(?:[-@]20\d{6}|[-@]20\d\d-\d\d-\d\d|-latest)\Z", re.ASCII)


def find_row(provider: str, model: str, path: Path = PATH) -> ModelRow | None:
    """Return the row of *model*, or of the same id without its date or `-latest`, or None.

    No other id is tried: a price for the wrong model is worse than none.
    """
    raw = find_entry(_split_models(provider, path), model)
    return None if raw is None else decode_row(raw)


def find_entry(table: Mapping[str, T], model: str) -> T | None:
    """Return the value of *model* in *table*, or of the same id without its date or `-latest`, or None."""
    found = table.get(model)
    return table.get(_DATED.sub("", model)) if found is None else found


def list_names(provider: str, path: Path = PATH) -> list[str]:
    """Return the ids of all rows of *provider*."""
    return list(_split_models(provider, path))


def read_rows(provider: str, path: Path = PATH) -> dict[str, ModelRow]:
    """Return all rows of *provider* by model id; empty if it has none."""
    raw = _split_providers(path).get(provider)
    return {} if raw is None else _decode_rows(raw)


@cache
def _split_providers(path: Path) -> dict[str, msgspec.Raw]:
    return _split(path.read_bytes())


def _split_models(provider: str, path: Path) -> dict[str, msgspec.Raw]:
    # Names of no provider come from requests and must not fill the cache.
    return _split_known(provider, path) if provider in _split_providers(path) else {}


@cache
def _split_known(provider: str, path: Path) -> dict[str, msgspec.Raw]:
    return _split(_split_providers(path)[provider])


REFUSED_WITHOUT = MappingProxyType({"sampling": ("temperature", "top_p"), "images": ("images",), "tools": ("tools",)})
"""Capability → options that a model without it refuses."""


def make_facts(row: ModelRow) -> ModelFacts:
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


def find_price(row: ModelRow, day: date) -> Rates | None:
    """Return the price of *row* on *day* (UTC), announced changes included; None: unknown."""
    price = row.price
    for change in row.changes:
        if change.since <= day:
            price = change.price
    return price
