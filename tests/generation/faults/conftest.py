"""Programs that ask again, as they do for users: most tests elsewhere have them ask once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.environment import environment
from tests.support.fake_provider import Provider
from tests.support.in_memory import InMemoryProvider
from tests.support.in_process import InProcess
from tests.support.program import Program

Run = Callable[..., InProcess]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Yield a program with the usual three attempts, for a module of tests that leave it as it was."""
    home = tmp_path_factory.mktemp("home")
    with InProcess(home, InMemoryProvider(), env=environment(home, SIDECAR_MAX_ATTEMPTS="3")) as program:
        program.ask("initialize", {"events": ["status"]})
        yield program


@pytest.fixture
def sidecar(shared: Program, provider: Provider) -> Program:  # noqa: ARG001 - begun anew
    """Return that program."""
    return shared


@pytest.fixture
def provider(shared: Program) -> Provider:
    """Return its provider as if nothing had come yet."""
    assert shared.provider
    shared.provider.forget()
    return shared.provider


@pytest.fixture
def run(tmp_path: Path, provider: Provider) -> Run:
    """Return a way to run a program with an environment of its own."""

    def start(**env: str) -> InProcess:
        return InProcess(tmp_path, provider, env=environment(tmp_path, **{"SIDECAR_MAX_ATTEMPTS": "3"} | env))

    return start
