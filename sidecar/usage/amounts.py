"""Amounts of money: US dollars as decimal strings, and as the whole numbers that the ledger sums. [pure]

Must not know prices.
"""

from decimal import Decimal

PICO = 10**12
"""Picodollars of a US dollar."""

MAX_PICOUSD = 10**16
"""10,000 US dollars, the most that one attempt is believed to cost: a provider that reports more is mistaken."""


def to_picousd(usd: str) -> int | None:
    """Return *usd* in picodollars, rounded; None for an amount that no attempt can cost."""
    picousd = round(Decimal(usd) * PICO)
    return picousd if 0 <= picousd <= MAX_PICOUSD else None


def to_usd(picousd: int) -> str:
    """Return *picousd*, in picodollars, as a decimal string in US dollars."""
    return format_plain(Decimal(picousd) / PICO)


def format_plain(amount: Decimal) -> str:
    """Return *amount* without an exponent and without trailing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
