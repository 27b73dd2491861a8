"""What is known of a model in all: the table's row, what a refresh has brought, and what the user says of it.

Knows which of them counts for which column. Must not know files, HTTP, or how the other two came here.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from protocol.replies import ModelInfo
from sidecar.catalogue import models
from sidecar.catalogue.corrections import Correction, Overlay
from sidecar.catalogue.models import Capabilities, ModelRow, Rates, Tier

CONFIGURATION = "configuration"
"""The source of a price that the user has written down."""

REFRESHED = "models.dev"
"""The source of a price that a refresh has brought."""

STATUSES = MappingProxyType({None: "active", "beta": "preview", "deprecated": "deprecated", "retired": "retired"})
"""Ours → the protocol's. `unlisted` has none: a provider that names a model does list it."""

_OURS = {word: ours for ours, word in STATUSES.items()}


_NONE = MappingProxyType[str, Any]({})


def make_correction(table: Mapping[str, Any]) -> Correction:
    """Return what a checked table of the configuration says.

    Its price is the whole price: nothing that the catalogue knows of the model's (tiers, announced changes, hours,
    ways to be served, factors of a region) is left beside it.
    """
    columns = {name: value for name, value in table.items() if name in ModelRow.__struct_fields__}
    columns |= {name: tuple(table[name]) for name in ("efforts", "refuses") if name in table}
    if "status" in table:
        columns["status"] = _OURS[table["status"]]
    if "price" in table:
        tiers = msgspec.convert(table.get("tiers", ()), tuple[Tier, ...])
        columns |= _price(
            msgspec.convert(table["price"], Rates), tuple(sorted(tiers, key=lambda tier: tier.over_tokens))
        )
    return Correction(columns, table.get("capabilities", {}))


def _price(price: Rates, tiers: tuple[Tier, ...]) -> dict[str, Any]:
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


def lookup(overlay: Overlay, provider: str, model: str) -> ModelRow | None:
    """Return what is known of *model*, or of the same id without its date or `-latest`, or None."""
    row = models.lookup(provider, model)
    fresh = models.find(overlay.refreshed.models.get(provider, _NONE), model)
    if fresh is not None:
        row = _refreshed(row, models.row_of(fresh))
    own = models.find(overlay.corrections.get(provider, _NONE), model)
    return row if own is None else _corrected(row or ModelRow(name=model), own)


def names(overlay: Overlay, provider: str) -> list[str]:
    """Return the ids of all models of *provider* of which something is known."""
    known = (models.names(provider), overlay.refreshed.models.get(provider, ()), overlay.corrections.get(provider, ()))
    return list(dict.fromkeys(name for each in known for name in each))


def added(overlay: Overlay, provider: str) -> list[str]:
    """Return the models of *provider* that the user alone knows."""
    own = overlay.corrections.get(provider, ())
    bare = msgspec.structs.replace(overlay, corrections={})
    return [name for name in own if lookup(bare, provider, name) is None]


def _refreshed(row: ModelRow | None, fresh: ModelRow) -> ModelRow:
    """Return *row* with what *fresh* knows better: limits, which change, and whatever *row* does not know.

    What *row* says of capabilities and prices was checked by hand or has parts that a refresh never knows.
    """
    if row is None:
        return fresh
    context = fresh.context_length or row.context_length
    changed: dict[str, Any] = {
        "context_length": context,
        "max_input": within(fresh.max_input or row.max_input, context),
        "max_output": within(fresh.max_output or row.max_output, context),
        "caps": msgspec.convert(msgspec.to_builtins(fresh.caps) | msgspec.to_builtins(row.caps), Capabilities),
        "efforts": row.efforts or fresh.efforts,
        # One that is listed again is not gone.
        "status": fresh.status if row.status in (None, "unlisted") else row.status,
    }
    if row.price is None:
        changed |= {name: getattr(fresh, name) for name in ("price", "tiers", "price_source", "price_date")}
    return msgspec.structs.replace(row, **changed)


def within(limit: int | None, context: int | None) -> int | None:
    """Return *limit*, or the window where that is smaller: sources disagree, and the smaller limit is the safe one."""
    return limit if limit is None or context is None else min(limit, context)


def _corrected(row: ModelRow, own: Correction) -> ModelRow:
    caps = msgspec.structs.replace(row.caps, **own.capabilities)
    return msgspec.structs.replace(row, **own.columns, caps=caps)


def complete(info: ModelInfo, overlay: Overlay, day: date | None = None) -> ModelInfo:
    """Return *info* with what is known beside it; what the provider has said stands, unless the user says otherwise.

    `cost` is the price on *day* (UTC), by default today.
    """
    day = day or datetime.now(UTC).date()
    row = lookup(overlay, info.provider, info.id)
    if row is None:
        return msgspec.structs.replace(info, pricing={"source": "provider"}) if info.cost else info
    own = models.find(overlay.corrections.get(info.provider, _NONE), info.id) or Correction()
    price = models.price_on(row, day)
    known = {
        "name": row.name,
        "kind": "chat",
        "context_length": row.context_length,
        "max_input": row.max_input,
        "max_output": row.max_output,
        "cost": msgspec.to_builtins(price) if price else None,
        "status": STATUSES.get(row.status),
        "retires_on": row.retires.isoformat() if row.retires else None,
        "wire": row.wire,
    }
    said = {"price": "cost", "retires": "retires_on"}
    corrected = {said.get(column, column) for column in own.columns}
    filled = {field: value for field, value in known.items() if field in corrected or getattr(info, field) is None}
    capabilities = msgspec.to_builtins(row.caps) | (info.capabilities or {}) | own.capabilities
    by_provider = info.cost is not None and "cost" not in corrected
    return msgspec.structs.replace(
        info, **filled, capabilities=capabilities or None, pricing=_pricing(row, day, by_provider=by_provider)
    )


def _pricing(row: ModelRow, day: date, *, by_provider: bool) -> dict[str, Any] | None:
    """Return where the price is from and what there is beside it; None where no price is known."""
    if row.price is None:
        return {"source": "provider"} if by_provider else None
    own = {"source": row.price_source, "date": row.price_date}
    found = ({"source": "provider"} if by_provider else own) | {
        "tiers": row.tiers,
        "changes": [change for change in row.changes if change.since > day],
        "off_peak": row.off_peak,
        "modes": row.modes,
        "factors": row.multipliers,
    }
    told: dict[str, Any] = msgspec.to_builtins({name: value for name, value in found.items() if value})
    return told
