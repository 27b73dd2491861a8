"""What was spent, and what chats in progress are expected to cost, here and in other processes. [pure]

All amounts are picodollars, millionths of a millionth of a US dollar. Must not know budgets or files.
"""

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

Sums = dict[tuple[str, str], int]
"""(day in UTC, provider) → amount."""


class Reserved(NamedTuple):
    """What one process reserves for its chats in progress."""

    process: str
    """A name that no other process has."""
    amounts: Mapping[str, int]
    """Provider → amount."""


class Reservation:
    """The expected cost of one chat in progress, which counts as spent until it is released."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """End the reservation. Releasing twice does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def __enter__(self) -> Self:
        """Hold the reservation."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release it."""
        self.release()


class Spending:
    """The sums of the ledger as this process knows them."""

    def __init__(self) -> None:
        self.sums: Sums = {}
        """Spent: as last read from the file, and what this process has written since."""
        self.reserved: dict[str, int] = {}
        """Provider → what this process reserves."""
        self.reserved_by_others: Mapping[str, int] = {}
        """Provider → what other processes reserve, as last read from the file."""

    def add(self, costs: Iterable[tuple[str, str, int]]) -> None:
        """Count *costs*: day, provider, amount."""
        for day, provider, amount in costs:
            self.sums[day, provider] = self.sums.get((day, provider), 0) + amount

    def sum_spent(self, days: str, provider: str | None) -> int:
        """Return what was spent on days that begin with *days*, at *provider* or, for None, at all."""
        found = self.sums.items()
        return sum(amount for (day, name), amount in found if day.startswith(days) and provider in (None, name))

    def sum_reserved(self, provider: str | None) -> int:
        """Return what all processes reserve, at *provider* or, for None, at all."""
        tables = (self.reserved, self.reserved_by_others)
        return sum(amount for table in tables for name, amount in table.items() if provider in (None, name))

    def reserve(self, provider: str, amount: int) -> None:
        """Add *amount* to what this process reserves; a negative one releases."""
        left = self.reserved.get(provider, 0) + amount
        self.reserved[provider] = left
        if not left:
            del self.reserved[provider]
