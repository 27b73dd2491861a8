"""The budgets of a day and of a month, for all providers and for each: whether a chat may begin.

Must not know requests, files, wires or HTTP.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args

from protocol.replies import Warn
from sidecar.core.errors import SidecarError
from sidecar.usage.amounts import PICO, format_plain
from sidecar.usage.ledger import Ledger, timestamp

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


async def check(budgets: Mapping[str, Any], ledger: Ledger, provider: str) -> list[Warn]:
    """Return the warnings that are due, once each, for the budgets that a request to *provider* draws on.

    *budgets* is the configuration's `[budgets]`.

    Raises: SidecarError `quota_exceeded` when one of them is used up.
    """
    if not budgets:
        return []
    now = datetime.now(UTC)
    await ledger.refresh(timestamp(now)[:MONTH_CHARS] + "-01")
    warn_at = budgets.get("warn_at", WARN_AT)
    due: dict[Budget, Warn] = {}
    for limit in _limits(budgets, provider):
        spent, budget = _check(ledger, limit, now)
        if spent >= limit.usd * warn_at and budget not in ledger.warned:
            due[budget] = _warning(limit, spent)
    # Only once all of them have let the request pass: a warning that a refusal hides is still due.
    ledger.warned.update(due)
    return [*due.values()]


def _limits(budgets: Mapping[str, Any], provider: str) -> Iterator[_Limit]:
    own = budgets.get("providers", {}).get(provider, {})
    for whose, table in ((None, budgets), (provider, own)):
        for window in get_args(Window):
            if (usd := table.get(f"{window}_usd")) is not None:
                yield _Limit(usd, window, whose)


def _check(ledger: Ledger, limit: _Limit, now: datetime) -> tuple[Decimal, Budget]:
    """Return what was spent of *limit*, in US dollars, and the budget that it is.

    Raises: SidecarError `quota_exceeded` when it is used up.
    """
    days = timestamp(now)[: DAY_CHARS if limit.window == "day" else MONTH_CHARS]
    spent = Decimal(ledger.spent(days, limit.provider)) / PICO
    if spent >= limit.usd:
        raise SidecarError(
            "quota_exceeded",
            f"{limit.name[0].upper()}{limit.name[1:]}, {format_plain(limit.usd)} USD, is used up.",
            reason=REASONS[limit.window],
            retry_after_ms=int((_end(limit.window, now) - now).total_seconds() * 1000) + 1,
            hint=f"Raise it under [budgets] in the configuration, or wait for the next {limit.window}.",
        )
    return spent, (days, limit.provider)


def _warning(limit: _Limit, spent: Decimal) -> Warn:
    text = f"{format_plain(round(spent, 6))} USD of {limit.name}, {format_plain(limit.usd)} USD, is used."
    return Warn(code="budget_nearly_used", message=text)


def _end(window: Window, now: datetime) -> datetime:
    """Return when the next day or month begins, in UTC."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "day":
        return midnight + timedelta(days=1)
    return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
