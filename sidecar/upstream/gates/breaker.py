"""The circuit breaker of a gate: whether its provider has been failing, and when one request may try it again. [pure]

Must not know gates, requests or clocks: every `now` is the caller's, in seconds of one monotonic clock.
"""

from typing import Literal

BreakerState = Literal["closed", "open", "half_open"]
"""`closed`: the provider answers. `open`: it has been failing, and requests with a fallback go there. `half_open`: one
of them may try it again."""

MAX_FAILURES = 5
"""How many failures in a row open the breaker."""

OPEN_SECONDS = 30.0
"""How long the breaker stays open before one request may try."""


class Breaker:
    """Counts the failures of one provider in a row."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0

    def count_failure(self, now: float) -> None:
        """Count an outage."""
        self._failures += 1
        if self._failures == MAX_FAILURES:
            self._open_until = now + OPEN_SECONDS

    def reset(self) -> None:
        """Close the breaker: the provider has answered."""
        self._failures = 0

    def should_avoid(self, now: float) -> bool:
        """Return whether a request that has a fallback should go there.

        The first caller of a half-open breaker gets False, and the breaker stays open for the others until the result
        of that request is known.
        """
        state = self.get_state(now)
        if state == "half_open":
            self._open_until = now + OPEN_SECONDS
        return state == "open"

    def get_state(self, now: float) -> BreakerState:
        """Return the state."""
        if self._failures < MAX_FAILURES:
            return "closed"
        return "open" if now < self._open_until else "half_open"
