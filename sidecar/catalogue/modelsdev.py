"""The catalogue of models.dev → rows of ours, and the form in which they are kept. [pure]

`https://models.dev/api.json` is `{provider: {"models": {model: entry}}}`; prices are USD per million tokens
(the generator and schema of its repository, read 2026-11). It has no price for an hour's cache, no dates, no
hours, no factors of regions, and 0 where it does not know. Entries are read leniently: what is strange in one
costs that alone. Must not know where the document comes from, nor what our own table says.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import msgspec

from sidecar.catalogue.models import Capabilities, ModelRow, Rates, Tier
from sidecar.catalogue.overlay import REFRESHED, within

VERSION = 1

MAX_MODELS = 5000
"""Most models of a provider: the largest have some hundreds."""

MAX_ENTRY_BYTES = 64 * 1024
"""A larger entry is no model, and reading it would keep everything else waiting."""

MAX_ID_CHARS = 256
MAX_TOKENS = 10**9
MIN_PRICE, MAX_PRICE = Decimal("0.000001"), Decimal(10_000)

_STATUSES: dict[str, Literal["deprecated", "beta"]] = {"deprecated": "deprecated", "beta": "beta", "alpha": "beta"}
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_CAPABILITIES = {
    "tools": "tool_call",
    "reasoning": "reasoning",
    "structured": "structured_output",
    "sampling": "temperature",
}
_INPUTS = {"images": "image", "pdf": "pdf", "audio": "audio", "video": "video"}
_RATES = {
    "cache_read": "cache_read",
    "cache_write": "cache_write",
    "audio_input": "input_audio",
    "audio_output": "output_audio",
    "reasoning": "reasoning",
}

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_any = msgspec.json.Decoder().decode


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a refresh: rows by our provider and by model."""

    version: int
    fetched_at: str
    """ISO 8601 in UTC."""
    models: dict[str, dict[str, msgspec.Raw]]


class _Provider(msgspec.Struct):
    models: dict[str, msgspec.Raw]


_provider = msgspec.json.Decoder(_Provider).decode
_kept = msgspec.json.Decoder(Kept).decode
_row = msgspec.json.Decoder(ModelRow).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def convert(document: bytes, fetched_at: str, ids: Mapping[str, Sequence[str]]) -> bytes:
    """Return what to keep of *document*; *ids* are its names for each provider of ours.

    Raises: ValueError where it is no such catalogue.
    """
    day = date.fromisoformat(fetched_at[:10])
    try:
        theirs = _split(document)
        found = {name: _rows((theirs[one] for one in named if one in theirs), day) for name, named in ids.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("it is no catalogue of models") from None
    if not any(found.values()):
        raise ValueError("it has none of our providers")
    return _encode({"version": VERSION, "fetched_at": fetched_at, "models": found})


def read(data: bytes) -> Kept:
    """Return what *data* has kept, every row known to be good.

    Raises: ValueError where it makes no sense.
    """
    try:
        kept = _kept(data)
        date.fromisoformat(kept.fetched_at[:10])
        rows = [_row(raw) for table in kept.models.values() for raw in table.values()]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueError("it makes no sense") from None
    if kept.version != VERSION or not all(_is_sane(rates) for row in rows for rates in _prices(row)):
        raise ValueError("it is of another version, or has a price that is none")
    return kept


def _rows(tables: Iterable[msgspec.Raw], day: date) -> dict[str, ModelRow]:
    """Return the rows of a provider, of the first of its *tables* that has each."""
    rows: dict[str, ModelRow] = {}
    for table in tables:
        for name, raw in _provider(table).models.items():
            if len(rows) >= MAX_MODELS or name in rows or not _is_name(name) or _length(raw) > MAX_ENTRY_BYTES:
                continue
            entry = _any(raw)
            if isinstance(entry, dict) and (row := _row_of(name, entry, day)):
                rows[name] = row
    return rows


def _length(raw: msgspec.Raw) -> int:
    return memoryview(raw).nbytes


def _is_name(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= MAX_ID_CHARS and text.isprintable()


def _row_of(name: str, entry: dict[str, Any], day: date) -> ModelRow | None:
    """Return the row of a model, None for one that does not answer in text."""
    limit, modalities = _object(entry.get("limit")), _object(entry.get("modalities"))
    if "text" not in (_words(modalities.get("output")) or ("text",)):
        return None
    context = _count(limit.get("context"))
    shown = entry.get("name")
    return ModelRow(
        name=shown if isinstance(shown, str) and _is_name(shown) else name,
        status=_STATUSES.get(str(entry.get("status"))),
        context_length=context,
        max_input=within(_count(limit.get("input")), context),
        max_output=within(_count(limit.get("output")), context),
        caps=_caps(entry, _words(modalities.get("input"))),
        efforts=_efforts(entry.get("reasoning_options")),
        **_priced(_object(entry.get("cost")), day),
    )


def _caps(entry: dict[str, Any], inputs: list[str]) -> Capabilities:
    told = {ours: entry.get(theirs) for ours, theirs in _CAPABILITIES.items()}
    known = {ours: value for ours, value in told.items() if isinstance(value, bool)}
    return Capabilities(**known, **({ours: theirs in inputs for ours, theirs in _INPUTS.items()} if inputs else {}))


def _efforts(options: object) -> tuple[str, ...]:
    for option in options if isinstance(options, list) else ():
        if isinstance(option, dict) and option.get("type") == "effort":
            words = _words(option.get("values"))
            return tuple(effort for effort in _EFFORTS if effort in words)
    return ()


def _priced(cost: dict[str, Any], day: date) -> dict[str, Any]:
    """Return the columns of a price; none where only a part of it is understood, which would be another price."""
    price, tiers = _rates(cost), []
    listed = cost.get("tiers") or []
    for tier in listed if isinstance(listed, list) else [None]:
        kind, rates = _object(_object(tier).get("tier")), _rates(_object(tier))
        size = _count(kind.get("size"))
        if kind.get("type") != "context" or size is None or rates is None:
            return {}
        tiers.append(Tier(over_tokens=size, price=rates))
    # Without its tiers, the old field for long prompts does not say where they begin.
    if price is None or (cost.get("context_over_200k") and not tiers):
        return {}
    ordered = tuple(sorted(tiers, key=lambda tier: tier.over_tokens))
    return {"price": price, "tiers": ordered, "price_source": REFRESHED, "price_date": day}


def _rates(cost: dict[str, Any]) -> Rates | None:
    """Return the rates, None where they are not known; nothing costs nothing there."""
    first, last = _usd(cost.get("input")), _usd(cost.get("output"))
    if first is None or last is None:
        return None
    rates = Rates(input=first, output=last, **{ours: _usd(cost.get(theirs)) for ours, theirs in _RATES.items()})
    return rates if _is_sane(rates) else None


def _prices(row: ModelRow) -> list[Rates]:
    return [each for each in (row.price, *(tier.price for tier in row.tiers)) if each is not None]


def _is_sane(rates: Rates) -> bool:
    known = [rate for name in Rates.__struct_fields__ if (rate := getattr(rates, name)) is not None]
    sane = all(rate.is_finite() and MIN_PRICE <= rate <= MAX_PRICE for rate in known)
    # Nobody would cache what is cheaper to send again.
    return sane and (rates.cache_read is None or rates.cache_read <= rates.input)


def _usd(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not MIN_PRICE <= value <= MAX_PRICE:
        return None
    return Decimal(str(value))


def _count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_TOKENS else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: object) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
