"""Which price applies to a usage, for the action `calculate_cost` and for attempts.

Knows the price of the model, that a server of the user's own costs nothing, service modes, and
providers that bill in credits. Must not know the arithmetic (`cost`).
"""

from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from protocol.messages import Usage
from protocol.requests import CalculateCost
from sidecar.catalogue import models, provider_rows
from sidecar.catalogue.models import ModelRow, Rates, find_price
from sidecar.catalogue.overlay import CONFIGURATION
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.core import url_policy
from sidecar.providers.addresses import find_base_address
from sidecar.providers.model_rows import find_model_row
from sidecar.providers.values import ResolvedProvider, Target
from sidecar.usage import cost
from sidecar.usage.times import parse_time

MODE_OPTIONS = ("speed", "service_tier", "serviceTier")
"""Options in `provider_options` that ask for a service mode: a word, or an object with the word as its `type`."""

USUAL_MODES = ("auto", "default", "on_demand", "standard", "standard_only")
"""Names of the usual mode. `auto` leaves the choice to the account, whose default is the usual mode."""

FREE = ModelRow(name="", price=Rates(input=Decimal(0), output=Decimal(0)))
"""A model that costs nothing."""


def calculate(resolved: ResolvedProvider, params: CalculateCost) -> dict[str, Any]:
    """Return the `cost` object of the usage in *params*.

    Raises: SidecarError `invalid_request`.
    """
    at = datetime.now(UTC) if params.at is None else parse_time(params.at, "params.at")
    provider_row, row = resolved.provider.row, _find_priced(resolved)
    factors = provider_rows.list_price_factors(provider_row, resolved.settings, {})
    found = cost.calculate(params.usage, row, at, mode=_pick_mode(row, params.mode), factors=factors)
    return cost.add_credits(found, provider_row.pricing.credit_usd)


def price_attempt(target: Target, passed: dict[str, Any], usage: Usage | None) -> dict[str, Any]:
    """Return the `cost` object of *usage* now; *passed* are the request's `provider_options`."""
    route, row = target.route, target.row
    known = _find_row(row, route.base_url, route.model, target.model_row)
    factors = provider_rows.list_price_factors(row, route.settings, passed)
    mode = _pick_mode(known, read_mode(passed))
    return cost.add_credits(
        cost.calculate(usage, known, datetime.now(UTC), mode=mode, factors=factors), row.pricing.credit_usd
    )


def price_rerank(target: Target, usage: Usage, search_units: int | None) -> dict[str, Any]:
    """Return the `cost` object of a rerank now: by its search units if the model has a price for them."""
    known, at = _find_row(target.row, target.route.base_url, target.route.model, target.model_row), datetime.now(UTC)
    rates = find_price(known, at.date()) if known else None
    if known is None or rates is None or rates.search is None:
        return price_attempt(target, {}, usage)
    found = cost.calculate_searches(search_units, known, rates.search, at)
    return cost.add_credits(found, target.row.pricing.credit_usd)


def read_mode(passed: dict[str, Any]) -> str | None:
    """Return the service mode that `provider_options` ask for, None for the usual one."""
    for option in MODE_OPTIONS:
        value = passed.get(option)
        named = value.get("type") if isinstance(value, dict) else value
        if named is not None and named not in USUAL_MODES:
            # A value that is not a word has no known price either.
            return str(named)
    return None


def calculate_usd(target: Target, passed: dict[str, Any], usage: Usage) -> Decimal | None:
    """Return the US dollars that *usage* costs now, None for an unknown price; *passed* as in `price_attempt`."""
    price = price_attempt(target, passed, usage)["usd"]
    return None if price is None else Decimal(price)


def price_reported(target: Target, usd: str) -> dict[str, Any]:
    """Return the `cost` object of a request that costs *usd* according to its provider."""
    return cost.add_credits(cost.make_reported(usd), target.row.pricing.credit_usd)


def is_free(target: Target, model: str) -> bool:
    """Return whether *model* at the target costs nothing because it runs on a server of the user's own."""
    return _is_free(target.row, target.route.base_url, model)


def _find_priced(resolved: ResolvedProvider) -> ModelRow | None:
    row, model = resolved.provider.row, resolved.model
    model_row = find_model_row(resolved, model)
    if row.pricing.billed_models == "*":
        return model_row
    address = find_base_address(resolved, has_key=False)
    return _find_row(row, address.url, model, model_row)


def _find_row(row: ProviderRow, base_url: str, model: str, known: ModelRow | None) -> ModelRow | None:
    """Return the row with the price of *model* at *base_url*; *known* is the catalogue's row, wherever it runs."""
    if known is not None and known.price_source == CONFIGURATION:
        return known
    if _is_free(row, base_url, model):
        return FREE
    if known is not None and known.price_source == models.LOCAL:
        return msgspec.structs.replace(known, price=None)
    return known


def _pick_mode(row: ModelRow | None, mode: str | None) -> str | None:
    """Return the mode whose price counts: what is free is free in every mode."""
    return None if row is FREE else mode


def _is_free(row: ProviderRow, base_url: str, model: str) -> bool:
    """Return whether the server is the user's own."""
    if fnmatchcase(model, row.pricing.billed_models):
        return False
    return row.auth.key_base_url is None or not url_policy.has_same_origin(base_url, row.auth.key_base_url)
