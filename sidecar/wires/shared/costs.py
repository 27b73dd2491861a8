"""What a provider itself says that a request cost. [pure]

Most providers say it in the usage, which their wires read. Others say it beside the usage, in the
field that `Quirks.cost_field` names: that is read here.
"""

from decimal import Decimal

from sidecar.core.json_values import read_object
from sidecar.wires.shared.types import Quirks

MAX_DIGITS = 20
"""An amount with more digits before or after its point is not a cost."""

PLACES = ("response", "message")
"""Objects of an event that may hold the field: the event carries the answer in one of them."""

TICK_USD = "0.0000000001"
"""One of `cost_in_usd_ticks`, in US dollars."""


def convert_to_usd(value: object, unit_usd: str = "1") -> str | None:
    """Return *value* times *unit_usd* as a decimal string in US dollars, None for what is not an amount."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value)) * Decimal(unit_usd)
    except (ArithmeticError, ValueError):
        return None
    if not amount.is_finite() or amount < 0 or abs(amount.adjusted()) > MAX_DIGITS:
        return None
    return format(amount.normalize(), "f")


def read_cost_usd(event: object, quirks: Quirks) -> str | None:
    """Return the cost that an event or a document has in the field of *quirks*; None when it has none, or 0."""
    name, _, inner_name = quirks.cost_field.partition(".")
    holders = [event, *(event.get(place) for place in PLACES)] if isinstance(event, dict) else []
    for holder in holders:
        cost = read_object(holder).get(name)
        cost_usd = convert_to_usd(cost.get(inner_name), quirks.cost_unit_usd) if isinstance(cost, dict) else None
        if cost_usd not in (None, "0"):
            return cost_usd
    return None
