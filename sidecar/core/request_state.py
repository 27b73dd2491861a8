"""The state of an open request: its deadline, its cancellation and its progress.

All code that works for a request gets it. Must not know lines, actions or providers.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import anyio
import msgspec

from protocol.errors import ErrorBody, Phase, Resume
from protocol.messages import Message, Usage
from protocol.replies import Attempt
from protocol.tool_loop import ToolResult
from sidecar.core.errors import SidecarError

if TYPE_CHECKING:
    from decimal import Decimal  # A host that only pings should not pay for it.

TOTAL_MS = 600_000
"""How long a request may take, unless the request, its action or its model says otherwise."""

CancelReason = Literal["cancelled", "shutting_down", "superseded", "timeout"]


class Progress:
    """How far a request has come. An error line reports it."""

    __slots__ = (
        "attempts",
        "attempts_begun",
        "cost",
        "delivered",
        "deliveries",
        "first_chunk_ms",
        "model",
        "partial",
        "phase",
        "provider",
        "resume",
        "retry_at",
        "secrets",
        "usage",
        "waited_for_host",
    )

    def __init__(self) -> None:
        self.provider: str | None = None
        self.model: str | None = None
        self.phase: Phase | None = None
        """What the request is waiting for."""
        self.attempts: list[Attempt] = []
        """The attempts that have failed so far."""
        self.secrets: list[str] = []
        """The secrets in the headers of the last attempt. No error repeats them, and no `repr` shows them."""
        self.attempts_begun = 0
        """How many attempts have begun."""
        self.retry_at = 0.0
        """When the next attempt begins, on the monotonic clock."""
        self.delivered = False
        """Whether any content has gone to the lane."""
        self.deliveries: deque[tuple[int, int]] = deque()
        """Of an answer to many inputs: the `seq` of lines, and how many inputs are answered with each. Lines that are
        written are forgotten but for the last."""
        self.first_chunk_ms: int | None = None
        self.waited_for_host = False
        """Whether the provider ever had to wait because the host reads slowly."""
        self.usage: Usage | None = None
        self.cost: dict[str, Any] | None = None
        """The cost of `usage`."""
        self.partial: Message | None = None
        """The part of an interrupted answer that was received."""
        self.resume: Resume | None = None

    def note_delivery(self, seq: int, next_offset: int, written_seq: int | None) -> None:
        """Note that the line *seq* has gone to the lane, with which all inputs before *next_offset* are answered."""
        self.deliveries.append((seq, next_offset))
        while len(self.deliveries) > 1 and written_seq is not None and self.deliveries[1][0] <= written_seq:
            self.deliveries.popleft()

    def find_next_offset(self, last_seq: int | None) -> int | None:
        """Return how many inputs are answered by the lines up to *last_seq*, None for none."""
        ends = (end for seq, end in reversed(self.deliveries) if last_seq is not None and seq <= last_seq)
        return next(ends, None)


class ToolWait:
    """The calls whose results a request waits for, and the results so far."""

    __slots__ = ("calls", "ended", "has_stopped", "results")

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        self.results: dict[str, ToolResult] = {}
        self.has_stopped = False
        """Whether the host wants no further answer."""
        self.ended = anyio.Event()
        """Set when no result is missing, or none can come any more."""

    @property
    def missing(self) -> list[str]:
        """The calls without a result, in the model's order."""
        return [call for call in self.calls if call not in self.results]

    def take(self, results: Sequence[ToolResult], *, stop: bool) -> None:
        """Take *results* of the calls."""
        self.results |= {each.id: each for each in results}
        self.has_stopped = self.has_stopped or stop
        if self.has_stopped or not self.missing:
            self.ended.set()


class SharedBudget:
    """The budget of several answers together, in US dollars, and what they have cost so far."""

    __slots__ = ("param", "spent_usd", "usd")

    def __init__(self, usd: "Decimal", param: str) -> None:
        self.usd = usd
        self.param = param
        """The path of the field that sets it."""
        self.spent_usd = 0 * usd


class RequestState:
    """The state of one request, or of a part of it that has a deadline and a cancellation of its own."""

    __slots__ = (
        "action",
        "branches",
        "budget",
        "granted_from_ms",
        "input_ended",
        "kind",
        "limit_ms",
        "limited",
        "parent",
        "progress",
        "provider",
        "reason",
        "routed_model",
        "scope",
        "started",
        "task",
        "tool_wait",
    )

    def __init__(self, action: str, provider: str | None = None) -> None:
        self.action = action
        self.kind = "chat"
        """The kind of its attempts, of `sidecar.usage.kinds`."""
        self.parent: RequestState | None = None
        """The request of which it is a part. Its cancellation and deadline apply to the part too."""
        self.branches: dict[int, RequestState] = {}
        """The running parts that a host can cancel alone, by number."""
        self.budget: SharedBudget | None = None
        """The budget of all parts together."""
        self.provider = provider
        """The provider as the request names it."""
        self.routed_model: str | None = None
        """The model of a route that answered an earlier round of the request."""
        self.task: str | None = None
        """The task that the request names. The ledger tells tasks apart."""
        self.scope = anyio.CancelScope()
        self.reason: CancelReason = "timeout"
        """Why the scope was cancelled."""
        self.progress = Progress()
        self.started = time.monotonic()
        self.limit_ms: int | None = None
        """How long the request may take."""
        self.granted_from_ms = 0
        """When its granted time began, in milliseconds since its line was read."""
        self.tool_wait: ToolWait | None = None
        """The results that the request waits for; None: it waits for none."""
        self.input_ended = False
        """Whether the host can send nothing more."""
        self.limited = False
        """Whether the request itself set `limit_ms`."""

    def make_part(self, kind: str, provider: str | None = None) -> "RequestState":
        """Return the state of a part of the request, whose attempts are of that *kind*."""
        part = RequestState(self.action, provider)
        part.kind, part.parent, part.started, part.budget = kind, self, self.started, self.budget
        part.task, part.routed_model, part.granted_from_ms = self.task, self.routed_model, self.granted_from_ms
        if self.limited and self.limit_ms:
            part.limit(self.limit_ms)
        return part

    def cancel(self, reason: CancelReason) -> None:
        """Cancel the request's task. Its terminal line will give *reason*."""
        if not self.scope.cancel_called:
            self.reason = reason
            self.scope.cancel()

    def limit(self, ms: int) -> None:
        """End the request *ms* after its line was read, as the request itself says. The shortest limit applies."""
        self._end_after(min(ms, self.limit_ms) if self.limited and self.limit_ms else ms)
        self.limited = True
        if self.parent:
            self.parent.grant(ms)

    def grant(self, ms: int) -> None:
        """End the request *ms* after its line was read, unless it sets a limit itself. The longest grant applies."""
        if not self.limited:
            self._end_after(max(self.granted_from_ms + ms, self.limit_ms or 0))
        if self.parent:
            self.parent.grant(ms)

    def grant_anew(self) -> None:
        """Count granted time from now on: the request begins a part with time of its own."""
        self.granted_from_ms = self.elapsed_ms

    def end_input(self) -> None:
        """Note that the host can send nothing more."""
        self.input_ended = True
        if self.tool_wait:
            self.tool_wait.ended.set()

    def _end_after(self, ms: int) -> None:
        self.limit_ms = ms
        left = ms / 1000 - (time.monotonic() - self.started)
        self.scope.deadline = anyio.current_time() + left

    @property
    def ended_by(self) -> CancelReason | None:
        """Why the request, or the one of which it is a part, was cancelled; None: it was not."""
        if self.scope.cancel_called:
            return self.reason
        return self.parent.ended_by if self.parent else None

    @property
    def is_cancelled_by_host(self) -> bool:
        """Whether the host has cancelled the request."""
        return self.ended_by == "cancelled"

    @property
    def remaining_ms(self) -> float:
        """Milliseconds until the request's deadline; infinite without one."""
        own_ms = (self.scope.deadline - anyio.current_time()) * 1000
        return min(own_ms, self.parent.remaining_ms) if self.parent else own_ms

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the request's line was read."""
        return int((time.monotonic() - self.started) * 1000)


def complete_error(body: ErrorBody, state: RequestState) -> ErrorBody:
    """Return *body* with what is known of its request, or of the part of a request that failed."""
    progress = state.progress
    return msgspec.structs.replace(
        body,
        provider=body.provider or progress.provider,
        model=body.model or progress.model,
        attempts=progress.attempts_begun or None,
        usage=progress.usage,
        cost=progress.cost,
        elapsed_ms=state.elapsed_ms,
    )


def make_cancelled_error(state: RequestState) -> SidecarError:
    """Return the error of a request whose scope was cancelled, or the scope of the request of which it is a part."""
    reason = state.ended_by
    if reason == "timeout":
        limit_ms = state.limit_ms if state.scope.cancel_called or not state.parent else state.parent.limit_ms
        text = f"The request took longer than its limit of {limit_ms} ms."
        return SidecarError("timeout", text, phase=state.progress.phase or "total", reason="deadline")
    if reason == "cancelled":
        return SidecarError("cancelled", "The request was cancelled.")
    if reason == "superseded":
        return SidecarError("cancelled", "A newer completion has taken this slot.", reason="superseded")
    return SidecarError("shutting_down", "The sidecar is shutting down.")
