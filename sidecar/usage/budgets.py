"""Budgets for a day and for a month, of all providers and of each: whether a chat may begin.

Must not know requests, files, wires or HTTP.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args

from protocol.replies import Warn
from sidecar.core.errors import SidecarError
from sidecar.usage.amounts import MAX_PICOUSD, PICO, format_plain
from sidecar.usage.ledger import Ledger
from sidecar.usage.spending import Reservation
from sidecar.usage.times import format_time

Window = Literal["day", "month"]

Budget = tuple[str, str | None]
"""(The day or the month, the provider or None for all)."""

REASONS: dict[Window, str] = {"day": "budget_day", "month": "budget_month"}
"""Window → the `reason` of a refusal."""

WARN_AT = Decimal("0.8")
"""The share of a budget from which a warning is due, unless the configuration sets another."""

MOST_RESERVED_USD = Decimal(MAX_PICOUSD) / PICO
"""The most that one chat reserves."""

DAY_CHARS, MONTH_CHARS = len("2026-11-20"), len("2026-11")


class _Limit(NamedTuple):
    usd: Decimal
    window: Window
    provider: str | None
    """The provider whose spending counts; None: all."""

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
    """To be released once the chat's cost is in the ledger, or the chat has ended without a cost."""


async def admit(budgets: Mapping[str, Any], ledger: Ledger, provider: str, expected_usd: Decimal | None) -> Admission:
    """Admit a chat at *provider*, and reserve its expected cost; None is an unknown cost.

    *budgets* is the configuration's `[budgets]`.

    Raises: SidecarError `quota_exceeded` if a budget is used up, or would be used up by the chats in progress.
    """
    if not budgets:
        return Admission([], ledger.reserve(provider, 0))
    await refresh(ledger)
    now = datetime.now(UTC)
    # Nothing waits between here and the reservation, so no other chat can come between.
    warn_at = budgets.get("warn_at", WARN_AT)
    due: dict[Budget, Warn] = {}
    for limit in _list_limits(budgets, provider):
        spent, budget = _check(ledger, limit, now)
        if spent >= limit.usd * warn_at and budget not in ledger.warned:
            due[budget] = _make_warning(limit, spent)
    # Only once all budgets admit the chat: a warning that a refusal hides is still due.
    ledger.warned.update(due)
    reserved = min(expected_usd or Decimal(0), MOST_RESERVED_USD)
    return Admission([*due.values()], ledger.reserve(provider, int(reserved * PICO)))


async def refresh(ledger: Ledger) -> None:
    """Learn what other processes have spent."""
    await ledger.refresh(format_time(datetime.now(UTC))[:MONTH_CHARS] + "-01")


def has_room(budgets: Mapping[str, Any], ledger: Ledger, provider: str, now: datetime) -> bool:
    """Return whether the budgets have room for another chat at *provider*, as far as the ledger knows."""
    try:
        for limit in _list_limits(budgets, provider):
            _check(ledger, limit, now)
    except SidecarError:
        return False
    return True


def _list_limits(budgets: Mapping[str, Any], provider: str) -> Iterator[_Limit]:
    own = budgets.get("providers", {}).get(provider, {})
    for whose, table in ((None, budgets), (provider, own)):
        for window in get_args(Window):
            if (usd := table.get(f"{window}_usd")) is not None:
                yield _Limit(usd, window, whose)


def _check(ledger: Ledger, limit: _Limit, now: datetime) -> tuple[Decimal, Budget]:
    """Return the US dollars spent of *limit*, and the budget that it stands for.

    Raises: SidecarError `quota_exceeded` if it is used up, or would be used up by the chats in progress.
    """
    days = format_time(now)[: DAY_CHARS if limit.window == "day" else MONTH_CHARS]
    spent = Decimal(ledger.sum_spent(days, limit.provider)) / PICO
    if spent >= limit.usd:
        raise SidecarError(
            "quota_exceeded",
            f"{limit.title}, {format_plain(limit.usd)} USD, is used up.",
            reason=REASONS[limit.window],
            retry_after_ms=int((_find_end(limit.window, now) - now).total_seconds() * 1000) + 1,
            hint=f"Raise it under [budgets] in the configuration, or wait for the next {limit.window}.",
        )
    reserved = Decimal(ledger.sum_reserved(limit.provider)) / PICO
    if spent + reserved >= limit.usd:
        amounts = (
            f"{_format_rounded(spent)} USD is spent, and chats in progress may cost {_format_rounded(reserved)} USD"
        )
        raise SidecarError(
            "quota_exceeded",
            f"{limit.title}, {format_plain(limit.usd)} USD, has no room for another chat now: {amounts}.",
            retryable=True,
            reason=REASONS[limit.window],
            hint="Wait for a chat in progress to end, or raise the budget under [budgets] in the configuration.",
        )
    return spent, (days, limit.provider)


def _format_rounded(amount: Decimal) -> str:
    return format_plain(round(amount, 6))


def _make_warning(limit: _Limit, spent: Decimal) -> Warn:
    text = f"{_format_rounded(spent)} USD of {limit.name}, {format_plain(limit.usd)} USD, is spent."
    return Warn(code="budget_nearly_used", message=text)


def _find_end(window: Window, now: datetime) -> datetime:
    """Return when the next day or month begins, in UTC."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "day":
        return midnight + timedelta(days=1)
    return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
