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
from protocol.requests import CalculateCost
from sidecar.catalogue import models, provider_rows
from sidecar.catalogue.models import ModelRow, Rates
from sidecar.catalogue.overlay import CONFIGURATION
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.core import url_policy
from sidecar.core.errors import invalid
from sidecar.providers.addresses import find_base_address
from sidecar.providers.model_rows import find_model_row
from sidecar.providers.values import ResolvedProvider, Target
from sidecar.usage import cost

MODE_OPTIONS = ("speed", "service_tier", "serviceTier")
"""Options of providers, passed through to them, that ask for a mode: a word, or an object with the word as `type`."""

USUAL_MODES = ("auto", "default", "on_demand", "standard", "standard_only")
"""What providers call the mode without a price of its own. `auto` leaves it to the account, whose default this is."""

FREE = ModelRow(name="", price=Rates(input=Decimal(0), output=Decimal(0)))
"""What costs nothing."""


def calculate(resolved: ResolvedProvider, params: CalculateCost) -> dict[str, Any]:
    """Return the `cost` object of the usage.

    Raises: SidecarError `invalid_request`.
    """
    at, provider_row = _parse_time(params.at), resolved.provider.row
    row = _find_priced(resolved)
    factors = provider_rows.list_price_factors(provider_row, resolved.settings, {})
    found = cost.cost(params.usage, row, at, mode=_pick_mode(row, params.mode), factors=factors)
    return cost.in_credits(found, provider_row.pricing.credit_usd)


def spent(target: Target, passed: dict[str, Any], usage: Usage | None) -> dict[str, Any]:
    """Return the `cost` object of what a request has used now; *passed* are its passed-through options."""
    route, row = target.route, target.row
    known = _find_row(row, route.base_url, route.model, target.model_row)
    factors = provider_rows.list_price_factors(row, route.settings, passed)
    mode = _pick_mode(known, read_mode(passed))
    return cost.in_credits(
        cost.cost(usage, known, datetime.now(UTC), mode=mode, factors=factors), row.pricing.credit_usd
    )


def read_mode(passed: dict[str, Any]) -> str | None:
    """Return the mode that the options *passed* through ask for, None for the usual one."""
    for option in MODE_OPTIONS:
        value = passed.get(option)
        named = value.get("type") if isinstance(value, dict) else value
        if named is not None and named not in USUAL_MODES:
            # A value that is no word has no price either.
            return str(named)
    return None


def usd(target: Target, passed: dict[str, Any], usage: Usage) -> Decimal | None:
    """Return what *usage* costs now in US dollars, None for an unknown price; *passed* as for `spent`."""
    price = spent(target, passed, usage)["usd"]
    return None if price is None else Decimal(price)


def reported(target: Target, usd: str) -> dict[str, Any]:
    """Return the `cost` object of a request that cost *usd* by its provider's word."""
    return cost.in_credits(cost.reported(usd), target.row.pricing.credit_usd)


def _parse_time(text: str | None) -> datetime:
    """Return the time that *text* names, in UTC unless it names a zone; None is now."""
    if text is None:
        return datetime.now(UTC)
    try:
        named = datetime.fromisoformat(text)
        return (named if named.tzinfo else named.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid("`params.at` must be a date or a time in ISO 8601.", "params.at") from None


def is_free(target: Target, model: str) -> bool:
    """Return whether *model* of the target's provider costs nothing: the machine that answers is the user's own."""
    return _is_free(target.row, target.route.base_url, model)


def _find_priced(resolved: ResolvedProvider) -> ModelRow | None:
    row, model = resolved.provider.row, resolved.model
    model_row = find_model_row(resolved, model)
    if row.pricing.billed_models == "*":
        return model_row
    address = find_base_address(resolved, has_key=False)
    return _find_row(row, address.url, model, model_row)


def _find_row(row: ProviderRow, base_url: str, model: str, known: ModelRow | None) -> ModelRow | None:
    """Return the row by which *model* at *base_url* is priced; *known* is what is known of it anywhere."""
    if known is not None and known.price_source == CONFIGURATION:
        return known
    if _is_free(row, base_url, model):
        return FREE
    if known is not None and known.price_source == models.LOCAL:
        return msgspec.structs.replace(known, price=None)
    return known


def _pick_mode(row: ModelRow | None, mode: str | None) -> str | None:
    """Return the mode whose price counts: none where *row* costs the same in each, nothing or what the user says."""
    return None if row is None or row is FREE or row.price_source == CONFIGURATION else mode


def _is_free(row: ProviderRow, base_url: str, model: str) -> bool:
    """Return whether the machine that answers is the user's own."""
    if fnmatchcase(model, row.pricing.billed_models):
        return False
    return row.auth.key_base_url is None or not url_policy.same_origin(base_url, row.auth.key_base_url)
