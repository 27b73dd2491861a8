"""Memory that is held back, so that the process can say that there is none left, and go on.

Must not know who is short of it.
"""

RESERVE_BYTES = 2 * 1024 * 1024
"""Enough for error lines and for a thread's buffers. Nothing is ever written to it: the system lends the addresses
alone, and the process is no larger."""


class MemoryReserve:
    """`release` when memory has run out, in any thread, and `refill` now and then."""

    def __init__(self) -> None:
        self._held = bytes(RESERVE_BYTES)

    def release(self) -> None:
        """Give the memory back to whoever needs it next."""
        self._held = b""

    def refill(self) -> None:
        """Hold it back again, if there is that much."""
        if not self._held:
            try:
                self._held = bytes(RESERVE_BYTES)
            except MemoryError:
                return

    @property
    def is_held(self) -> bool:
        """Whether there is a reserve at this moment."""
        return bool(self._held)
