"""One attempt at a provider, and the row that it leaves in the ledger, however it ends.

Must not know budgets, files, wires or HTTP.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from protocol.messages import Usage
from sidecar.core.errors import SidecarError
from sidecar.core.request_state import RequestState
from sidecar.usage.amounts import to_picousd
from sidecar.usage.kinds import KINDS
from sidecar.usage.ledger import Ledger
from sidecar.usage.ledger_row import Row
from sidecar.usage.times import format_time


class Attempt:
    """One attempt, whose row is written once."""

    def __init__(self, ledger: Ledger | None, request: RequestState, kind: str, provider: str, model: str) -> None:
        self._ledger = ledger
        self._request = request
        self._kind = kind
        self._has_price = KINDS[kind].has_price
        self._provider = provider
        self._model = model
        self._began_ms = request.elapsed_ms
        self._saved_picousd: int | None = None
        self.is_written = False
        """Whether it has ended: what comes later is no part of it."""
        # The usage of an earlier attempt stands in a row of its own.
        request.progress.usage = request.progress.cost = None

    def succeed(
        self,
        finish_reason: str | None = None,
        usage: Usage | None = None,
        cost: dict[str, Any] | None = None,
        *,
        saved_usd: str | None = None,
    ) -> None:
        """Write the row of an attempt that has its answer; *saved_usd* is what a stored one has cost."""
        self._saved_picousd = None if saved_usd is None else to_picousd(saved_usd)
        self._write("ok", None, finish_reason, usage, cost)

    def fail(self, outcome: Literal["failed", "cancelled"], code: str) -> None:
        """Write the row of an attempt that has none, unless its row is written already."""
        progress = self._request.progress
        self._write(outcome, code, None, progress.usage, progress.cost)

    def _write(
        self,
        outcome: str,
        code: str | None,
        finish_reason: str | None,
        usage: Usage | None,
        cost: dict[str, Any] | None,
    ) -> None:
        if self.is_written or self._ledger is None:
            self.is_written = True
            return
        self.is_written = True
        first_ms = self._request.progress.first_chunk_ms
        row = Row(
            at=format_time(datetime.now(UTC)),
            action=self._request.action,
            kind=self._kind,
            provider=self._provider,
            model=self._model,
            outcome=outcome,
            code=code,
            finish_reason=finish_reason,
            usage=usage,
            cost_picousd=self._picousd(cost),
            latency_ms=self._request.elapsed_ms - self._began_ms,
            first_chunk_ms=None if first_ms is None else max(0, first_ms - self._began_ms),
            task=self._request.task,
            saved_picousd=self._saved_picousd,
        )
        self._ledger.add(row)

    def _picousd(self, cost: dict[str, Any] | None) -> int | None:
        if not self._has_price:
            return 0
        return to_picousd(cost["usd"]) if cost and cost["usd"] is not None else None


@contextmanager
def record(ledger: Ledger | None, request: RequestState, kind: str, provider: str, model: str) -> Iterator[Attempt]:
    """Write one row for the attempt made within, however it ends; *kind* is one of KINDS. Without *ledger*: no row."""
    attempt = Attempt(ledger, request, kind, provider, model)
    try:
        yield attempt
    except SidecarError as error:
        attempt.fail("failed", error.body.code)
        raise
    except BaseException as error:
        attempt.fail(*_classify(request, error))
        raise


def _classify(request: RequestState, error: BaseException) -> tuple[Literal["failed", "cancelled"], str]:
    """Return the outcome and the code of an attempt that *error* ended."""
    if isinstance(error, Exception):
        return "failed", "internal_error"
    reason = request.ended_by
    return ("failed", "timeout") if reason == "timeout" else ("cancelled", reason or "shutting_down")
