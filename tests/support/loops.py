"""Tests of what knows the event loop run in each that the program can run in."""

import sys
from typing import Any

import pytest

from sidecar.core import event_loop

LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(sys.platform == "win32", reason="there is none"))]


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Return what `anyio` runs a test in."""
    return "asyncio", {"loop_factory": event_loop.find_uvloop() if request.param == "uvloop" else None}
