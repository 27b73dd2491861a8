"""What the schemes under test are given."""

import pytest
from anyio.abc import TaskGroup

from sidecar.auth.memory import Memory
from sidecar.core.single_flight import SingleFlight
from tests.support.fake_exchange import FakeExchange
from tests.support.scheme_calls import TokenClock


@pytest.fixture
def memory(tasks: TaskGroup) -> Memory:
    """Return what schemes remember: nothing yet."""
    return Memory(SingleFlight(tasks))


@pytest.fixture
def exchange() -> FakeExchange:
    """Return the network."""
    return FakeExchange()


@pytest.fixture
def token_clock(monkeypatch: pytest.MonkeyPatch) -> TokenClock:
    """Return the clocks of the token cache."""
    return TokenClock(monkeypatch)
