"""The action `usage_report`: the ledger's rows, grouped and summed.

Must not know how the ledger is stored.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from protocol.replies import UsageGroup, UsageTable
from protocol.requests import UsageReport
from sidecar.catalogue import provider_rows
from sidecar.core.errors import invalid
from sidecar.usage.amounts import to_usd
from sidecar.usage.ledger import Ledger, timestamp


async def report(ledger: Ledger, params: UsageReport) -> UsageTable:
    """Return the attempts in *ledger*, grouped and limited as *params* say.

    Raises: SidecarError `invalid_request`, or `internal_error` when the file cannot be used.
    """
    since, until = _parse_time(params.since, "params.since"), _parse_time(params.until, "params.until")
    provider = params.provider and provider_rows.read_aliases().get(params.provider, params.provider)
    found = await ledger.report(params.by, since, until, provider)
    return UsageTable(
        rows=[_group(row, params.by) for row in found.rows],
        totals=_group(found.totals, ()),
        since=since,
        until=until,
        truncated=found.truncated,
    )


def _parse_time(text: str | None, param: str) -> str | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return timestamp(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise invalid(f"`{param}` must be a date or a time in ISO 8601.", param) from None


def _group(row: dict[str, Any], by: Sequence[str]) -> UsageGroup:
    requests, succeeded = row["requests"], row.get("succeeded") or 0
    counts = {name: row.get(name) for name in UsageGroup.__struct_fields__ if name in row}
    counts |= {
        "group": {name: row[f"by_{name}"] for name in by},
        "succeeded": succeeded,
        "success_rate": round(succeeded / requests, 4) if requests else None,
        "unpriced": row.get("unpriced") or 0,
        "cost_usd": to_usd(row.get("cost_picousd") or 0),
    }
    return msgspec.convert(counts, UsageGroup)
