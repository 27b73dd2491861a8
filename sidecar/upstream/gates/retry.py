"""Whether and when to ask again: attempts, full jitter, the provider's Retry-After, a budget. [pure]

Must not know HTTP, or who waits. The caller sees to it that nothing is asked again once content was delivered.
"""

from typing import NamedTuple

from protocol.errors import ErrorBody

MAX_ATTEMPTS = 3

THROTTLED_MS = (1000, 20_000)
TRANSIENT_MS = (500, 8000)
"""Scale and cap. The n-th wait, counted from 0, is random: up to scale × 2ⁿ, at most the cap."""

MAX_RETRY_AFTER_MS = 60_000
"""A longer Retry-After is not waited for: the host decides."""

DEADLINE_MARGIN_MS = 1000

THROTTLED_CODES = frozenset({"rate_limited", "provider_overloaded"})
_TRANSIENT_CODES = frozenset({"provider_error", "network_error", "stream_interrupted"})
_TRANSIENT_PHASES = frozenset({"connect", "headers"})

_MAX_ATTEMPTS_BY_REASON = {
    "bad_event": 2,
    "unexpected_content_type": 2,
    "protocol": 2,
}
"""For reasons of a `provider_error` after which the next reply is unlikely to be better."""


class RetryBudget:
    """How many retries one provider and credential may still cost, so that an outage is not answered with a storm.

    As botocore's standard mode counts (`botocore/retries/quota.py` 1.44.5): a transient failure costs more than a
    throttled one, and a success gives back the cost of its retry, or one.
    """

    FULL = 500
    TRANSIENT_COST, THROTTLED_COST = 14, 5

    def __init__(self) -> None:
        self.left = self.FULL

    def take(self, error: ErrorBody) -> int | None:
        """Take the cost of a retry after *error* and return it; None when too little is left."""
        cost = self.THROTTLED_COST if error.code == "rate_limited" else self.TRANSIENT_COST
        if cost > self.left:
            return None
        self.left -= cost
        return cost

    def give_back(self, cost: int) -> None:
        """Return *cost* after a success, at least one."""
        self.left = min(self.FULL, self.left + max(1, cost))


class Retry(NamedTuple):
    """One more attempt."""

    wait_ms: int
    cost: int
    """What it took from the budget."""


def plan_retry(
    error: ErrorBody,
    attempt: int,
    max_attempts: int,
    remaining_ms: float,
    budget: RetryBudget,
    *,
    max_wait_ms: float = float("inf"),
) -> Retry | None:
    """Return the attempt after *error*, paid for by *budget*, or None when there should be none.

    *max_wait_ms* is the longest wait that the caller accepts; for the other arguments see `choose_wait_ms`.
    """
    wait_ms = choose_wait_ms(error, attempt, max_attempts, remaining_ms)
    if wait_ms is None or wait_ms > max_wait_ms or (cost := budget.take(error)) is None:
        return None
    return Retry(wait_ms, cost)


def choose_wait_ms(error: ErrorBody, attempt: int, max_attempts: int, remaining_ms: float) -> int | None:
    """Return how long to wait before the next attempt, or None when there should be none.

    *attempt* is the number of the one that failed, from 1. *remaining_ms* is the time until the request's deadline.
    """
    max_attempts = min(max_attempts, _MAX_ATTEMPTS_BY_REASON.get(error.reason or "", max_attempts))
    if attempt >= max_attempts or not is_transient(error):
        return None
    wait_ms = _follow_retry_after(error.retry_after_ms) if error.retry_after_ms else _draw_wait_ms(error, attempt)
    if wait_ms is None or wait_ms + DEADLINE_MARGIN_MS > remaining_ms:
        return None
    return int(wait_ms)


def is_transient(error: ErrorBody) -> bool:
    """Return whether asking again may help within seconds."""
    if not error.retryable:
        return False
    if error.code == "timeout":
        return error.phase in _TRANSIENT_PHASES
    # Other refusals are final, unless the provider itself says that they may be retried.
    return error.code in THROTTLED_CODES or error.code in _TRANSIENT_CODES or error.provider_status is not None


def _follow_retry_after(retry_after_ms: int) -> float | None:
    """Return the provider's own time, with a little added so that not everybody comes back at once."""
    if retry_after_ms > MAX_RETRY_AFTER_MS:
        return None
    return retry_after_ms + _draw(0, min(1000, retry_after_ms / 4))


def _draw_wait_ms(error: ErrorBody, attempt: int) -> float:
    scale_ms, cap_ms = THROTTLED_MS if error.code in THROTTLED_CODES else TRANSIENT_MS
    return _draw(0, min(cap_ms, scale_ms * 2 ** (attempt - 1)))


def _draw(least: float, most: float) -> float:
    import random  # Only a failure needs it.

    return random.uniform(least, most)  # noqa: S311 - jitter, no secret
