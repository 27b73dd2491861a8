"""What every test runs under, and the program within the test: see `tests.support.in_process`."""

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import anyio
import hypothesis
import pytest
from anyio.abc import TaskGroup

from sidecar.upstream.gates import gate
from tests.support import speeds
from tests.support.fake_provider import CLOSE, Provider
from tests.support.fake_services import Services
from tests.support.gates import Clock
from tests.support.in_memory import InMemoryProvider, InMemoryServices
from tests.support.in_process import InProcess, online
from tests.support.program import Program
from tests.support.provider_rows import astray, every_key, every_setting
from tests.support.reply_scripts import ANTHROPIC

# A limit for one example fails where the machine is busy; a test that hangs is ended by `fail_after` or pytest.
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
# The same examples at every run: whether a change passes is no matter of luck.
hypothesis.settings.register_profile("sidecar", hypothesis.settings.get_profile("explore"), derandomize=True)
hypothesis.settings.load_profile("sidecar")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--speed`."""
    parser.addoption("--speed", choices=speeds.SPEEDS, default="all", help="what to leave out")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the speed."""
    speeds.choose(config.getoption("speed"))
    speeds.write_to_memory()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Return True for files of which no test runs, None for others."""
    return speeds.is_left_out(config.getoption("speed"), collection_path) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the tests."""
    speeds.select(config.getoption("speed"), config, items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run one test, in its turn."""
    with speeds.turn(item):
        return (yield)


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


@pytest.fixture
def provider() -> Provider:
    """Return a provider to which nothing has come yet."""
    return InMemoryProvider()


@pytest.fixture
def sidecar(tmp_path: Path, provider: Provider) -> Iterator[Program]:
    """Yield a program that has answered a ping, and assert afterwards that it has done nothing wrong."""
    with InProcess(tmp_path, provider) as program:
        yield program


@pytest.fixture
def warm(sidecar: Program, provider: Provider) -> Program:
    """Return a program that has asked its provider once."""
    sidecar.stream(sidecar.chat(provider.play("warm", [*ANTHROPIC.answer("up"), CLOSE])))
    provider.disconnected()
    return sidecar


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Yield a program, with a provider of its own, for a module of tests that leave it as it was."""
    with InProcess(tmp_path_factory.mktemp("home"), InMemoryProvider()) as program:
        yield program


@pytest.fixture
def services() -> Iterator[Services]:
    """Yield an internet of which nothing was asked yet, and assert afterwards that no key went astray."""
    internet = InMemoryServices()
    yield internet
    assert not internet.problems
    assert not (strays := astray(internet.received())), strays


@pytest.fixture
def keyed(services: Services, tmp_path: Path) -> Iterator[Program]:
    """Yield a program that holds a key and the settings of every provider, and is online."""
    env = every_key() | every_setting() | {"OLLAMA_HOST": "ollama.com"}
    with online(services, tmp_path, **env) as program:
        yield program


@pytest.fixture
def bare(services: Services, tmp_path: Path) -> Iterator[Program]:
    """Yield a program that is online and has no key at all."""
    with online(services, tmp_path) as program:
        yield program
