"""What a server has sent before a write to it failed, and the event loop has not read.

A server that refuses a large request answers early and may reset the connection while the request is still being
written. The loop closes a connection whose write fails, and the answer that waits in the socket would be lost.
"""

import os
import socket
import ssl
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from sidecar.core import platforms

MAX_BYTES = 256 * 1024
"""The most that is read: an error and its reason."""


class Described(Protocol):
    """A connection of either client."""

    def get_extra_info(self, info: str, /) -> Any:
        """Return its `socket`, its `ssl_object`, or the latter's `sslcontext`; None for what there is not."""


class Unread:
    """A second descriptor of a connection's socket, held while a large request is written."""

    def __init__(self, connection: Described) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.get_extra_info("socket").fileno()))
        self._tls: ssl.SSLObject | None = connection.get_extra_info("ssl_object")
        context = connection.get_extra_info("sslcontext") or getattr(self._tls, "context", None)
        incoming = getattr(context, "incoming", {})
        self._encrypted: ssl.MemoryBIO | None = incoming.get(self._tls) if self._tls else None

    def read(self) -> bytes:
        """Return what has come; never waits."""
        data = bytearray()
        with suppress(OSError):
            while len(data) < MAX_BYTES and (piece := self._socket.recv(16 * 1024)):
                data += piece
        if self._tls is None:
            return bytes(data)
        if self._encrypted is None:
            return b""
        plain = bytearray()
        with suppress(ssl.SSLError, ValueError):
            self._encrypted.write(data)
            while piece := self._tls.read(16 * 1024):
                plain += piece
        return bytes(plain)

    def close(self) -> None:
        """Close the descriptor."""
        self._socket.close()


def hold_unread(connection: Described) -> Unread | None:
    """Return what reads the rest of the connection; None where that is not possible, or no descriptor is left."""
    if platforms.WINDOWS:
        return None
    try:
        return Unread(connection)
    except OSError:
        return None


def make_context(base: type[ssl.SSLContext]) -> ssl.SSLContext:
    """Return a client's context of the class *base* that remembers where each of its connections takes records from."""

    class Context(base):  # type: ignore[misc,valid-type]  # a class that is imported late
        incoming: WeakKeyDictionary[ssl.SSLObject, ssl.MemoryBIO]

        def wrap_bio(self, incoming: ssl.MemoryBIO, *others: Any, **options: Any) -> ssl.SSLObject:
            made: ssl.SSLObject = super().wrap_bio(incoming, *others, **options)
            self.incoming[made] = incoming
            return made

    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.incoming = WeakKeyDictionary()
    return context
