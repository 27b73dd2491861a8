"""Requests by `httpx2`: through the proxies that the environment or the system names, and other unusual ones.

The only module that imports it, on first use. Knows the protocol's code for each of its exceptions.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread

from sidecar.core import url_policy
from sidecar.core.errors import SidecarError
from sidecar.http import failures
from sidecar.http.connection import WRITE_BYTES, WRITE_SECONDS
from sidecar.http.dial import make_tls_context
from sidecar.http.exchange import Exchange, Reply
from sidecar.http.message import CutReplyError, MalformedReplyError, read_head
from sidecar.http.pool import IDLE_CONNECTIONS, IDLE_SECONDS
from sidecar.http.reply_parser import ReplyParser
from sidecar.http.unread import Unread, hold_unread

if TYPE_CHECKING:
    import httpx2


@cache
def _import_client() -> Any:
    import httpx2

    return httpx2


class Proxied:
    """The clients, each made when first needed: one that reads the environment, one for each proxy of a choice."""

    def __init__(self, most: int | None, choose: Callable[[str], str | None]) -> None:
        """Open at most *most* connections to each proxy; further requests wait.

        *choose* returns the proxy for an address, an empty string for none, or None to let the client read the
        environment. It may raise SidecarError.
        """
        self._most = most
        self._choose = choose
        self._clients: dict[str | None, httpx2.AsyncClient] = {}
        self._making = anyio.Lock()

    async def send(self, exchange: Exchange) -> Reply:
        """Send *exchange* and return the reply once its head is there.

        Raises: SidecarError `network_error`, `timeout`, `provider_error` (no HTTP), `invalid_request` (a header that
        cannot be sent, an invalid address, a name that leads to a link-local address).
        """
        http = await self._get_client(self._choose(exchange.request.url))
        httpx2 = _import_client()
        timeout = {"connect": exchange.timeouts.connect_seconds, "read": None, "write": WRITE_SECONDS, "pool": None}
        connecting = None
        try:
            request = http.build_request(
                exchange.request.method,
                exchange.request.url,
                headers={**exchange.headers},
                content=exchange.request.body or None,
                extensions={"timeout": timeout},
            )
            host = request.url.raw_host.decode("ascii") if exchange.guarded else None
            connecting = _Connecting(exchange, host, request.url.raw_host.decode("ascii"), timeout)
            request.extensions["trace"] = connecting.note
            response = await _send(http, request, connecting)
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, UnicodeEncodeError) as error:
            if connecting is not None and (refusal := connecting.read_refusal()) is not None:
                return refusal
            raise _read_failure(error, "headers", connecting) from None
        finally:
            if connecting is not None:
                connecting.release()
        try:
            head = read_head(response.http_version.removeprefix("HTTP/"), response.status_code, response.headers.raw)
        except MalformedReplyError as error:
            await _close(response)
            raise failures.read_failure(error) from None
        # Only from here on: a head may take longer than a pause within a body.
        timeout["read"] = exchange.timeouts.idle_seconds
        # The stream itself: `aiter_raw` would only add a generator.
        pieces = cast("AsyncIterable[bytes]", response.stream)
        return Reply(head.status, head.headers, _translate_failures(pieces), lambda: _close(response))

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    async def _get_client(self, proxy: str | None) -> "httpx2.AsyncClient":
        async with self._making:
            if proxy not in self._clients:
                # Its imports take a tenth of a second, for which the loop must not wait.
                made = await anyio.to_thread.run_sync(_make_client, self._most, proxy, abandon_on_cancel=True)
                self._clients[proxy] = made
        return self._clients[proxy]


def _make_client(most: int | None, proxy: str | None) -> "httpx2.AsyncClient":
    from http.cookiejar import CookieJar, DefaultCookiePolicy  # Slow; the client imports it too.

    httpx2 = _import_client()
    return httpx2.AsyncClient(  # type: ignore[no-any-return]  # imported lazily
        verify=make_tls_context(),
        limits=httpx2.Limits(
            max_connections=most,
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
        ),
        follow_redirects=False,
        # A cookie would link requests of different keys and conversations.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=proxy is None,
        proxy=proxy or None,
    )


class _Connecting:
    """How far a request has come, according to the client's trace."""

    def __init__(self, exchange: Exchange, guarded: str | None, host: str, timeout: dict[str, float | None]) -> None:
        self._exchange = exchange
        self._host = host
        self._timeout = timeout
        """What the client reads anew at each step."""
        self.seeks_proxy = False
        """Whether a proxy is being connected to."""
        self.asks_proxy = False
        """Whether a proxy was asked to connect to the server, and has not answered."""
        self._guarded = guarded
        """The host that must not lead to a link-local address; None: it may."""
        self._direct = False
        self._stream: Any = None
        self._network: Any = None
        """The connection, if it was made for this request; of another one the client does not tell."""
        self._is_large = len(exchange.request.body) > WRITE_BYTES
        self._unread: Unread | None = None
        """Held while a large request is written."""

    async def note(self, event: str, info: dict[str, Any]) -> None:
        """Take one of the client's trace events, such as `connection.start_tls.complete`."""
        if event.endswith("connect_tcp.started"):
            self._exchange.fresh = True
            # Otherwise this connects to a proxy, which looks up the name itself.
            self._direct = info["host"] == self._guarded
            self.seeks_proxy = info["host"] != self._host
        elif event.endswith("connect_tcp.complete"):
            self._stream = self._network = info["return_value"]
            self.seeks_proxy = False
            if self._direct and url_policy.is_link_local(self._stream.get_extra_info("server_addr")[0]):
                # The owner of a name decides where it leads, perhaps to a cloud's metadata server.
                raise failures.make_link_local_error()
        elif event.endswith("start_tls.complete"):
            # TLS within TLS, as to a proxy that speaks it, cannot be read from the socket.
            is_first = self._network is not None and self._network.get_extra_info("ssl_object") is None
            self._stream, self._network = None, info["return_value"] if is_first else None
        elif event.endswith("send_request_headers.started"):
            self.asks_proxy = info["request"].method == b"CONNECT"
            self._timeout["read"] = self._exchange.timeouts.connect_seconds if self.asks_proxy else None
            if not self.asks_proxy:
                self._exchange.enter("headers")
        elif event.endswith("send_request_body.started") and not self.asks_proxy and self._is_large:
            self._unread = self._network and hold_unread(self._network)

    def read_refusal(self) -> Reply | None:
        """Return the error that the server had sent before it reset the connection to which a large request went.

        The client writes all of a request before it reads, and a failed write closes its connection.
        """
        parser = ReplyParser()
        with suppress(MalformedReplyError):
            parser.feed(self._unread.read() if self._unread is not None else b"")
        head = parser.head
        if head is None or head.status < 400:
            return None
        return Reply(head.status, head.headers, _read_parts(parser), _do_nothing)

    def release(self) -> None:
        """Let go of the connection: the request is written, or it has failed."""
        if self._unread is not None:
            self._unread.close()
            self._unread = None

    async def abandon(self) -> None:
        """Close the connection that the client leaves open if it is cancelled during the TLS handshake."""
        if self._stream is not None:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()


async def _send(http: "httpx2.AsyncClient", request: "httpx2.Request", connecting: _Connecting) -> "httpx2.Response":
    try:
        return await http.send(request, stream=True)
    except BaseException:
        await connecting.abandon()
        raise


async def _read_parts(parser: ReplyParser) -> AsyncIterator[bytes]:
    for part in parser.parts:
        yield part
    if not parser.complete:
        raise failures.make_broken_error(CutReplyError())


async def _do_nothing() -> None:
    """Close nothing: the connection is closed."""


async def _close(response: "httpx2.Response") -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(1):
        if _has_excess(response):
            await response.extensions["network_stream"].aclose()
        await response.aclose()


_TO_PARSER = ("_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state")
"""The way to what parses a reply, which the client has no name for. Where it is another one, no connection is reused,
which a test notices."""


def _has_excess(response: "httpx2.Response") -> bool:
    """Return whether more may have come than the reply: the client would take it for that of the next request."""
    part: Any = response.stream
    for name in _TO_PARSER:
        part = getattr(part, name, None)
    excess = getattr(part, "trailing_data", None)
    return excess is None or bool(excess[0])


async def _translate_failures(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    except (_import_client().HTTPError, ssl.SSLError) as error:
        raise _read_failure(error, "idle") from None


def _read_failure(error: Exception, phase: str, connecting: "_Connecting | None" = None) -> SidecarError:
    return (connecting and _read_proxy_failure(error, connecting)) or _read_server_failure(error, phase)


def _read_proxy_failure(error: Exception, connecting: "_Connecting") -> SidecarError | None:
    """Return *error* if it is one of the proxy, on the way to the server."""
    httpx2 = _import_client()
    if connecting.seeks_proxy and isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
        return failures.make_unreached_proxy_error()
    if connecting.asks_proxy and isinstance(error, httpx2.TimeoutException):
        return failures.make_silent_proxy_error()
    if not isinstance(error, httpx2.ProxyError):
        return None
    # Its words begin with the proxy's status.
    status = str(error)[:3]
    return failures.make_proxy_refusal_error(int(status) if status.isascii() and status.isdigit() else None)


def _read_server_failure(error: Exception, phase: str) -> SidecarError:
    httpx2 = _import_client()
    if isinstance(error, httpx2.ConnectTimeout):
        return failures.make_unreached_error()
    if isinstance(error, httpx2.TimeoutException):
        return failures.make_silence_error("idle" if phase == "idle" else "headers")
    unsendable = (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol, httpx2.InvalidURL, UnicodeEncodeError)
    if isinstance(error, unsendable):
        # Its text may hold the header's value.
        return failures.make_unsendable_error()
    if isinstance(error, httpx2.RemoteProtocolError) and not str(error).startswith(_CUT):
        return failures.make_malformed_reply_error()
    return failures.make_broken_error(error)


_CUT = ("Server disconnected", "peer closed connection", "peer unexpectedly closed connection")
"""The beginnings of the client's messages for a truncated reply. Its other messages are for a malformed one."""
