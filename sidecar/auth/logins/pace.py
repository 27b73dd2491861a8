"""How often a login with a code may be asked for. [pure]

Sources: RFC 8628 section 3.5; what GitHub's clients have learnt, read 2026-11.
"""

import msgspec

SLOWER_BY_SECONDS = 5.0
"""What `slow_down` adds to the interval for good."""

MARGIN = 1.2
"""The wait is this many intervals: a server that counts from its own last answer takes less for too early, and answers
every poll that is too early with `slow_down`, whatever the user has done meanwhile."""

MAX_WAIT_SECONDS = 60.0
"""The longest wait after polls without an answer."""

MAX_FAILURES = 10
"""Two to the tenth is beyond every limit."""


class Pace(msgspec.Struct, frozen=True):
    """How often to poll. `failures` counts the polls without an answer since the last that had one."""

    interval_seconds: float
    failures: int = 0

    @property
    def wait_seconds(self) -> float:
        """How long to wait before the next poll."""
        wait: float = self.interval_seconds * 2**self.failures
        return min(wait, max(MAX_WAIT_SECONDS, self.interval_seconds)) * MARGIN

    def slow_down(self, told: object) -> "Pace":
        """Return the pace after `slow_down`, which may come with an interval of its own."""
        return Pace(max(self.interval_seconds + SLOWER_BY_SECONDS, read_seconds(told, 0.0)))

    def adapt(self, *, is_answered: bool) -> "Pace":
        """Return the pace after a poll."""
        return Pace(self.interval_seconds, 0 if is_answered else min(self.failures + 1, MAX_FAILURES))


def read_seconds(value: object, default: float) -> float:
    """Return *value* when it is a sensible number of seconds, else *default*."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 1e9 else default  # type: ignore[operator, arg-type]  # a number
