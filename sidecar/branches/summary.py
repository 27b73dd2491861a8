"""The sums of usage and cost over attempts. [pure]

A sum leaves out unknown counts. It leaves out unknown costs too, and says how many there are.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from protocol.compare import CostSum
from protocol.messages import Usage
from protocol.replies import Attempt
from sidecar.usage.amounts import format_plain
from sidecar.usage.cost import sum_usage


def sum_costs(costs: Iterable[dict[str, Any] | None]) -> CostSum:
    """Return the sum of `cost` objects; None stands for a refused attempt, which costs nothing."""
    amounts = [cost["usd"] for cost in costs if cost is not None]
    known = [Decimal(usd) for usd in amounts if usd is not None]
    usd = format_plain(sum(known, Decimal(0))) if known or not amounts else None
    return CostSum(usd=usd, unpriced=len(amounts) - len(known))


def count_attempts(attempts: Sequence[Attempt]) -> tuple[Usage | None, CostSum]:
    """Return what *attempts* have used and cost together."""
    return sum_usage(each.usage for each in attempts), sum_costs(each.cost for each in attempts)
