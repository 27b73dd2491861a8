"""The action `usage_report`: the ledger's rows, grouped and summed.

Must not know how the ledger is stored.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from protocol.replies import UsageGroup, UsageTable
from protocol.requests import UsageReport
from sidecar.catalogue import provider_rows
from sidecar.core.json_values import MAX_INTEGER
from sidecar.usage.amounts import to_usd
from sidecar.usage.ledger import Ledger
from sidecar.usage.times import format_time, parse_time


async def report(ledger: Ledger, params: UsageReport) -> UsageTable:
    """Return the attempts in *ledger*, grouped and filtered as *params* say.

    Raises: SidecarError `invalid_request`, or `internal_error` if the file cannot be used.
    """
    since, until = _read_time(params.since, "params.since"), _read_time(params.until, "params.until")
    provider = params.provider and provider_rows.read_aliases().get(params.provider, params.provider)
    found = await ledger.report(params.by, since, until, provider)
    return UsageTable(
        rows=[_group(row, params.by) for row in found.rows],
        totals=_group(found.totals, ()),
        since=_show_time(since),
        until=_show_time(until),
        truncated=found.truncated,
    )


def _read_time(text: str | None, param: str) -> str | None:
    return None if text is None else format_time(parse_time(text, param))


def _show_time(time: str | None) -> str | None:
    """Return a time of the ledger as all times of replies are written."""
    return time and time.replace("Z", "+00:00")


def _hold(sum_: int | None) -> int | None:
    """Return a sum that every language can hold, None for a larger one."""
    return sum_ if sum_ is None or sum_ <= MAX_INTEGER else None


def _group(row: dict[str, Any], by: Sequence[str]) -> UsageGroup:
    requests, succeeded = row["requests"], row.get("succeeded") or 0
    counts: dict[str, Any] = {name: _hold(row.get(name)) for name in UsageGroup.__struct_fields__ if name in row}
    counts |= {
        "group": {name: row[f"by_{name}"] for name in by},
        "succeeded": succeeded,
        "success_rate": round(succeeded / requests, 4) if requests else None,
        "unpriced": row.get("unpriced") or 0,
        "cost_usd": to_usd(row.get("cost_picousd") or 0),
    }
    if row.get("saved_picousd") is not None:
        counts["saved_usd"] = to_usd(row["saved_picousd"])
    return msgspec.convert(counts, UsageGroup)
