"""Providers' lists of models, read as their tables say. [pure]

A provider's `models.lists` in `providers.toml` say where to ask and where in the answer each fact
stands, as paths (see `find`). Entries are read leniently: a strange one costs itself alone.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from protocol.replies import ModelInfo
from sidecar.wires.shared import costs

MAX_PAGES = 20


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One list. The defaults are what most compatible servers answer.

    Facts are paths into an entry; of several, the first that leads to something wins.
    """

    path: str = "/models"
    """Appended to the list's base address."""
    entries: str = "data"
    """Where the entries stand in the document, which may also be the bare list."""
    id: tuple[str, ...] = ("id",)
    id_prefix: str = ""
    """Cut off the id: the provider's API takes it without."""
    name: tuple[str, ...] = ("name", "display_name")
    kind: tuple[str, ...] = ()
    """What the entry says of its kind, through `kinds`; without it the id's words tell."""
    kinds: dict[str, str] = {}
    """The provider's word → `chat`, `embedding`, …"""
    context_length: tuple[str, ...] = ("context_length", "context_window", "max_model_len", "max_context_length")
    max_input: tuple[str, ...] = ("max_input_tokens",)
    max_output: tuple[str, ...] = ("max_completion_tokens", "max_output_tokens")
    prices: dict[str, str] = {}
    """Our name of a price → its path."""
    price_factor: str = "1000000"
    """What makes a price US dollars per million tokens."""
    price_batch: str | None = None
    """The path of a number of tokens that the prices are for."""
    capabilities: dict[str, str] = {}
    """Our name of a capability → its path; `list~word` asks whether a list has the word."""
    status: tuple[str, ...] = ()
    statuses: dict[str, str] = {}
    """The provider's word → `active`, `deprecated`, `retired`, `preview`."""
    retires_on: tuple[str, ...] = ("shutdown_date",)
    endpoints: str | None = None
    """The path of a list of endpoints."""
    endpoint_wires: tuple[tuple[str, str], ...] = ()
    """Endpoint and its wire, the preferred first."""
    next_token: str | None = None
    """The path of the token of the next page in the document."""
    next_if: str | None = None
    """The path of what says whether there is a next page, where a token alone does not."""
    next_parameter: str = "pageToken"


def parse(listing: Listing, document: Any, provider: str) -> tuple[list[ModelInfo], str | None]:
    """Return the models of one page and the path of the next."""
    models = [model for entry in _entries(listing, document) if (model := _model(listing, entry, provider))]
    return models, _next(listing, document)


def _entries(listing: Listing, document: Any) -> Iterator[dict[str, Any]]:
    found = document if isinstance(document, list) else find(document, listing.entries)
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict):
            yield entry


def _model(listing: Listing, entry: dict[str, Any], provider: str) -> ModelInfo | None:
    name = _text(_first(entry, listing.id))
    if name is None:
        return None
    name = name.removeprefix(listing.id_prefix)
    told = _first(entry, listing.kind)
    told_of = {ours: find(entry, path) for ours, path in listing.capabilities.items()}
    capabilities = {name: bool(value) for name, value in told_of.items() if value is not None}
    status = _text(_first(entry, listing.status))
    return ModelInfo(
        id=name,
        provider=provider,
        name=_text(_first(entry, listing.name)),
        kind=_kind_told(listing, told) or kind_of(name),
        context_length=_count(_first(entry, listing.context_length)),
        max_input=_count(_first(entry, listing.max_input)),
        max_output=_count(_first(entry, listing.max_output)),
        cost=_prices(listing, entry),
        capabilities=capabilities or None,
        status=listing.statuses.get(status or "", status),
        retires_on=_date(_first(entry, listing.retires_on)),
        wire=_wire(listing, entry),
    )


def _next(listing: Listing, document: Any) -> str | None:
    if listing.next_token is None or (listing.next_if and not find(document, listing.next_if)):
        return None
    token = _text(find(document, listing.next_token))
    if token is None:
        return None
    separator = "&" if "?" in listing.path else "?"
    return f"{listing.path}{separator}{listing.next_parameter}={token}"


MAX_DIGITS = 18
"""A number with more, in a text, is none."""

_STEP = re.compile(r"(\w+)(?:\[(\w+)=([\w.-]+)\])?")


def find(value: Any, path: str) -> Any:
    """Return what stands at *path*, or None.

    `a.b` goes into objects; `a[key=word]` finds the entry of a list whose *key* is *word*;
    `a~word` says whether the list or text at `a` has *word*.
    """
    path, has_word, word = path.partition("~")
    for step in path.split("."):
        match = _STEP.fullmatch(step)
        value = value.get(match[1]) if match and isinstance(value, dict) else None
        if match and match[2]:
            entries = value if isinstance(value, list) else ()
            value = next((each for each in entries if isinstance(each, dict) and each.get(match[2]) == match[3]), None)
    if not has_word:
        return value
    return word in value if isinstance(value, (list, str)) else None


def _first(entry: dict[str, Any], paths: tuple[str, ...]) -> Any:
    return next((value for path in paths if (value := find(entry, path)) is not None), None)


def _wire(listing: Listing, entry: dict[str, Any]) -> str | None:
    if listing.endpoints is None:
        return None
    offered = find(entry, listing.endpoints)
    if not isinstance(offered, list):
        # An entry that names no endpoints has the oldest, which stands last.
        return listing.endpoint_wires[-1][1]
    return next((wire for endpoint, wire in listing.endpoint_wires if endpoint in offered), None)


def _prices(listing: Listing, entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return USD per million tokens as decimal strings; a negative price means that it varies."""
    batch = _count(find(entry, listing.price_batch)) if listing.price_batch else None
    factor = str(Decimal(listing.price_factor) / (batch or 1))
    found: dict[str, Any] = {}
    for ours, path in listing.prices.items():
        price = costs.convert_to_usd(find(entry, path), factor)
        if price is not None:
            found[ours] = price
    return found or None


def _kind_told(listing: Listing, told: Any) -> str | None:
    """Return the kind that the entry's own words tell, which may be a list of them."""
    words = told if isinstance(told, list) else [told]
    return next((kind for word, kind in listing.kinds.items() if word in words), None) or (
        told if isinstance(told, str) else None
    )


_KINDS = (
    ("embed", "embedding"),
    ("moderation", "moderation"),
    ("guard", "moderation"),
    ("whisper", "audio"),
    ("tts", "audio"),
    ("transcribe", "audio"),
    ("realtime", "audio"),
    ("dall-e", "image"),
    ("image", "image"),
    ("veo-", "video"),
    ("sora", "video"),
    ("davinci", "completion"),
    ("babbage", "completion"),
)


def kind_of(model: str) -> str | None:
    """Return the kind that the words of a name tell, where a list mixes all kinds; None: not told."""
    return next((kind for word, kind in _KINDS if word in model), None)


def _count(value: Any) -> int | None:
    if isinstance(value, str) and len(value) <= MAX_DIGITS and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _date(value: Any) -> str | None:
    return value[:10] if isinstance(value, str) and value else None
