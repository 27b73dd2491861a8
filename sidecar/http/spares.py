"""Spare connections: one to each server whose requests may be left at any moment, made while nobody waits for it.

Over HTTP/1.1 a request that is left costs its connection. Must not know how a connection is made.
"""

import asyncio
from collections.abc import Awaitable, Callable

from sidecar.core.errors import SidecarError
from sidecar.http.connection import Connection
from sidecar.http.pool import Origin, Pool

MOST = 8
"""How many are made at once."""


class Spares:
    """The spare connections that are being made. Those that are made lie idle in the pool, which drops them in time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._made: dict[Origin, asyncio.Task[SidecarError | None]] = {}

    def dial(self, origin: Origin, connect: Callable[[], Awaitable[Connection]]) -> None:
        """Make a connection to *origin* with *connect*, unless one is idle, or is being made, or there is no room."""
        if origin in self._made or len(self._made) >= MOST or not self._pool.reserve_spare(origin):
            return
        task = asyncio.get_running_loop().create_task(self._make(origin, connect))
        self._made[origin] = task
        task.add_done_callback(lambda _: self._made.pop(origin, None))

    async def wait(self, origin: Origin) -> None:
        """Wait for the connection to *origin* that is being made, if there is one.

        Raises: SidecarError if it cannot be made.
        """
        task = self._made.get(origin)
        if task is None:
            return
        await asyncio.wait([task])
        if not task.cancelled() and (failure := task.result()) is not None:
            raise failure.with_fields()

    def close(self) -> None:
        """Make no more of them."""
        for task in self._made.values():
            task.cancel()

    async def _make(self, origin: Origin, connect: Callable[[], Awaitable[Connection]]) -> SidecarError | None:
        """Make a connection to *origin*, and return why it cannot be made; perhaps nobody waits for it."""
        try:
            connection = await connect()
        except SidecarError as error:
            return error
        if not connection.closed:
            self._pool.put_back(origin, connection)
        return None
