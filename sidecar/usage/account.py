"""One attempt's row in the ledger, and the budgets of the configuration that it draws on.

Knows requests and what they came to. Must not know files, wires or HTTP.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, get_args

import msgspec

from protocol.messages import Usage
from protocol.replies import Done, UsageGroup, UsageTable, Warn
from protocol.requests import UsageReport
from sidecar.catalogue import provider_rows
from sidecar.core.errors import SidecarError, invalid
from sidecar.generation.recovery import Plan
from sidecar.server.app import Host
from sidecar.server.open_requests import Entry
from sidecar.usage import cost
from sidecar.usage.ledger import MAX_PICOUSD, PICO, Row, timestamp

Window = Literal["day", "month"]

Budget = tuple[str, str | None]
"""The days, and whose."""

REASONS: dict[Window, str] = {"day": "budget_day", "month": "budget_month"}
"""Of a refusal."""

DAY_CHARS, MONTH_CHARS = len("2026-11-20"), len("2026-11")

# --- the ledger ------------------------------------------------------------------------------


class Note:
    """What is written of one attempt, once."""

    def __init__(self, host: Host, entry: Entry, plan: Plan) -> None:
        self._host = host
        self._entry = entry
        self._plan = plan
        self._began_ms = entry.elapsed_ms
        self._written = False
        # What an earlier attempt has used is in its own row.
        entry.progress.usage = entry.progress.cost = None

    def done(self, done: Done) -> None:
        """Write that the attempt ended well."""
        self._write("ok", None, done.finish_reason, done.usage, done.cost)

    def ended(self, outcome: Literal["failed", "cancelled"], code: str) -> None:
        """Write that it did not, unless it is written already."""
        self._write(outcome, code, None, self._entry.progress.usage, self._entry.progress.cost)

    def _write(
        self, outcome: str, code: str | None, finish: str | None, usage: Usage | None, price: dict[str, Any] | None
    ) -> None:
        if self._written:
            return
        self._written = True
        route, first_ms = self._plan.target.route, self._entry.progress.first_chunk_ms
        row = Row(
            at=timestamp(datetime.now(UTC)),
            kind=self._entry.envelope.action,
            provider=route.provider,
            model=route.model,
            outcome=outcome,
            code=code,
            finish_reason=finish,
            usage=usage,
            cost_picousd=picousd(price["usd"]) if price and price["usd"] is not None else None,
            latency_ms=self._entry.elapsed_ms - self._began_ms,
            first_chunk_ms=None if first_ms is None else max(0, first_ms - self._began_ms),
        )
        self._host.ledger.note(row)


@contextmanager
def noted(host: Host, entry: Entry, plan: Plan) -> Iterator[Note]:
    """Write one row for what is done meanwhile, however that ends."""
    note = Note(host, entry, plan)
    try:
        yield note
    except SidecarError as error:
        note.ended("failed", error.body.code)
        raise
    except BaseException as error:
        note.ended(*_ending(entry, error))
        raise


def _ending(entry: Entry, error: BaseException) -> tuple[Literal["failed", "cancelled"], str]:
    if isinstance(error, Exception):
        return "failed", "internal_error"
    if not entry.scope.cancel_called:
        return "cancelled", "shutting_down"
    return ("failed", "timeout") if entry.reason == "timeout" else ("cancelled", entry.reason)


def picousd(usd: str) -> int | None:
    """Return an amount in US dollars as whole millionths of a millionth of one, None for more than can be true."""
    amount = round(Decimal(usd) * PICO)
    return amount if 0 <= amount <= MAX_PICOUSD else None


def usd(picousd: int) -> str:
    """Return an amount as a decimal string in US dollars."""
    return cost.plain(Decimal(picousd) / PICO)


# --- the report ------------------------------------------------------------------------------


async def report(host: Host, params: UsageReport) -> UsageTable:
    """Return what the ledger has of the past, grouped as *params* say.

    Raises: SidecarError `invalid_request`, or `internal_error` when the file cannot be used.
    """
    since, until = _time(params.since, "params.since"), _time(params.until, "params.until")
    provider = params.provider and provider_rows.aliases().get(params.provider, params.provider)
    found = await host.ledger.report(params.by, since, until, provider)
    return UsageTable(
        rows=[_group(row, params.by) for row in found.rows],
        totals=_group(found.totals, ()),
        since=since,
        until=until,
        truncated=found.truncated,
    )


def _time(text: str | None, where: str) -> str | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return timestamp(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise invalid(f"`{where}` must be a date or a time in ISO 8601.", where) from None


def _group(row: dict[str, Any], by: Sequence[str]) -> UsageGroup:
    requests, succeeded = row["requests"], row.get("succeeded") or 0
    counts = {name: row.get(name) for name in UsageGroup.__struct_fields__ if name in row}
    counts |= {
        "group": {name: row[f"by_{name}"] for name in by},
        "succeeded": succeeded,
        "success_rate": round(succeeded / requests, 4) if requests else None,
        "unpriced": row.get("unpriced") or 0,
        "cost_usd": usd(row.get("cost_picousd") or 0),
    }
    return msgspec.convert(counts, UsageGroup)


# --- the budgets -----------------------------------------------------------------------------


async def check(host: Host, provider: str) -> list[Warn]:
    """Return what is to be said of the budgets that a request to *provider* draws on.

    Raises: SidecarError `quota_exceeded` when one of them is used up.
    """
    budgets = host.config.budgets
    if not budgets:
        return []
    now = datetime.now(UTC)
    today = timestamp(now)
    await host.ledger.read_again(today[:MONTH_CHARS] + "-01")
    due: dict[Budget, Warn] = {}
    own = budgets.get("providers", {}).get(provider, {})
    for scope, table in ((None, budgets), (provider, own)):
        for window in get_args(Window):
            limit = table.get(f"{window}_usd")
            if limit is not None:
                due |= _judge(host, limit, window, scope, now)
    # Not before all have let the request pass: what a refusal keeps from being told is still to be told.
    host.ledger.warned.update(due)
    for warning in due.values():
        host.warn(warning)
    return [*due.values()]


def _judge(host: Host, limit: Decimal, window: Window, provider: str | None, now: datetime) -> dict[Budget, Warn]:
    days = timestamp(now)[: DAY_CHARS if window == "day" else MONTH_CHARS]
    spent = Decimal(host.ledger.spent(days, provider)) / PICO
    of = f"the {window}'s budget" + (f" for {provider}" if provider else "")
    if spent >= limit:
        raise SidecarError(
            "quota_exceeded",
            f"{of[0].upper()}{of[1:]}, {cost.plain(limit)} USD, is used up.",
            reason=REASONS[window],
            retry_after_ms=int((_reset(window, now) - now).total_seconds() * 1000) + 1,
            hint="Raise it under [budgets] in the configuration, or wait for the next.",
        )
    key = (days, provider)
    if spent < limit * host.config.budgets.get("warn_at", WARN_AT) or key in host.ledger.warned:
        return {}
    text = f"Of {of}, {cost.plain(limit)} USD, {cost.plain(round(spent, 6))} USD is used."
    return {key: Warn(code="budget_nearly_used", message=text)}


WARN_AT = Decimal("0.8")


def _reset(window: Window, now: datetime) -> datetime:
    """Return when the next day or month begins, in UTC."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "day":
        return midnight + timedelta(days=1)
    return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
