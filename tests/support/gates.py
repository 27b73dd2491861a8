"""Requests at a gate, and a clock that stands still, for tests of `sidecar.upstream.gates.gate`."""

import anyio
from anyio.abc import TaskGroup

from sidecar.core.errors import SidecarError
from sidecar.upstream.gates.gate import Gate, Priority


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class FakeRequest:
    """One request at a gate. It holds its slot from `admitted` until `done`."""

    def __init__(self, gate: Gate, priority: Priority = "interactive", model: str = "m", tokens: int = 0) -> None:
        self.gate = gate
        self.tokens = tokens
        self.model = model
        self.priority = priority
        self.admitted = anyio.Event()
        self.done = anyio.Event()
        self.left = anyio.Event()
        self.failure: SidecarError | None = None

    async def run(self) -> None:
        try:
            async with self.gate.hold_slot(self.priority, model=self.model, tokens=self.tokens) as turn:
                self.admitted.set()
                await self.done.wait()
                if self.failure:
                    raise self.failure
                turn.report_success()
        except SidecarError as error:
            self.failure = error
        self.left.set()

    async def leave(self, failure: SidecarError | None = None) -> None:
        """Leave the gate, with *failure* if there is one."""
        self.failure = failure
        self.done.set()
        await self.left.wait()


async def run_ready_tasks() -> None:
    """Let every task run that can."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def start_requests(
    tasks: TaskGroup, gate: Gate, count: int, priority: Priority = "interactive", model: str = "m", tokens: int = 0
) -> list[FakeRequest]:
    """Send *count* requests to *gate*."""
    requests = [FakeRequest(gate, priority, model, tokens) for _ in range(count)]
    for request in requests:
        tasks.start_soon(request.run)
    await run_ready_tasks()
    return requests


def list_active(requests: list[FakeRequest]) -> list[int]:
    """Return the numbers of the requests that hold a slot."""
    return [number for number, each in enumerate(requests) if each.admitted.is_set() and not each.left.is_set()]
