"""The servers of the session and the process of a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Sidecar
from tests.e2e.provider import Provider
from tests.e2e.services import Services


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


@pytest.fixture(scope="session")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Yield every host of the session's internet."""
    with Services(tmp_path_factory.mktemp("internet")) as services:
        yield services


@pytest.fixture
def services(internet: Services) -> Services:
    """Return the internet as if nothing had been asked yet."""
    internet.forget()
    return internet
