"""The catalogue of models.dev → rows of ours, and the form in which they are stored. [pure]

`https://models.dev/api.json` is `{provider: {"models": {model: entry}}}`, with prices in USD per million tokens (the
generator and schema of its repository, read 2026-11). It has no prices for the cache of an hour, no dates, no off-peak
hours, no regional factors, and 0 for what it does not know. Entries are read leniently: a strange value is left out,
and the others stay. Must not know where the document is from, or what our own table says.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import msgspec

from sidecar.catalogue import listings
from sidecar.catalogue.models import Capabilities, ModelKind, ModelRow, Rates, Tier
from sidecar.catalogue.overlay import REFRESHED, limit_to

VERSION = 1

MAX_MODELS = 5000
"""Models of one provider. The largest have a few hundred."""

MAX_ENTRY_BYTES = 64 * 1024
"""A larger entry is not a model, and reading it would delay everything else."""

MAX_TABLE_BYTES = 768 * 1024
"""A larger table of one provider is left out. The largest have a third of that."""

MAX_ID_CHARS = 256
MAX_TOKENS = 10**9
MIN_PRICE, MAX_PRICE = Decimal("0.000001"), Decimal(10_000)

_STATUSES: dict[str, Literal["deprecated", "beta"]] = {"deprecated": "deprecated", "beta": "beta", "alpha": "beta"}
_KINDS: dict[str, ModelKind] = {"embedding": "embedding", "rerank": "rerank"}
"""What a name suggests, which models.dev does not say."""
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

_decode_any = msgspec.json.Decoder().decode


class StoredCatalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A refresh as it is stored: our provider → model → row."""

    version: int
    fetched_at: str
    """ISO 8601 in UTC."""
    models: dict[str, dict[str, msgspec.Raw]]


class _Provider(msgspec.Struct):
    models: dict[str, msgspec.Raw]


_decode_provider = msgspec.json.Decoder(_Provider).decode
_decode_stored = msgspec.json.Decoder(StoredCatalogue).decode
_decode_row = msgspec.json.Decoder(ModelRow).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def convert(document: bytes, fetched_at: str, ids: Mapping[str, Sequence[str]]) -> bytes:
    """Return what to store of *document*. *ids* has its names for each of our providers.

    Raises: ValueError if it is not such a catalogue.
    """
    day = date.fromisoformat(fetched_at[:10])
    try:
        theirs = _split(document, sorted({name for names in ids.values() for name in names}))
        tables = {ours: [theirs[name] for name in names if name in theirs] for ours, names in ids.items()}
        found = {ours: _convert_models(each, day) for ours, each in tables.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("it is not a catalogue of models") from None
    if not any(found.values()):
        raise ValueError("it has none of our providers")
    return _encode({"version": VERSION, "fetched_at": fetched_at, "models": found})


def _split(document: bytes, names: Sequence[str]) -> dict[str, msgspec.Raw]:
    """Return the tables of the providers *names*. The others, however many, are skipped without a trace.

    A table that is too large to be decoded in one go is left out: no other thread could run meanwhile.
    """
    fields = {f"field_{number}": name for number, name in enumerate(names)}
    columns = [(field, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for field in fields]
    kind = msgspec.defstruct("_Document", columns, rename=fields)
    found = msgspec.json.decode(document, type=kind)
    tables = {name: getattr(found, field) for field, name in fields.items()}
    return {
        name: table
        for name, table in tables.items()
        if isinstance(table, msgspec.Raw) and _count_bytes(table) <= MAX_TABLE_BYTES
    }


def read(data: bytes) -> StoredCatalogue:
    """Return the refresh that *data* stores, with every row checked.

    Raises: ValueError if it cannot be decoded, has another version, or has an impossible price.
    """
    try:
        stored = _decode_stored(data)
        date.fromisoformat(stored.fetched_at[:10])
        rows = [_decode_row(raw) for table in stored.models.values() for raw in table.values()]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueError("it cannot be decoded") from None
    if stored.version != VERSION or not all(_is_sane(rates) for row in rows for rates in _list_rates(row)):
        raise ValueError("it has another version, or an impossible price")
    return stored


def _convert_models(tables: Iterable[msgspec.Raw], day: date) -> dict[str, ModelRow]:
    """Return the rows of one provider. If several of its *tables* have a model, the first wins."""
    rows: dict[str, ModelRow] = {}
    for table in tables:
        for name, raw in _decode_provider(table).models.items():
            if len(rows) >= MAX_MODELS or name in rows or not _is_name(name) or _count_bytes(raw) > MAX_ENTRY_BYTES:
                continue
            entry = _decode_any(raw)
            if isinstance(entry, dict) and (row := _convert_model(name, entry, day)):
                rows[name] = row
    return rows


def _count_bytes(raw: msgspec.Raw) -> int:
    return memoryview(raw).nbytes


def _is_name(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= MAX_ID_CHARS and text.isprintable()


def _convert_model(name: str, entry: dict[str, Any], day: date) -> ModelRow | None:
    """Return the row of a model, or None if it does not answer in text."""
    limit, modalities = _as_object(entry.get("limit")), _as_object(entry.get("modalities"))
    if "text" not in (_as_words(modalities.get("output")) or ("text",)):
        return None
    context = _parse_count(limit.get("context"))
    shown = entry.get("name")
    return ModelRow(
        name=shown if isinstance(shown, str) and _is_name(shown) else name,
        kind=_KINDS.get(listings.guess_kind(name) or "", "chat"),
        status=_STATUSES.get(str(entry.get("status"))),
        context_length=context,
        max_input=limit_to(_parse_count(limit.get("input")), context),
        max_output=limit_to(_parse_count(limit.get("output")), context),
        caps=_convert_capabilities(entry, _as_words(modalities.get("input"))),
        efforts=_convert_efforts(entry.get("reasoning_options")),
        **_make_price_columns(_as_object(entry.get("cost")), day),
    )


def _convert_capabilities(entry: dict[str, Any], inputs: list[str]) -> Capabilities:
    stated = {ours: entry.get(theirs) for ours, theirs in _CAPABILITIES.items()}
    known = {ours: value for ours, value in stated.items() if isinstance(value, bool)}
    return Capabilities(**known, **({ours: theirs in inputs for ours, theirs in _INPUTS.items()} if inputs else {}))


def _convert_efforts(options: object) -> tuple[str, ...]:
    for option in options if isinstance(options, list) else ():
        if isinstance(option, dict) and option.get("type") == "effort":
            words = _as_words(option.get("values"))
            return tuple(effort for effort in _EFFORTS if effort in words)
    return ()


def _make_price_columns(cost: dict[str, Any], day: date) -> dict[str, Any]:
    """Return the columns of a price. None if only a part of it is understood, which would be another price."""
    price, tiers = _convert_rates(cost), []
    listed = cost.get("tiers") or []
    for tier in listed if isinstance(listed, list) else [None]:
        kind, rates = _as_object(_as_object(tier).get("tier")), _convert_rates(_as_object(tier))
        size = _parse_count(kind.get("size"))
        if kind.get("type") != "context" or size is None or rates is None:
            return {}
        tiers.append(Tier(over_tokens=size, price=rates))
    # The old field for long prompts does not say where they begin.
    if price is None or (cost.get("context_over_200k") and not tiers):
        return {}
    ordered = tuple(sorted(tiers, key=lambda tier: tier.over_tokens))
    return {"price": price, "tiers": ordered, "price_source": REFRESHED, "price_date": day}


def _convert_rates(cost: dict[str, Any]) -> Rates | None:
    """Return the rates, or None if they are not known. At models.dev 0 means unknown."""
    first, last = _parse_usd(cost.get("input")), _parse_usd(cost.get("output"))
    if first is None or last is None:
        return None
    rates = Rates(input=first, output=last, **{ours: _parse_usd(cost.get(theirs)) for ours, theirs in _RATES.items()})
    return rates if _is_sane(rates) else None


def _list_rates(row: ModelRow) -> list[Rates]:
    return [each for each in (row.price, *(tier.price for tier in row.tiers)) if each is not None]


def _is_sane(rates: Rates) -> bool:
    known = [rate for name in Rates.__struct_fields__ if (rate := getattr(rates, name)) is not None]
    sane = all(rate.is_finite() and MIN_PRICE <= rate <= MAX_PRICE for rate in known)
    # A cache that costs more than sending again would be of no use, so the price must be wrong.
    return sane and (rates.cache_read is None or rates.cache_read <= rates.input)


def _parse_usd(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not MIN_PRICE <= value <= MAX_PRICE:
        return None
    return Decimal(str(value))


def _parse_count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_TOKENS else None


def _as_object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_words(value: object) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
