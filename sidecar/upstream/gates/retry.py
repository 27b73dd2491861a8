"""Whether and when to ask again: attempts, full jitter, what the provider asks for, a budget. [pure]

Knows the retry policy. Must not know HTTP or who waits. A retry happens only while no content
has reached the host; that is for the caller to know.
"""

import random

from protocol.errors import ErrorBody

MAX_ATTEMPTS = 3

THROTTLED_MS = (1000, 20_000)
TRANSIENT_MS = (500, 8000)
"""Scale and cap: the n-th wait, from 0, is anything up to scale × 2ⁿ, at most the cap."""

MAX_ASKED_MS = 60_000
"""A provider that asks for more than this is not waited for: the host decides."""

DEADLINE_MARGIN_MS = 1000

THROTTLED = frozenset({"rate_limited", "provider_overloaded"})
_TRANSIENT = frozenset({"provider_error", "network_error", "stream_interrupted"})
_PHASES = frozenset({"connect", "headers"})

_ATTEMPTS = {"bad_event": 2, "unexpected_content_type": 2, "protocol": 2, "content_encoding": 1, "event_too_large": 1}
"""Reason of a `provider_error` → attempts, where the next reply is likely to be no better."""


def is_transient(error: ErrorBody) -> bool:
    """Return whether asking again may help within seconds."""
    if not error.retryable:
        return False
    if error.code == "timeout":
        return error.phase in _PHASES
    # A refusal that usually is for good is asked again where the provider itself says so.
    return error.code in THROTTLED or error.code in _TRANSIENT or error.provider_status is not None


def wait_ms(error: ErrorBody, attempt: int, max_attempts: int, remaining_ms: float) -> int | None:
    """Return how long to wait before the next attempt, or None when there should be none.

    *attempt* is the number of the one that failed, from 1; *remaining_ms* what the request's deadline leaves.
    """
    if attempt >= min(max_attempts, _ATTEMPTS.get(error.reason or "", max_attempts)) or not is_transient(error):
        return None
    wait = _asked(error.retry_after_ms) if error.retry_after_ms else _own(error, attempt)
    if wait is None or wait + DEADLINE_MARGIN_MS > remaining_ms:
        return None
    return int(wait)


def _asked(asked_ms: int) -> float | None:
    """Return the provider's own time as a floor, with a little added so that not all come back at once."""
    if asked_ms > MAX_ASKED_MS:
        return None
    return asked_ms + random.uniform(0, min(1000, asked_ms / 4))  # noqa: S311 - jitter, no secret


def _own(error: ErrorBody, attempt: int) -> float:
    scale_ms, cap_ms = THROTTLED_MS if error.code in THROTTLED else TRANSIENT_MS
    return random.uniform(0, min(cap_ms, scale_ms * 2 ** (attempt - 1)))  # noqa: S311 - jitter, no secret


def paid_wait_ms(
    error: ErrorBody,
    attempt: int,
    max_attempts: int,
    remaining_ms: float,
    budget: "Budget",
    *,
    longest_ms: float = float("inf"),
) -> tuple[int | None, int]:
    """Return `wait_ms`, or None where that is over *longest_ms* or *budget* cannot pay for it, and what it has paid."""
    wait = wait_ms(error, attempt, max_attempts, remaining_ms)
    if wait is None or wait > longest_ms or (cost := budget.take(error)) is None:
        return None, 0
    return wait, cost


class Budget:
    """Retries that one provider and credential may still cost: an outage is not answered with a storm.

    As botocore's standard mode counts (`botocore/retries/quota.py` 1.44.5): a transient failure costs
    more than a throttled one, a success gives back what its retry cost, or one.
    """

    FULL = 500
    TRANSIENT_COST, THROTTLED_COST = 14, 5

    def __init__(self) -> None:
        self.left = self.FULL

    def take(self, error: ErrorBody) -> int | None:
        """Take what a retry after *error* costs and return it, or None when that is not left."""
        cost = self.THROTTLED_COST if error.code == "rate_limited" else self.TRANSIENT_COST
        if cost > self.left:
            return None
        self.left -= cost
        return cost

    def give_back(self, cost: int) -> None:
        """Return *cost* after a success, at least one."""
        self.left = min(self.FULL, self.left + max(1, cost))
