"""Ways to a server: which address is used, how soon another is tried, what is left of those that were not."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.http import dial
from tests.support import process_probes
from tests.support.stalling_providers import full_house

pytestmark = pytest.mark.alone

NOBODY = "192.0.2.1"


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Yield a socket that listens, and accepts nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def resolving(monkeypatch: pytest.MonkeyPatch, *places: tuple[str, int]) -> None:
    """Have every name lead to *places*."""
    found = [(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port) for host, port in places]
    look_up = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> list[Any]:
        if not host.endswith(".example"):
            return look_up(host, *arguments, **options)
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address, port in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_an_address_is_used_as_it_is(server: socket.socket) -> None:
    with await dial.dial("127.0.0.1", port_of(server)) as made:
        assert made.getpeername() == server.getsockname()
        assert made.gettimeout() == 0


async def test_a_name_is_looked_up(server: socket.socket) -> None:
    with await dial.dial("localhost", port_of(server)) as made:
        assert made.getpeername()[1] == port_of(server)


async def test_a_name_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch)
    with pytest.raises(socket.gaierror):
        await dial.dial("nowhere.example", 80)


async def test_the_next_address_is_tried_as_soon_as_one_refuses(
    monkeypatch: pytest.MonkeyPatch, server: socket.socket
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = port_of(closed)
    resolving(monkeypatch, ("127.0.0.1", refusing), ("127.0.0.1", refusing), ("127.0.0.1", port_of(server)))
    begun = time.monotonic()
    with await dial.dial("several.example", 80) as made:
        assert made.getpeername() == server.getsockname()
    assert time.monotonic() - begun < dial.ATTEMPT_SECONDS


@process_probes.linux_only
async def test_the_next_address_is_tried_beside_one_that_is_silent(
    monkeypatch: pytest.MonkeyPatch, server: socket.socket
) -> None:
    monkeypatch.setattr(dial, "ATTEMPT_SECONDS", 0.05)
    with full_house() as silent:
        resolving(monkeypatch, ("127.0.0.1", silent), ("127.0.0.1", silent), ("127.0.0.1", port_of(server)))
        begun = time.monotonic()
        with await dial.dial("several.example", 80) as made:
            assert made.getpeername() == server.getsockname()
        assert time.monotonic() - begun >= 0.1


async def test_when_all_refuse_all_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = port_of(closed)
    resolving(monkeypatch, ("127.0.0.1", refusing), ("127.0.0.1", refusing))
    with pytest.RaisesGroup(ConnectionRefusedError, ConnectionRefusedError):
        await dial.dial("several.example", 80)


async def test_the_kinds_of_addresses_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [("::1", 1), ("::1", 2), ("::1", 3), ("127.0.0.1", 4)]
    resolving(monkeypatch, *places)
    tried: list[Any] = []

    async def refuse(_: Any, made: socket.socket, place: Any) -> None:
        assert made.family == (socket.AF_INET6 if ":" in place[0] else socket.AF_INET)
        tried.append(place)
        raise ConnectionRefusedError

    monkeypatch.setattr(type(asyncio.get_running_loop()), "sock_connect", refuse)
    with pytest.RaisesGroup(*[ConnectionRefusedError] * 4):
        await dial.dial("several.example", 80)
    assert tried == [places[0], places[3], places[1], places[2]]


@process_probes.linux_only
@pytest.mark.parametrize("addresses", [1, 2])
async def test_nothing_is_left_open_by_who_leaves_meanwhile(monkeypatch: pytest.MonkeyPatch, addresses: int) -> None:
    monkeypatch.setattr(dial, "ATTEMPT_SECONDS", 0.01)
    with full_house() as silent:
        resolving(monkeypatch, *[("127.0.0.1", silent)] * addresses)
        made: list[socket.socket] = []
        connect = type(asyncio.get_running_loop()).sock_connect

        async def noted(loop: asyncio.AbstractEventLoop, each: socket.socket, place: Any) -> None:
            made.append(each)
            await connect(loop, each, place)

        monkeypatch.setattr(type(asyncio.get_running_loop()), "sock_connect", noted)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await dial.dial("silent.example", 80)
        await asyncio.sleep(0)
    assert len(made) == addresses
    assert [each.fileno() for each in made] == [-1] * addresses
