"""Requests by `httpx2`: through the proxies that the environment or the system names, or however else is unusual.

The only module that imports it, on first use. Knows how its exceptions read in the protocol's codes.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread

from sidecar.core import url_policy
from sidecar.core.errors import SidecarError
from sidecar.http import failures
from sidecar.http.connection import WRITE_SECONDS
from sidecar.http.dial import tls_context
from sidecar.http.exchange import Exchange, Reply
from sidecar.http.message import MalformedReplyError, read_head
from sidecar.http.pool import IDLE_CONNECTIONS, IDLE_SECONDS

if TYPE_CHECKING:
    import httpx2


@cache
def _client() -> Any:
    import httpx2

    return httpx2


class Proxied:
    """The clients, each made when first needed: one that reads the environment, one for each proxy of a choice."""

    def __init__(self, most: int | None, choose: Callable[[str], str | None]) -> None:
        """Have at most *most* connections to each proxy; what comes on top waits.

        *choose* returns the proxy for an address, empty for none; None leaves that to the client, which then reads the
        environment. It may raise SidecarError.
        """
        self._most = most
        self._choose = choose
        self._clients: dict[str | None, httpx2.AsyncClient] = {}
        self._making = anyio.Lock()

    async def send(self, exchange: Exchange) -> Reply:
        """Send *exchange* and return the reply once its head is there.

        Raises: SidecarError `network_error`, `timeout`, `provider_error` (no HTTP), `invalid_request` (a header that
        cannot be sent, an address that is none, a name that leads to a link-local address).
        """
        http = await self._ready(self._choose(exchange.request.url))
        httpx2 = _client()
        timeout = {"connect": exchange.timeouts.connect_seconds, "read": None, "write": WRITE_SECONDS, "pool": None}
        try:
            request = http.build_request(
                exchange.request.method,
                exchange.request.url,
                headers={**exchange.headers},
                content=exchange.request.body or None,
                extensions={"timeout": timeout},
            )
            host = request.url.raw_host.decode("ascii") if exchange.guarded else None
            connecting = _Connecting(exchange, host)
            request.extensions["trace"] = connecting.note
            response = await _sent(http, request, connecting)
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, UnicodeEncodeError) as error:
            raise _failure(error, "headers") from None
        try:
            head = read_head(response.http_version.removeprefix("HTTP/"), response.status_code, response.headers.raw)
        except MalformedReplyError as error:
            await _close(response)
            raise failures.read(error) from None
        # From here on only: a head may take longer than any pause of a body.
        timeout["read"] = exchange.timeouts.idle_seconds
        # The stream itself: `aiter_raw` would add a generator to each piece and nothing else.
        pieces = cast("AsyncIterable[bytes]", response.stream)
        return Reply(head.status, head.headers, _translated(pieces), lambda: _close(response))

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    async def _ready(self, proxy: str | None) -> "httpx2.AsyncClient":
        async with self._making:
            if proxy not in self._clients:
                # A tenth of a second of imports, for which the loop, and a `cancel` in it, need not wait.
                made = await anyio.to_thread.run_sync(_make_client, self._most, proxy, abandon_on_cancel=True)
                self._clients[proxy] = made
        return self._clients[proxy]


def _make_client(most: int | None, proxy: str | None) -> "httpx2.AsyncClient":
    from http.cookiejar import CookieJar, DefaultCookiePolicy  # As slow as the client, which imports it too.

    httpx2 = _client()
    return httpx2.AsyncClient(  # type: ignore[no-any-return]  # imported lazily
        verify=tls_context(),
        limits=httpx2.Limits(
            max_connections=most,
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
        ),
        follow_redirects=False,
        # A cookie would tie together what different keys and conversations ask.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=proxy is None,
        proxy=proxy or None,
    )


class _Connecting:
    """How far a request has come in the client, by its trace."""

    def __init__(self, exchange: Exchange, guarded: str | None) -> None:
        self._exchange = exchange
        self._guarded = guarded
        """The host that must not turn out to be of the link; None: it may be."""
        self._direct = False
        self._stream: Any = None

    async def note(self, event: str, info: dict[str, Any]) -> None:
        """Take one of the client's trace events, such as `connection.start_tls.complete`."""
        if event.endswith("connect_tcp.started"):
            self._exchange.fresh = True
            # Else it is a proxy that is connected to, which looks the name up by itself.
            self._direct = info["host"] == self._guarded
        elif event.endswith("connect_tcp.complete"):
            self._stream = info["return_value"]
            if self._direct and url_policy.is_link_local(self._stream.get_extra_info("server_addr")[0]):
                # Whoever owns a name says where it leads: a harmless one may lead to a cloud's metadata server.
                raise failures.link_local()
        elif event.endswith("start_tls.complete"):
            self._stream = None
        elif event.endswith("send_request_headers.started"):
            self._exchange.enter("headers")

    async def abandon(self) -> None:
        """Close the connection that the client leaves open when it is cancelled within TLS."""
        if self._stream is not None:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()


async def _sent(http: "httpx2.AsyncClient", request: "httpx2.Request", connecting: _Connecting) -> "httpx2.Response":
    try:
        return await http.send(request, stream=True)
    except BaseException:
        await connecting.abandon()
        raise


async def _close(response: "httpx2.Response") -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(1):
        await response.aclose()


async def _translated(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    except (_client().HTTPError, ssl.SSLError) as error:
        raise _failure(error, "idle") from None


def _failure(error: Exception, phase: str) -> SidecarError:
    httpx2 = _client()
    if isinstance(error, httpx2.ConnectTimeout):
        return failures.unreached()
    if isinstance(error, httpx2.TimeoutException):
        return failures.silent("idle" if phase == "idle" else "headers")
    unsendable = (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol, httpx2.InvalidURL, UnicodeEncodeError)
    if isinstance(error, unsendable):
        # Its text may hold the header's value.
        return failures.unsendable()
    if isinstance(error, httpx2.RemoteProtocolError) and not str(error).startswith(_CUT):
        return failures.malformed_reply()
    if isinstance(error, httpx2.ProxyError):
        return SidecarError("network_error", "The proxy refused the connection.", reason="proxy")
    return failures.broken(error)


_CUT = ("Server disconnected", "peer closed connection", "peer unexpectedly closed connection")
"""How the client's words for a reply that just ends begin; its others are for one that is wrong."""
