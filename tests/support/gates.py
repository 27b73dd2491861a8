"""Requests at a gate, and a clock that stands still, for tests of `sidecar.upstream.gates.gate`."""

import anyio
from anyio.abc import TaskGroup

from sidecar.core.errors import SidecarError
from sidecar.upstream.gates.gate import Gate, Priority


class Clock:
    """Time that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Guest:
    """One request: in its slot from `inside` until `go`."""

    def __init__(self, gate: Gate, priority: Priority = "interactive", model: str = "m", tokens: int = 0) -> None:
        self.gate = gate
        self.tokens = tokens
        self.model = model
        self.priority = priority
        self.inside = anyio.Event()
        self.go = anyio.Event()
        self.left = anyio.Event()
        self.answered = anyio.Event()
        self.failure: SidecarError | None = None

    async def run(self) -> None:
        try:
            async with self.gate.slot(self.priority, model=self.model, tokens=self.tokens) as turn:
                self.inside.set()
                await self.go.wait()
                if self.failure:
                    raise self.failure
                turn.succeeded()
        except SidecarError as error:
            self.failure = error
        self.left.set()

    async def leave(self, failure: SidecarError | None = None) -> None:
        self.failure = failure
        self.go.set()
        await self.left.wait()


async def settled() -> None:
    """Let every task run that can."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def guests(
    tasks: TaskGroup, gate: Gate, count: int, priority: Priority = "interactive", model: str = "m", tokens: int = 0
) -> list[Guest]:
    found = [Guest(gate, priority, model, tokens) for _ in range(count)]
    for guest in found:
        tasks.start_soon(guest.run)
    await settled()
    return found


def inside(everybody: list[Guest]) -> list[int]:
    return [number for number, guest in enumerate(everybody) if guest.inside.is_set() and not guest.left.is_set()]
