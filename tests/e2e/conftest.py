"""The servers of the session and the process of a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_provider import CLOSE, Provider
from tests.support.fake_services import Services
from tests.support.listening_provider import ListeningProvider
from tests.support.listening_services import ListeningServices, online
from tests.support.process import Sidecar
from tests.support.provider_rows import astray, every_key, every_setting
from tests.support.reply_scripts import ANTHROPIC


@pytest.fixture(scope="session")
def listening() -> Iterator[Provider]:
    """Yield the one server of the session."""
    with ListeningProvider() as provider:
        yield provider


@pytest.fixture
def provider(listening: Provider) -> Provider:
    """Return the server as if nothing had come yet."""
    listening.disconnected()
    listening.connections = 0
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
    with ListeningServices(tmp_path_factory.mktemp("internet")) as services:
        yield services


@pytest.fixture
def services(internet: Services) -> Iterator[Services]:
    """Yield the internet as if nothing had been asked yet, and assert afterwards that no key went astray."""
    internet.forget()
    internet.secrets.forget()
    internet.received()
    yield internet
    assert not (strays := astray(internet.received())), strays


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Yield a process, with a provider of its own, for a module of tests that leave it as it was."""
    with ListeningProvider() as provider, Sidecar(tmp_path_factory.mktemp("home"), provider) as process:
        yield process


@pytest.fixture
def warm(sidecar: Sidecar, provider: Provider) -> Sidecar:
    """Return a process that has everything imported, and no connection: what is measured is the work itself."""
    sidecar.stream(sidecar.chat(provider.play("warm", [*ANTHROPIC.answer("up"), CLOSE])))
    provider.disconnected()
    return sidecar


@pytest.fixture(scope="session")
def _keyed(internet: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    env = every_key() | every_setting() | {"OLLAMA_HOST": "ollama.com"}
    with online(internet, tmp_path_factory.mktemp("keyed"), **env) as process:
        yield process


@pytest.fixture
def keyed(services: Services, _keyed: Sidecar) -> Sidecar:  # noqa: ARG001 - begun anew
    """Return the one process of the session that holds a key and the settings of every provider, and is online."""
    return _keyed


@pytest.fixture(scope="session")
def _bare(internet: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    with online(internet, tmp_path_factory.mktemp("bare")) as process:
        yield process


@pytest.fixture
def bare(services: Services, _bare: Sidecar) -> Sidecar:  # noqa: ARG001 - begun anew
    """Return the one process of the session that is online and has no key at all."""
    return _bare
