"""What every test runs under."""

import os
from collections.abc import AsyncIterator

import anyio
import hypothesis
import pytest
from anyio.abc import TaskGroup

from sidecar.upstream.gates import gate
from tests.support.gates import Clock

# A limit for one example fails where the machine is busy; a test that hangs is ended by `fail_after` or pytest.
hypothesis.settings.register_profile("sidecar", deadline=None, print_blob=True, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("sidecar")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Return the event loop that the program runs on."""
    return "asyncio"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the gate's clock, stopped."""
    stopped = Clock()
    monkeypatch.setattr(gate, "time", stopped)
    return stopped


@pytest.fixture
async def tasks() -> AsyncIterator[TaskGroup]:
    """Yield a task group that ends what a test has left."""
    async with anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()
