"""Ways to a server: its name looked up, its addresses tried one soon after the other, TLS around what is found.

Knows sockets and RFC 8305 ("happy eyeballs"). Must not know HTTP.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import Any, NamedTuple, TypeVar

from sidecar.core import platforms
from sidecar.http import trust, unread

ATTEMPT_SECONDS = 0.25
"""How long an address is tried before the next one is tried beside it."""

_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


class _Address(NamedTuple):
    family: socket.AddressFamily
    place: Any
    """As `socket` has it for the family."""


async def dial(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to *host*, which is a name or an address.

    Raises: OSError, or a group of them where there are several addresses.
    """
    addresses = _read_address(host, port) or await _look_up(host, port)
    if len(addresses) == 1:
        return await _connect(addresses[0])
    return await _connect_to_first(deque(addresses))


def _read_address(host: str, port: int) -> list[_Address]:
    try:
        version = ip_address(host).version
    except ValueError:
        return []
    if version == 4:
        return [_Address(socket.AF_INET, (host, port))]
    return [_Address(socket.AF_INET6, (host, port, 0, 0))]


async def _look_up(host: str, port: int) -> list[_Address]:
    """Return the addresses of *host*, the kinds in turn, the first one's first."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    by_family: dict[socket.AddressFamily, list[_Address]] = {}
    for family, _, _, _, place in found:
        by_family.setdefault(family, []).append(_Address(family, place))
    return [each for each in chain.from_iterable(zip_longest(*by_family.values())) if each is not None]


async def _connect(address: _Address) -> socket.socket:
    made = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        made.settimeout(0)
        await asyncio.get_running_loop().sock_connect(made, address.place)
    except BaseException:
        made.close()
        raise
    return made


async def _connect_to_first(addresses: "deque[_Address]") -> socket.socket:
    """Return a socket to the first of *addresses* that answers; each has a head start before the next."""
    tries = set[asyncio.Task[socket.socket]]()
    failures: list[OSError] = []
    winner: socket.socket | None = None
    try:
        while winner is None and (addresses or tries):
            if addresses:
                tries.add(asyncio.ensure_future(_connect(addresses.popleft())))
            wait = ATTEMPT_SECONDS if addresses else None
            done, _ = await asyncio.wait(tries, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                error = each.exception()
                if error is None and winner is None:
                    winner = each.result()
                elif isinstance(error, OSError):
                    failures.append(error)
                if error is not None or each.result() is winner:
                    tries.discard(each)
    finally:
        for each in tries:
            each.cancel()
            each.add_done_callback(_close_unused)
    if winner is None:
        raise _join_failures(failures)
    return winner


def _close_unused(task: "asyncio.Task[socket.socket]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _join_failures(failures: Sequence[OSError]) -> Exception:
    return failures[0] if len(failures) == 1 else ExceptionGroup("no address of the host answers", failures)


async def attach(
    made: socket.socket, protocol: Callable[[], _Protocol], context: ssl.SSLContext | None, host: str
) -> _Protocol:
    """Give the socket *made* to a *protocol*, after a handshake that proves *host* where there is a *context*."""
    name = None if context is None else host
    try:
        _, attached = await asyncio.get_running_loop().create_connection(
            protocol, sock=made, ssl=context, server_hostname=name
        )
    except ConnectionResetError as error:
        made.close()
        if error.errno is None:
            # So the loops say that the handshake just ended, which is nothing of the network's.
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "end of the connection within its handshake") from None
        raise
    except BaseException:
        # A loop that is told to leave a handshake may keep the socket for as long as it would have waited for it.
        hang_up(made)
        made.close()
        raise
    return attached


def hang_up(made: socket.socket) -> None:
    """End what goes over *made* in both directions, unless that has ended already. Its owner closes it."""
    with suppress(OSError):
        made.shutdown(socket.SHUT_RDWR)


def make_tls_context() -> ssl.SSLContext:
    """Return a context on the system's trust store, which corporate roots are in; it writes no key log."""
    if platforms.WINDOWS or platforms.MACOS:
        import truststore

        context = unread.make_context(truststore.SSLContext)
    else:
        # truststore would read the file of all roots again for each connection, in the event loop.
        context = unread.make_context(ssl.SSLContext)
        trust.trust_files(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
