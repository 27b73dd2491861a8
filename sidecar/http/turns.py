"""Shares the turns of the event loop among streams that arrive faster than they can be read.

Without limits, one turn reads everything that has arrived for all streams, and a line of the host waits for several
such turns. Must not know connections.
"""

import asyncio
from collections import deque
from collections.abc import Callable

MAX_WOKEN = 64
"""How many readers are woken at once. Others wait until one of these has read: a thousand streams that end together
would take one turn of the loop together."""

TURN_BYTES = 32 * 1024
"""How much of large pieces is read in one turn of the loop. What is on top waits for the next."""


class Turns:
    """Whose reader is woken in this turn, and whose in a later one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._left_bytes = TURN_BYTES
        self._is_counting = False
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self.woken = 0
        """How many readers were woken and have not read yet."""
        self._late: deque[Callable[[], None]] = deque()

    def take(self, size_bytes: int, later: Callable[[], None]) -> bool:
        """Return whether so many bytes may be read now; else *later* is called when they may."""
        if not self._is_counting:
            self._is_counting = True
            self._loop.call_soon(self._begin)
        if self._waiting or self._left_bytes <= 0:
            self._waiting.append((size_bytes, later))
            return False
        self._left_bytes -= size_bytes
        return True

    def wake(self, later: Callable[[], None]) -> bool:
        """Return whether another reader may be woken now, until `rest`; else *later* is called when it may."""
        if self.woken >= MAX_WOKEN:
            self._late.append(later)
            return False
        self.woken += 1
        return True

    def rest(self) -> None:
        """Note that a reader which was woken has read, or has left."""
        self.woken -= 1
        while self._late and self.woken < MAX_WOKEN:
            self._late.popleft()()

    def _begin(self) -> None:
        """Begin another turn."""
        self._left_bytes = TURN_BYTES
        self._is_counting = bool(self._waiting)
        if self._is_counting:
            self._loop.call_soon(self._begin)
        while self._waiting and self._left_bytes > 0:
            size_bytes, later = self._waiting.popleft()
            self._left_bytes -= size_bytes
            later()
