"""Worker threads for long texts: only a few, so that threads are left for everything else."""

from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

T = TypeVar("T")

MAX_THREADS = 2
"""More would only take turns: the work holds the interpreter."""

_limiter: RunVar[CapacityLimiter] = RunVar("edit_threads")
"""One for each event loop."""


async def run_in_edit_thread(work: Callable[[], T]) -> T:
    """Return the result of *work*. A cancelled caller does not wait for it."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
