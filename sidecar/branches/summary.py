"""What became of branches, as rows and sums. [pure]

An unknown count is left out of a sum and an unknown cost is counted beside it: neither is ever 0.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from protocol.compare import CostSum
from protocol.messages import Usage
from protocol.replies import Attempt
from sidecar.usage.amounts import format_plain

COUNTS = tuple(name for name in Usage.__struct_fields__ if name.endswith("_tokens"))


def sum_usage(usages: Iterable[Usage | None]) -> Usage | None:
    """Return the sums of the counts that were reported, None if nothing was."""
    known = [usage for usage in usages if usage is not None]
    if not known:
        return None
    sums: dict[str, Any] = {"estimated": True} if any(usage.estimated is True for usage in known) else {}
    for name in COUNTS:
        counts = [count for usage in known if (count := getattr(usage, name)) is not None]
        sums[name] = sum(counts) if counts else None
    return Usage(**sums)


def sum_costs(costs: Iterable[dict[str, Any] | None]) -> CostSum:
    """Return the sum of `cost` objects; None is an attempt that was refused, which costs nothing."""
    amounts = [cost["usd"] for cost in costs if cost is not None]
    known = [Decimal(usd) for usd in amounts if usd is not None]
    usd = format_plain(sum(known, Decimal(0))) if known or not amounts else None
    return CostSum(usd=usd, unpriced=len(amounts) - len(known))


def count_attempts(attempts: Sequence[Attempt]) -> tuple[Usage | None, CostSum]:
    """Return what *attempts* have used and cost together."""
    return sum_usage(each.usage for each in attempts), sum_costs(each.cost for each in attempts)
