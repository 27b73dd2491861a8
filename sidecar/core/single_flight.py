"""Work that several requests share, run once for all of them.

Knows that a request which is cancelled leaves the others what it began. Must not know what
is done.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio

from sidecar.core.errors import SidecarError

if TYPE_CHECKING:
    from anyio.abc import TaskGroup


class Flight:
    """One run, in a task of its own."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        """What it has told those who wait, so far."""
        self.landed = False
        self.result: Any = None
        self.error: Exception | None = None
        self.scope = anyio.CancelScope()
        self.waiting = 0
        self._changed = anyio.Event()

    def say(self, word: object) -> None:
        """Tell *word* to those who wait."""
        self.said.append(word)
        self._wake()

    def land(self) -> None:
        """Have come to the end."""
        self.landed = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def news(self) -> None:
        """Wait until something is said, or the flight has landed."""
        if not self.landed:
            await self._changed.wait()

    async def outcome(self) -> Any:
        """Return what the run has returned, or raise what it has raised."""
        while not self.landed:
            await self.news()
        if isinstance(self.error, SidecarError):
            # Each request gets a failure of its own: what is known of it is filled in.
            raise self.error.with_()
        if self.error is not None:
            raise self.error
        return self.result


Run = Callable[[Flight], Awaitable[Any]]


class Flights:
    """The runs that are under way, by what they are for."""

    def __init__(self, tasks: "TaskGroup") -> None:
        self._tasks = tasks
        self._open: dict[Hashable, Flight] = {}

    @contextmanager
    def joined(self, key: Hashable, run: Run, *, lasting: bool = True) -> Iterator[Flight]:
        """Give the flight *key*, which is begun if there is none.

        It goes on when whoever began it has left. One that is not *lasting* ends with the last who waits for it.
        """
        flight = self._open.get(key)
        if flight is None:
            flight = self._open[key] = Flight()
            self._tasks.start_soon(self._fly, key, flight, run)
        flight.waiting += 1
        try:
            yield flight
        finally:
            flight.waiting -= 1
            if not lasting and not flight.waiting:
                self._close(key, flight)
                flight.scope.cancel()

    async def share(self, key: Hashable, run: Run) -> Any:
        """Return what *run* returns, be it run for this request or for another with that *key*."""
        with self.joined(key, run) as flight:
            return await flight.outcome()

    async def alone(self, run: Run) -> Any:
        """Return what *run* returns; whoever is cancelled while waiting leaves it running."""
        return await self.share(object(), run)

    async def _fly(self, key: Hashable, flight: Flight, run: Run) -> None:
        with flight.scope:
            try:
                flight.result = await run(flight)
            except Exception as error:  # noqa: BLE001 - those who wait get it; here it would end the process
                flight.error = error
        self._close(key, flight)
        flight.land()

    def _close(self, key: Hashable, flight: Flight) -> None:
        if self._open.get(key) is flight:
            del self._open[key]
