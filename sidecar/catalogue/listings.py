"""Providers' lists of models. [pure]

A provider's `models.lists` in `providers.toml` say what to ask for and where each fact is in the answer, as paths (see
`find_value`). Entries are read leniently: a strange one is left out, and the others stay.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from protocol.replies import ModelInfo
from sidecar.core.json_values import read_count
from sidecar.wires.shared import costs

MAX_PAGES = 20


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One list. The defaults fit most compatible servers.

    A fact is a path into an entry, or several, of which the first that leads to a value wins.
    """

    path: str = "/models"
    """Appended to the list's base address."""
    entries: str = "data"
    """The path of the entries in the document, which may also be the list itself."""
    id: tuple[str, ...] = ("id",)
    id_prefix: str = ""
    """Removed from the id, which the provider's API expects without it."""
    name: tuple[str, ...] = ("name", "display_name")
    kind: tuple[str, ...] = ()
    """The kind of model, translated by `kinds`. Default: guessed from the id."""
    kinds: dict[str, str] = {}
    """The provider's word → `chat`, `embedding`, …"""
    context_length: tuple[str, ...] = (
        *("context_length", "context_window", "max_model_len", "max_context_length"),
        "meta.n_ctx",  # llama.cpp
    )
    max_input: tuple[str, ...] = ("max_input_tokens",)
    max_output: tuple[str, ...] = ("max_completion_tokens", "max_output_tokens")
    prices: dict[str, str] = {}
    """Our name of a price → its path."""
    price_factor: str = "1000000"
    """Converts a price to US dollars per million tokens."""
    price_batch: str | None = None
    """The path of the number of tokens that a price is for."""
    capabilities: dict[str, str] = {}
    """Our name of a capability → its path. `list~word` is whether a list contains the word."""
    status: tuple[str, ...] = ()
    statuses: dict[str, str] = {}
    """The provider's word → `active`, `deprecated`, `retired`, `preview`."""
    retires_on: tuple[str, ...] = ("shutdown_date",)
    endpoints: str | None = None
    """The path of a list of endpoints."""
    endpoint_wires: tuple[tuple[str, str], ...] = ()
    """Endpoints with their wires, the preferred first."""
    next_token: str | None = None
    """The path of the next page's token in the document."""
    next_if: str | None = None
    """The path of what says whether there is a next page, if a token alone does not."""
    next_parameter: str = "pageToken"


def parse_page(listing: Listing, document: Any, provider: str) -> tuple[list[ModelInfo], str | None]:
    """Return the models of one page, and the path of the next page or None."""
    parsed = (_parse_model(listing, entry, provider) for entry in _iterate_entries(listing, document))
    models = [model for model in parsed if model is not None]
    return models, _find_next(listing, document)


def _iterate_entries(listing: Listing, document: Any) -> Iterator[dict[str, Any]]:
    found = document if isinstance(document, list) else find_value(document, listing.entries)
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict):
            yield entry


def _parse_model(listing: Listing, entry: dict[str, Any], provider: str) -> ModelInfo | None:
    name = _parse_text(_find_first(entry, listing.id))
    if name is None:
        return None
    name = name.removeprefix(listing.id_prefix)
    values = {ours: find_value(entry, path) for ours, path in listing.capabilities.items()}
    capabilities = {ours: bool(value) for ours, value in values.items() if value is not None}
    status = _parse_text(_find_first(entry, listing.status))
    return ModelInfo(
        id=name,
        provider=provider,
        name=_parse_text(_find_first(entry, listing.name)),
        kind=_find_kind(listing, entry) or guess_kind(name),
        context_length=_parse_count(_find_first(entry, listing.context_length)),
        max_input=_parse_count(_find_first(entry, listing.max_input)),
        max_output=_parse_count(_find_first(entry, listing.max_output)),
        cost=_parse_prices(listing, entry),
        capabilities=capabilities or None,
        status=listing.statuses.get(status or "", status),
        retires_on=_parse_date(_find_first(entry, listing.retires_on)),
        wire=_choose_wire(listing, entry),
    )


def _find_next(listing: Listing, document: Any) -> str | None:
    if listing.next_token is None or (listing.next_if and not find_value(document, listing.next_if)):
        return None
    token = _parse_text(find_value(document, listing.next_token))
    if token is None:
        return None
    separator = "&" if "?" in listing.path else "?"
    return f"{listing.path}{separator}{listing.next_parameter}={token}"


MAX_DIGITS = 18
"""A text of more digits is not read as a number."""

_STEP = re.compile(r"(\w+)(?:\[(\w+)=([\w.-]+)\])?")


def find_value(value: Any, path: str) -> Any:
    """Return the value at *path*, or None.

    `a.b` goes into objects. `a[key=word]` finds the entry of a list whose *key* is *word*. `a~word` is whether the
    list or text at `a` contains *word*.
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


def _find_first(entry: dict[str, Any], paths: tuple[str, ...]) -> Any:
    return next((value for path in paths if (value := find_value(entry, path)) is not None), None)


def _choose_wire(listing: Listing, entry: dict[str, Any]) -> str | None:
    if listing.endpoints is None:
        return None
    offered = find_value(entry, listing.endpoints)
    if not isinstance(offered, list):
        # An entry without endpoints has the oldest one, which is last.
        return listing.endpoint_wires[-1][1]
    return next((wire for endpoint, wire in listing.endpoint_wires if endpoint in offered), None)


def _parse_prices(listing: Listing, entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return US dollars per million tokens as decimal strings, without prices below 0, which mean that they vary."""
    batch = _parse_count(find_value(entry, listing.price_batch)) if listing.price_batch else None
    factor = str(Decimal(listing.price_factor) / (batch or 1))
    found: dict[str, Any] = {}
    for ours, path in listing.prices.items():
        price = costs.convert_to_usd(find_value(entry, path), factor)
        if price is not None:
            found[ours] = price
    return found or None


def _find_kind(listing: Listing, entry: dict[str, Any]) -> str | None:
    """Return the kind that the entry states, in one word or a list of them."""
    stated = _find_first(entry, listing.kind)
    words = stated if isinstance(stated, list) else [stated]
    kind = next((kind for word, kind in listing.kinds.items() if word in words), None)
    return kind or (stated if isinstance(stated, str) else None)


_KINDS = (
    ("rerank", "rerank"),
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


def guess_kind(model: str) -> str | None:
    """Return the kind of *model* that its name suggests, for lists that mix all kinds, or None."""
    return next((kind for word, kind in _KINDS if word in model), None)


def _parse_count(value: Any) -> int | None:
    if isinstance(value, str) and len(value) <= MAX_DIGITS and value.isascii() and value.isdigit():
        value = int(value)
    return read_count(value) or None


def _parse_text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _parse_date(value: Any) -> str | None:
    return value[:10] if isinstance(value, str) and value else None
