"""Idle connections, and the limit of all connections. Every operation takes constant time.

Knows origins, and when a connection was idle for too long. Must not know how one is opened or used.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from sidecar.http.connection import Connection

IDLE_CONNECTIONS = 128
IDLE_SECONDS = 45.0
"""How long a connection may wait, the machine's sleep included: what lies on its way forgets it, and tells nobody."""

Origin = tuple[str, str, int]
"""Scheme, host and port."""


class Pool:
    """All connections of the process. `acquire` one or the right to make one; `put_back` or `lose` it."""

    def __init__(self, most: int | None, is_readable: Callable[[int], bool], clock: Callable[[], float]) -> None:
        """Have at most *most* connections; what comes on top waits.

        *is_readable* asks the system about a socket. *clock* gives seconds, and goes on while the machine sleeps.
        """
        self._most = most
        self._is_readable = is_readable
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._open = 0
        """Those that there are, and those that are being made."""
        self._idle: dict[Connection, tuple[Origin, float]] = {}
        """Origin and since when, the one that has waited longest first."""
        self._of: dict[Origin, dict[Connection, None]] = {}
        """The same by origin: the one that was used last is used next."""
        self._waiting: deque[tuple[Origin, asyncio.Future[Connection | None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self, origin: Origin) -> Connection | None:
        """Return an idle connection to *origin*, or None for the right to make one, waiting until there is either."""
        if (found := self._take(origin)) is not None:
            return found
        if self._most is None or self._open < self._most:
            self._open += 1
            return None
        if self._idle:
            self._close(next(iter(self._idle)))
        turn: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiting.append((origin, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._return(origin, turn.result())
            raise

    def has_idle(self, origin: Origin) -> bool:
        """Return whether a connection to *origin* is idle, as far as is known."""
        return origin in self._of

    def reserve_spare(self, origin: Origin) -> bool:
        """Return the right to make a connection to *origin* that nobody waits for; there is none if one is idle."""
        if self.has_idle(origin) or self._waiting or (self._most is not None and self._open >= self._most):
            return False
        self._open += 1
        return True

    def lose(self) -> None:
        """Note that a connection is closed, or that none came of the right to make it."""
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._open -= 1

    def put_back(self, origin: Origin, connection: Connection) -> None:
        """Keep *connection* to *origin* for the next that wants it."""
        while self._waiting:
            wanted, turn = self._waiting.popleft()
            if turn.done():
                continue
            if wanted == origin:
                turn.set_result(connection)
            else:
                # The waiter gets its place, which is free when the socket is closed.
                self._waiting.appendleft((wanted, turn))
                connection.abort()
            return
        self._idle[connection] = origin, self._clock()
        self._of.setdefault(origin, {})[connection] = None
        if len(self._idle) > IDLE_CONNECTIONS:
            self._close(next(iter(self._idle)))
        elif self._timer is None:
            self._timer = self._loop.call_later(IDLE_SECONDS, self._expire)

    def forget(self, connection: Connection) -> None:
        """Do not give *connection* to anybody, if it is idle: it is closed."""
        entry = self._idle.pop(connection, None)
        if entry is not None:
            of_origin = self._of[entry[0]]
            del of_origin[connection]
            if not of_origin:
                del self._of[entry[0]]

    def close(self) -> None:
        """Close every idle connection."""
        for connection in [*self._idle]:
            self._close(connection)
        if self._timer is not None:
            self._timer.cancel()

    def _take(self, origin: Origin) -> Connection | None:
        # The loop's timer does not know for how long the machine has slept.
        self._close_old()
        while of_origin := self._of.get(origin):
            connection = next(reversed(of_origin))
            self.forget(connection)
            if not connection.closed and not connection.has_data(self._is_readable):
                return connection
            connection.abort()
        return None

    def _return(self, origin: Origin, given: Connection | None) -> None:
        if given is None:
            self.lose()
        else:
            self.put_back(origin, given)

    def _close(self, connection: Connection) -> None:
        self.forget(connection)
        connection.abort()

    def _expire(self) -> None:
        self._timer = None
        left_seconds = self._close_old()
        if left_seconds is not None:
            self._timer = self._loop.call_later(left_seconds, self._expire)

    def _close_old(self) -> float | None:
        """Close connections that were idle too long. Return the seconds until the next one is; None: there are none."""
        now = self._clock()
        while self._idle:
            connection, (_, since) = next(iter(self._idle.items()))
            if now < since + IDLE_SECONDS:
                return since + IDLE_SECONDS - now
            self._close(connection)
        return None
