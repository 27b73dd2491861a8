"""Processes that ask again, as they do for users: most tests elsewhere have them ask once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_provider import Provider
from tests.support.listening_provider import ListeningProvider
from tests.support.process import Sidecar, environment

Spawn = Callable[..., Sidecar]


@pytest.fixture(scope="module")
def client() -> dict[str, str]:
    """Return the variable that says which HTTP client carries requests: the usual one, if a module says nothing."""
    return {}


@pytest.fixture(scope="module")
def shared(client: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Yield a process with the usual three attempts, for a module of tests that leave it as it was."""
    home = tmp_path_factory.mktemp("home")
    with (
        ListeningProvider() as provider,
        Sidecar(home, provider, env=environment(home, SIDECAR_MAX_ATTEMPTS="3", **client)) as process,
    ):
        process.ask("initialize", {"events": ["status"]})
        yield process


@pytest.fixture
def sidecar(shared: Sidecar, provider: Provider) -> Sidecar:  # noqa: ARG001 - begun anew
    """Return that process."""
    return shared


@pytest.fixture
def provider(shared: Sidecar) -> Provider:
    """Return its provider as if nothing had come yet."""
    assert shared.provider
    shared.provider.forget()
    return shared.provider


@pytest.fixture
def spawn(tmp_path: Path, provider: Provider, client: dict[str, str]) -> Callable[..., Any]:
    """Return a way to start a process with an environment of its own."""

    def start(**env: str) -> Sidecar:
        return Sidecar(tmp_path, provider, env=environment(tmp_path, **{"SIDECAR_MAX_ATTEMPTS": "3"} | client | env))

    return start
