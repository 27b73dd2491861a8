"""The action `calculate_cost`: a usage, priced at a time for a model of a provider.

Knows which prices apply: the model's, none where the machine is the user's own, credits where
the provider bills in such. Must not know how they are applied (`cost`).
"""

from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from protocol.messages import Usage
from protocol.requests import CalculateCost, Chat, Settings
from sidecar.catalogue import models, provider_rows
from sidecar.catalogue.models import ModelRow, Rates
from sidecar.catalogue.overlay import CONFIGURATION
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.core import url_policy
from sidecar.core.errors import invalid
from sidecar.providers import resolve, settings
from sidecar.providers.resolve import Described, Target
from sidecar.providers.setup import Setup
from sidecar.usage import cost

FREE = ModelRow(name="", price=Rates(input=Decimal(0), output=Decimal(0)))
"""What costs nothing."""


def calculate(setup: Setup, provider: str | None, params: CalculateCost) -> dict[str, Any]:
    """Return the `cost` object of the usage.

    Raises: SidecarError `invalid_request`, `unknown_provider`.
    """
    at = _time(params.at)
    provider, chosen = resolve.with_preset(setup.config, provider, Chat(model=params.model, messages=[]))
    model = resolve.described(setup, provider, chosen.model, params.settings)
    row, mode = _priced(setup, model, params.settings), params.mode
    if row is not None and mode is not None and mode not in row.modes and not _is_one_price(row):
        return cost.unknown("price_unknown")
    factors = provider_rows.price_factors(model.row, model.settings, {})
    found = cost.cost(params.usage, row, at, mode=mode, factors=factors)
    return cost.in_credits(found, model.row.credit_usd)


def spent(target: Target, passed: dict[str, Any], usage: Usage | None) -> dict[str, Any]:
    """Return the `cost` object of what a request has used now; *passed* are its passed-through options."""
    route, row = target.route, target.row
    known = _row_there(row, route.base_url, route.model, target.model_row)
    factors = provider_rows.price_factors(row, route.settings, passed)
    named = passed.get("service_tier") or passed.get("speed")
    mode = named if isinstance(named, str) else None
    return cost.in_credits(cost.cost(usage, known, datetime.now(UTC), mode=mode, factors=factors), row.credit_usd)


def usd(target: Target, passed: dict[str, Any], usage: Usage) -> Decimal | None:
    """Return what *usage* costs now in US dollars, None for an unknown price; *passed* as for `spent`."""
    price = spent(target, passed, usage)["usd"]
    return None if price is None else Decimal(price)


def reported(target: Target, usd: str) -> dict[str, Any]:
    """Return the `cost` object of a request that cost *usd* by its provider's word."""
    return cost.in_credits(cost.reported(usd), target.row.credit_usd)


def _time(text: str | None) -> datetime:
    """Return the time that *text* names, which is UTC where it says nothing else; by default now."""
    if text is None:
        return datetime.now(UTC)
    try:
        named = datetime.fromisoformat(text)
        return (named if named.tzinfo else named.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid("`params.at` is no time in ISO 8601.", "params.at") from None


def is_free(target: Target, model: str) -> bool:
    """Return whether *model* of the target's provider costs nothing: the machine that answers is the user's own."""
    return _is_free(target.row, target.route.base_url, model)


def _priced(setup: Setup, model: Described, given: Settings | None) -> ModelRow | None:
    row = model.row
    if row.free_unless is None:
        return model.model_row
    base_url = given.base_url if given else None
    base = settings.address(setup, model.provider, row, model.settings, base_url, has_key=False)
    return _row_there(row, base.url, model.model, model.model_row)


def _row_there(row: ProviderRow, base_url: str, model: str, known: ModelRow | None) -> ModelRow | None:
    """Return the row by which *model* at *base_url* is priced; *known* is what is known of it anywhere."""
    if known is not None and known.price_source == CONFIGURATION:
        return known
    if _is_free(row, base_url, model):
        return FREE
    if known is not None and known.price_source == models.LOCAL:
        return msgspec.structs.replace(known, price=None)
    return known


def _is_one_price(row: ModelRow) -> bool:
    """Return whether the price of *row* is the same however it is served: there is none, or it is the user's word."""
    return row is FREE or row.price_source == CONFIGURATION


def _is_free(row: ProviderRow, base_url: str, model: str) -> bool:
    """Return whether the machine that answers is the user's own."""
    if row.free_unless is None or fnmatchcase(model, row.free_unless):
        return False
    return row.key_base_url is None or not url_policy.same_origin(base_url, row.key_base_url)
