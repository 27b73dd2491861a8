"""What a provider itself says that a request cost. [pure]

Wires look into the usage, where most say it; here is what the others say it in, beside the usage (`Quirks.cost_field`).
"""

from decimal import Decimal

from sidecar.wires.shared.types import Quirks

MAX_DIGITS = 20
"""A cost with more digits before or behind its point is none."""

PLACES = ("response", "message")
"""Where the field may also stand: within the answer, in an event that carries it."""


def convert_to_usd(value: object, unit_usd: str = "1") -> str | None:
    """Return *value* times *unit_usd* as a decimal string in US dollars, None for what is no amount."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value)) * Decimal(unit_usd)
    except (ArithmeticError, ValueError):
        return None
    if not amount.is_finite() or amount < 0 or abs(amount.adjusted()) > MAX_DIGITS:
        return None
    return format(amount.normalize(), "f")


def read_cost_usd(raw: object, quirks: Quirks) -> str | None:
    """Return what an event or document says in the field of *quirks*; None: nothing, or 0, which is as much."""
    name, _, inner = quirks.cost_field.partition(".")
    within = [raw, *(raw.get(place) for place in PLACES)] if isinstance(raw, dict) else []
    for each in within:
        said = each.get(name) if isinstance(each, dict) else None
        found = convert_to_usd(said.get(inner), quirks.cost_unit_usd) if isinstance(said, dict) else None
        if found not in (None, "0"):
            return found
    return None
