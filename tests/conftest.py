"""What every test runs under."""

import os

import hypothesis
import pytest

# A limit for one example fails where the machine is busy; a test that hangs is ended by `fail_after` or pytest.
hypothesis.settings.register_profile("sidecar", deadline=None, print_blob=True, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("sidecar")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Return the event loop that the program runs on."""
    return "asyncio"
