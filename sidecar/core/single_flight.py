"""Single flight: work that several requests need at the same time runs once, and each gets its result.

Knows that a cancelled request leaves the work running for the others. Must not know what the work is.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

import anyio

from sidecar.core import event_loop
from sidecar.core.errors import SidecarError
from sidecar.core.event_loop import TaskStarter

T = TypeVar("T")

WOKEN_TOGETHER = 32
"""How many of those who wait go on in one turn of the loop: each has a line to write, which may be long."""


class SharedTask(Generic[T]):
    """One run of shared work, in a task of its own."""

    def __init__(self) -> None:
        self.updates: list[Any] = []
        """What the work has reported so far."""
        self.done = False
        self.scope = anyio.CancelScope()
        self.waiters = 0
        self._result: T
        self._error: Exception | None = None
        self._origin: TracebackType | None = None
        """Where the error was raised."""
        self._groups: list[anyio.Event] = []
        """What those who wait are woken by, the first ones first."""
        self._group_size = 0
        """How many wait for the last of them."""

    def report(self, update: object) -> None:
        """Add *update* to `updates` and wake those who wait for one."""
        self.updates.append(update)
        self._wake()

    async def wait_for_update(self) -> None:
        """Wait until the work reports something or ends."""
        if self.done:
            return
        if not self._groups or self._group_size == WOKEN_TOGETHER:
            self._groups.append(anyio.Event())
            self._group_size = 0
        self._group_size += 1
        await self._groups[-1].wait()

    async def wait(self) -> T:
        """Wait until the work ends, then return its result or raise its exception."""
        while not self.done:
            await self.wait_for_update()
        if isinstance(self._error, SidecarError):
            # Each request fills in fields of its own, so each gets a copy.
            raise self._error.with_fields()
        if self._error is not None:
            # Otherwise it would gather the steps of all who raise it.
            raise self._error.with_traceback(self._origin)
        return self._result

    async def run(self, work: "Callable[[SharedTask[T]], Awaitable[T]]") -> None:
        """Run *work* and keep its result or its exception for those who wait."""
        with self.scope:
            try:
                self._result = await work(self)
            except Exception as error:  # noqa: BLE001 - each waiter raises it; here it would end the process
                self._error, self._origin = error, error.__traceback__

    def finish(self) -> None:
        """Wake everyone: the work has ended."""
        self.done = True
        self._wake()

    def _wake(self) -> None:
        groups, self._groups = self._groups, []
        _wake_next(iter(groups))


def _wake_next(groups: Iterator[anyio.Event]) -> None:
    """Wake the next of *groups*, and the others in later turns of the loop."""
    if (group := next(groups, None)) is not None:
        group.set()
        event_loop.call_soon(partial(_wake_next, groups))


class SingleFlight:
    """The shared tasks that run now, by key."""

    def __init__(self, tasks: TaskStarter) -> None:
        self._tasks = tasks
        self._running: dict[Hashable, SharedTask[Any]] = {}

    async def run_once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of *work*, which is started unless a task with this *key* runs already.

        The work goes on when a request that waits for it is cancelled.
        """
        with self.join(key, lambda _: work()) as task:
            return await task.wait()

    async def run_shielded(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of *work*, which runs to its end even if the request is cancelled meanwhile."""
        return await self.run_once(object(), work)

    @contextmanager
    def join(
        self, key: Hashable, work: Callable[[SharedTask[T]], Awaitable[T]], *, keep_running: bool = True
    ) -> Iterator[SharedTask[T]]:
        """Give the task with this *key*, which is started if there is none.

        Without *keep_running* the task is cancelled when the last one who waits for it leaves.
        """
        task: SharedTask[T] | None = self._running.get(key)
        if task is None:
            task = self._running[key] = SharedTask()
            self._tasks.start_soon(self._run, key, task, work)
        task.waiters += 1
        try:
            yield task
        finally:
            task.waiters -= 1
            if not keep_running and not task.waiters:
                self._remove(key, task)
                task.scope.cancel()

    async def _run(self, key: Hashable, task: SharedTask[T], work: Callable[[SharedTask[T]], Awaitable[T]]) -> None:
        await task.run(work)
        self._remove(key, task)
        task.finish()

    def _remove(self, key: Hashable, task: SharedTask[Any]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
