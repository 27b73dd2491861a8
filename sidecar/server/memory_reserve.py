"""A reserve of memory, so that the process can report a shortage and continue.

Must not know who needs memory.
"""

RESERVE_BYTES = 2 * 1024 * 1024
"""Enough for error lines and for a thread's buffers. Nothing is ever written to it, so it takes addresses but
no pages of memory."""


class MemoryReserve:
    """Call `release` when memory has run out, in any thread, and `refill` from time to time."""

    def __init__(self) -> None:
        self._held = bytes(RESERVE_BYTES)

    def release(self) -> None:
        """Free the reserve."""
        self._held = b""

    def refill(self) -> None:
        """Take the reserve again, if there is enough memory."""
        if not self._held:
            try:
                self._held = bytes(RESERVE_BYTES)
            except MemoryError:
                return

    @property
    def is_held(self) -> bool:
        """Whether there is a reserve now."""
        return bool(self._held)
