"""All that is known of a model: the table's row, what a refresh has brought, and what the user says of it.

Knows which of them wins for which column. Must not know files, HTTP, or where the other two are from.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from protocol.replies import ModelInfo
from sidecar.catalogue import models
from sidecar.catalogue.corrections import Correction, Overlay
from sidecar.catalogue.models import Capabilities, ModelKind, ModelRow, Rates, Tier

CONFIGURATION = "configuration"
"""The source of a price that the user has set."""

REFRESHED = "models.dev"
"""The source of a price that a refresh has brought."""

STATUSES = MappingProxyType({None: "active", "beta": "preview", "deprecated": "deprecated", "retired": "retired"})
"""Our status → the protocol's. `unlisted` has none: a provider that names a model does list it."""

_FROM_PROTOCOL = {theirs: ours for ours, theirs in STATUSES.items()}


_EMPTY = MappingProxyType[str, Any]({})


def make_correction(table: Mapping[str, Any]) -> Correction:
    """Return the correction that a checked table of the configuration makes.

    Its price is the whole price: it removes the tiers, announced changes, off-peak hours, service modes and factors
    that the catalogue has.
    """
    columns = {name: value for name, value in table.items() if name in ModelRow.__struct_fields__}
    columns |= {name: tuple(table[name]) for name in ("dimensions", "efforts", "refuses") if name in table}
    if "status" in table:
        columns["status"] = _FROM_PROTOCOL[table["status"]]
    if "price" in table:
        tiers = msgspec.convert(table.get("tiers", ()), tuple[Tier, ...])
        columns |= _make_price_columns(
            msgspec.convert(table["price"], Rates), tuple(sorted(tiers, key=lambda tier: tier.over_tokens))
        )
    return Correction(columns, table.get("capabilities", {}))


def _make_price_columns(price: Rates, tiers: tuple[Tier, ...]) -> dict[str, Any]:
    return {
        "price": price,
        "tiers": tiers,
        "changes": (),
        "off_peak": None,
        "modes": {},
        "multipliers": {},
        "price_source": CONFIGURATION,
        "price_date": None,
    }


def find_row(overlay: Overlay, provider: str, model: str) -> ModelRow | None:
    """Return the row of *model*, or of the same id without its date or `-latest`, or None if nothing is known."""
    row = models.find_row(provider, model)
    fresh = models.find_entry(overlay.refreshed.models.get(provider, _EMPTY), model)
    if fresh is not None:
        row = _apply_refresh(row, models.decode_row(fresh))
    correction = models.find_entry(overlay.corrections.get(provider, _EMPTY), model)
    return row if correction is None else _apply_correction(row or ModelRow(name=model), correction)


def list_names(overlay: Overlay, provider: str, kind: ModelKind | None = None) -> list[str]:
    """Return the ids of all known models of *provider*, or of those of one *kind*."""
    refreshed, corrected = overlay.refreshed.models.get(provider, ()), overlay.corrections.get(provider, ())
    names = list(dict.fromkeys([*models.list_names(provider), *refreshed, *corrected]))
    if kind is None:
        return names
    return [name for name in names if (row := find_row(overlay, provider, name)) is None or row.kind == kind]


def list_added(overlay: Overlay, provider: str) -> list[str]:
    """Return the ids of the models of *provider* that only the user knows."""
    corrected = overlay.corrections.get(provider, ())
    bare = msgspec.structs.replace(overlay, corrections={})
    return [name for name in corrected if find_row(bare, provider, name) is None]


def _apply_refresh(row: ModelRow | None, fresh: ModelRow) -> ModelRow:
    """Return *row* with the limits of *fresh*, which change, and with whatever *row* does not know.

    The capabilities and prices of *row* stay: they were checked by hand, or have parts that a refresh never has.
    """
    if row is None:
        return fresh
    context = fresh.context_length or row.context_length
    changed: dict[str, Any] = {
        "context_length": context,
        "max_input": limit_to(fresh.max_input or row.max_input, context),
        "max_output": limit_to(fresh.max_output or row.max_output, context),
        "caps": msgspec.convert(msgspec.to_builtins(fresh.caps) | msgspec.to_builtins(row.caps), Capabilities),
        "efforts": row.efforts or fresh.efforts,
        # A model that is listed again is not gone.
        "status": fresh.status if row.status in (None, "unlisted") else row.status,
    }
    if row.price is None:
        changed |= {name: getattr(fresh, name) for name in ("price", "tiers", "price_source", "price_date")}
    return msgspec.structs.replace(row, **changed)


def limit_to(limit: int | None, context: int | None) -> int | None:
    """Return *limit*, at most the window *context*: sources disagree, and the smaller limit is the safe one."""
    return limit if limit is None or context is None else min(limit, context)


def _apply_correction(row: ModelRow, correction: Correction) -> ModelRow:
    caps = msgspec.structs.replace(row.caps, **correction.capabilities)
    return msgspec.structs.replace(row, **correction.columns, caps=caps)


def complete(info: ModelInfo, overlay: Overlay, day: date | None = None) -> ModelInfo:
    """Return *info*, of a provider's own list, completed with what is known of the model. The user's word wins.

    `cost` is the price on *day* (UTC), by default today.
    """
    day = day or datetime.now(UTC).date()
    row = find_row(overlay, info.provider, info.id)
    if row is None:
        return msgspec.structs.replace(info, pricing={"source": "provider"}) if info.cost else info
    correction = models.find_entry(overlay.corrections.get(info.provider, _EMPTY), info.id) or Correction()
    price = models.find_price(row, day)
    known = {
        "name": row.name,
        "kind": row.kind,
        "dimensions": row.dimensions or None,
        "context_length": row.context_length,
        "max_input": row.max_input,
        "max_output": row.max_output,
        "cost": msgspec.to_builtins(price) if price else None,
        "status": STATUSES.get(row.status),
        "retires_on": row.retires.isoformat() if row.retires else None,
        "wire": row.wire,
    }
    fields = {"price": "cost", "retires": "retires_on"}
    corrected = {fields.get(column, column) for column in correction.columns}
    if row.kind != "chat":
        # A list tells kinds apart by words, or by guessing. Nobody has put these rows down by chance.
        corrected.add("kind")
    filled = {field: value for field, value in known.items() if field in corrected or getattr(info, field) is None}
    capabilities = msgspec.to_builtins(row.caps) | (info.capabilities or {}) | correction.capabilities
    from_provider = info.cost is not None and "cost" not in corrected
    pricing = _describe_price(row, day, from_provider=from_provider)
    return msgspec.structs.replace(info, **filled, capabilities=capabilities or None, pricing=pricing)


def _describe_price(row: ModelRow, day: date, *, from_provider: bool) -> dict[str, Any] | None:
    """Return the source of the price and what may change it, or None if no price is known."""
    if row.price is None:
        return {"source": "provider"} if from_provider else None
    ours = {"source": row.price_source, "date": row.price_date}
    found = ({"source": "provider"} if from_provider else ours) | {
        "tiers": row.tiers,
        "changes": [change for change in row.changes if change.since > day],
        "off_peak": row.off_peak,
        "modes": row.modes,
        "factors": row.multipliers,
    }
    described: dict[str, Any] = msgspec.to_builtins({name: value for name, value in found.items() if value})
    return described
