"""One request while it is open: its deadline, its cancellation, how far it has come.

Knows nothing of lines, actions or providers; whoever works for a request is given its state.
"""

import time
from typing import Any, Literal

import anyio

from protocol.errors import Phase, Resume
from protocol.messages import Message, Usage
from protocol.replies import Attempt

TOTAL_MS = 600_000
"""The longest a request may take where neither it, its action nor its model says otherwise."""

CancelReason = Literal["cancelled", "shutting_down", "timeout"]


class Progress:
    """How far a chat has come: what its terminal line says if it does not end well."""

    __slots__ = (
        "attempts",
        "cost",
        "delivered",
        "first_chunk_ms",
        "held_up",
        "model",
        "partial",
        "phase",
        "provider",
        "resume",
        "retry_at",
        "secrets",
        "tries",
        "usage",
    )

    def __init__(self) -> None:
        self.provider: str | None = None
        self.model: str | None = None
        self.phase: Phase | None = None
        """What the request waits for."""
        self.attempts: list[Attempt] = []
        """The tries that have failed so far."""
        self.secrets: list[str] = []
        """What the last of them was authorized with: no error repeats it, and no `repr` shows it."""
        self.tries = 0
        """The tries begun."""
        self.retry_at = 0.0
        """When the next try comes after one that failed, on the monotonic clock."""
        self.delivered = False
        """Whether any content has gone to the lane."""
        self.first_chunk_ms: int | None = None
        self.held_up = False
        """Whether the provider has ever had to wait for a host that reads slowly."""
        self.usage: Usage | None = None
        self.cost: dict[str, Any] | None = None
        """What that usage has cost."""
        self.partial: Message | None = None
        """What had come of an answer that broke off."""
        self.resume: Resume | None = None


class RequestState:
    """What the work for one request shares."""

    __slots__ = ("action", "limit_ms", "limited", "progress", "provider", "reason", "scope", "started")

    def __init__(self, action: str, provider: str | None = None) -> None:
        self.action = action
        self.provider = provider
        """As the request names it."""
        self.scope = anyio.CancelScope()
        self.reason: CancelReason = "timeout"
        """Why the scope was cancelled."""
        self.progress = Progress()
        self.started = time.monotonic()
        self.limit_ms: int | None = None
        """The time that the request may take in all."""
        self.limited = False
        """Whether the request itself has set that limit."""

    def cancel(self, reason: CancelReason) -> None:
        """Cancel the request's task; its terminal line will give *reason*."""
        if not self.scope.cancel_called:
            self.reason = reason
            self.scope.cancel()

    def limit(self, ms: int) -> None:
        """End the request *ms* after its line was read, as it asks itself: the shortest limit counts."""
        self._end_after(min(ms, self.limit_ms) if self.limited and self.limit_ms else ms)
        self.limited = True

    def grant(self, ms: int) -> None:
        """End a request without a limit of its own *ms* after its line was read: the longest grant counts."""
        if not self.limited:
            self._end_after(max(ms, self.limit_ms or 0))

    def _end_after(self, ms: int) -> None:
        self.limit_ms = ms
        left = ms / 1000 - (time.monotonic() - self.started)
        self.scope.deadline = anyio.current_time() + left

    @property
    def is_cancelled_by_host(self) -> bool:
        """Whether the host has cancelled the request."""
        return self.scope.cancel_called and self.reason == "cancelled"

    @property
    def remaining_ms(self) -> float:
        """Milliseconds until the request's deadline; infinite without one."""
        return (self.scope.deadline - anyio.current_time()) * 1000

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the request's line was read."""
        return int((time.monotonic() - self.started) * 1000)
