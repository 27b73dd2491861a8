"""The budgets of a day and of a month, for all providers and for each: whether a chat may begin.

Must not know requests, files, wires or HTTP.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args

from protocol.replies import Warn
from sidecar.core.errors import SidecarError
from sidecar.usage.amounts import PICO, format_plain, to_picousd
from sidecar.usage.ledger import Ledger, timestamp
from sidecar.usage.spending import Reservation

Window = Literal["day", "month"]

Budget = tuple[str, str | None]
"""(The day or the month, the provider or None for all of them)."""

REASONS: dict[Window, str] = {"day": "budget_day", "month": "budget_month"}
"""Window → the `reason` of a refusal."""

WARN_AT = Decimal("0.8")
"""The share of a budget from which a warning is due, unless the configuration has another."""

DAY_CHARS, MONTH_CHARS = len("2026-11-20"), len("2026-11")


class _Limit(NamedTuple):
    usd: Decimal
    window: Window
    provider: str | None
    """Whose spending counts; None: everybody's."""

    @property
    def name(self) -> str:
        return f"the {self.window}'s budget" + (f" for {self.provider}" if self.provider else "")

    @property
    def title(self) -> str:
        return f"{self.name[0].upper()}{self.name[1:]}"


class Admission(NamedTuple):
    """A chat that may begin."""

    warnings: list[Warn]
    """Due now, once each."""
    reservation: Reservation
    """To be released when the chat's cost is in the ledger, or it has ended without."""


async def admit(budgets: Mapping[str, Any], ledger: Ledger, provider: str, expected_usd: Decimal | None) -> Admission:
    """Admit a chat with *provider* and reserve its expected cost, None for an unknown one.

    *budgets* is the configuration's `[budgets]`.

    Raises: SidecarError `quota_exceeded` when a budget is used up, or would be by the chats in progress.
    """
    if not budgets:
        return Admission([], ledger.reserve(provider, 0))
    now = datetime.now(UTC)
    await ledger.refresh(timestamp(now)[:MONTH_CHARS] + "-01")
    # From here to the reservation nothing waits, so no other chat comes between.
    warn_at = budgets.get("warn_at", WARN_AT)
    due: dict[Budget, Warn] = {}
    for limit in _limits(budgets, provider):
        spent, budget = _check(ledger, limit, now)
        if spent >= limit.usd * warn_at and budget not in ledger.warned:
            due[budget] = _warning(limit, spent)
    # Only once all of them have let the request pass: a warning that a refusal hides is still due.
    ledger.warned.update(due)
    return Admission([*due.values()], ledger.reserve(provider, to_picousd(expected_usd) or 0 if expected_usd else 0))


def _limits(budgets: Mapping[str, Any], provider: str) -> Iterator[_Limit]:
    own = budgets.get("providers", {}).get(provider, {})
    for whose, table in ((None, budgets), (provider, own)):
        for window in get_args(Window):
            if (usd := table.get(f"{window}_usd")) is not None:
                yield _Limit(usd, window, whose)


def _check(ledger: Ledger, limit: _Limit, now: datetime) -> tuple[Decimal, Budget]:
    """Return what was spent of *limit*, in US dollars, and the budget that it is.

    Raises: SidecarError `quota_exceeded` when it is used up, or would be by the chats in progress.
    """
    days = timestamp(now)[: DAY_CHARS if limit.window == "day" else MONTH_CHARS]
    spent = Decimal(ledger.spent(days, limit.provider)) / PICO
    if spent >= limit.usd:
        raise SidecarError(
            "quota_exceeded",
            f"{limit.title}, {format_plain(limit.usd)} USD, is used up.",
            reason=REASONS[limit.window],
            retry_after_ms=int((_end(limit.window, now) - now).total_seconds() * 1000) + 1,
            hint=f"Raise it under [budgets] in the configuration, or wait for the next {limit.window}.",
        )
    reserved = Decimal(ledger.reserved(limit.provider)) / PICO
    if spent + reserved >= limit.usd:
        amounts = f"{_round(spent)} USD is spent, and chats in progress may cost {_round(reserved)} USD"
        raise SidecarError(
            "quota_exceeded",
            f"{limit.title}, {format_plain(limit.usd)} USD, has no room for another chat now: {amounts}.",
            retryable=True,
            reason=REASONS[limit.window],
            hint="Wait for a chat in progress to end, or raise the budget under [budgets] in the configuration.",
        )
    return spent, (days, limit.provider)


def _round(amount: Decimal) -> str:
    return format_plain(round(amount, 6))


def _warning(limit: _Limit, spent: Decimal) -> Warn:
    text = f"{_round(spent)} USD of {limit.name}, {format_plain(limit.usd)} USD, is used."
    return Warn(code="budget_nearly_used", message=text)


def _end(window: Window, now: datetime) -> datetime:
    """Return when the next day or month begins, in UTC."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "day":
        return midnight + timedelta(days=1)
    return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
