"""What the requests to a provider on behalf of one request of the host have used and cost together."""

from typing import Any

from protocol.messages import Usage
from protocol.replies import Warn
from sidecar.core.request_state import RequestState
from sidecar.upstream.documents import Charge
from sidecar.usage.cost import sum_costs, sum_usage


class Sums:
    """What all requests so far have used and cost. An error line reports it."""

    def __init__(self, state: RequestState) -> None:
        self._progress = state.progress
        self.batches = 0
        """How many were answered."""
        self.warnings: list[Warn] = []
        """About the user's budgets."""

    def add(self, charge: Charge) -> None:
        """Add the *charge* of a request that was answered, whatever the vectors are worth."""
        progress, (usage, cost) = self._progress, charge
        self.batches += 1
        progress.usage = sum_usage([progress.usage, usage])
        if cost is not None:
            progress.cost = cost if progress.cost is None else sum_costs([progress.cost, cost])

    @property
    def usage(self) -> Usage | None:
        """The sum of the tokens."""
        return self._progress.usage

    @property
    def cost(self) -> dict[str, Any] | None:
        """The sum of the costs."""
        return self._progress.cost
