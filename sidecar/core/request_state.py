"""The state of an open request: its deadline, its cancellation and its progress.

Everything that works for a request gets it. Knows nothing of lines, actions or providers.
"""

import time
from typing import Any, Literal

import anyio

from protocol.errors import Phase, Resume
from protocol.messages import Message, Usage
from protocol.replies import Attempt

TOTAL_MS = 600_000
"""How long a request may take, unless the request, its action or its model says otherwise."""

CancelReason = Literal["cancelled", "shutting_down", "timeout"]


class Progress:
    """How far a request has come. An error line reports it."""

    __slots__ = (
        "attempts",
        "attempts_begun",
        "cost",
        "delivered",
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
        """How many attempts were begun."""
        self.retry_at = 0.0
        """When the next attempt begins, on the monotonic clock."""
        self.delivered = False
        """Whether any content has gone to the lane."""
        self.first_chunk_ms: int | None = None
        self.waited_for_host = False
        """Whether the provider ever had to wait because the host reads slowly."""
        self.usage: Usage | None = None
        self.cost: dict[str, Any] | None = None
        """The cost of `usage`."""
        self.partial: Message | None = None
        """The part of an interrupted answer that was received."""
        self.resume: Resume | None = None


class RequestState:
    """The state of one request."""

    __slots__ = ("action", "limit_ms", "limited", "progress", "provider", "reason", "scope", "started")

    def __init__(self, action: str, provider: str | None = None) -> None:
        self.action = action
        self.provider = provider
        """The provider as the request names it."""
        self.scope = anyio.CancelScope()
        self.reason: CancelReason = "timeout"
        """Why the scope was cancelled."""
        self.progress = Progress()
        self.started = time.monotonic()
        self.limit_ms: int | None = None
        """How long the request may take."""
        self.limited = False
        """Whether the request itself set `limit_ms`."""

    def cancel(self, reason: CancelReason) -> None:
        """Cancel the request's task. Its terminal line will give *reason*."""
        if not self.scope.cancel_called:
            self.reason = reason
            self.scope.cancel()

    def limit(self, ms: int) -> None:
        """End the request *ms* after its line was read, as the request itself says. The shortest limit applies."""
        self._end_after(min(ms, self.limit_ms) if self.limited and self.limit_ms else ms)
        self.limited = True

    def grant(self, ms: int) -> None:
        """End the request *ms* after its line was read, unless it sets a limit itself. The longest grant applies."""
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
