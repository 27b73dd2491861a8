"""The provider of the session and the process of a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Sidecar
from tests.e2e.provider import Provider


@pytest.fixture(scope="session")
def listening() -> Iterator[Provider]:
    """Yield the one server of the session."""
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(listening: Provider) -> Provider:
    """Return the server as if nothing had come yet."""
    listening.forget()
    return listening


@pytest.fixture
def sidecar(tmp_path: Path, provider: Provider) -> Iterator[Sidecar]:
    """Yield a process that has answered a ping, and assert afterwards that it has done nothing wrong."""
    with Sidecar(tmp_path, provider) as process:
        yield process
