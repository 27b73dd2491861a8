"""An `Upstream` within the test's own process, which takes a `RuledServer` for the internet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from protocol.replies import Warn
from sidecar.config.values import Config
from sidecar.upstream.context import Upstream
from tests.support.fake_provider import WAIT_SECONDS
from tests.support.in_memory import RuledServer
from tests.support.in_memory_transport import InMemoryTransport


def _drop(warning: Warn) -> None:
    """Drop *warning*, which belongs to no request."""


@asynccontextmanager
async def running(server: RuledServer | None = None, **config: Any) -> AsyncIterator[Upstream]:
    """Run an upstream with the values of *config*. Its warnings are dropped."""
    with anyio.fail_after(2 * WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            yield Upstream(Config(path="", **config), tasks, InMemoryTransport(server or RuledServer()), _drop)
            tasks.cancel_scope.cancel()
