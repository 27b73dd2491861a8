"""HTTP: one client, one TLS context and one pool for the process.

The only module that imports the HTTP client, on first use. Knows timeouts and how the
client's exceptions read in the protocol's codes. Must not know providers or bodies.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread

from sidecar import __version__
from sidecar.core import event_loop, platforms, url_policy
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts, Response, RetryBudget, Trace, is_encoded

if TYPE_CHECKING:
    import httpx2

WRITE_SECONDS = 30.0

RESERVED_FILES = 28
"""Open files that the process needs beside its connections: pipes, the loop, what is read, name lookups."""

STALE_CONNECTIONS = 3
"""How many that turn out to be closed as they are used are replaced: a server may have closed all that were idle."""

KEEPALIVE_CONNECTIONS = 128
KEEPALIVE_SECONDS = 45.0

_NO_SUCH_NAME = frozenset({-2, 8, 11001})
"""The system's word for a name that nobody has: Linux, macOS, Windows. Other failures of a lookup may pass."""

_DIRECT = ("all://127.0.0.1", "all://localhost", "all://[::1]", "all://169.254.169.254")
"""This machine, and the cloud's word on it: from a proxy it would be about the proxy's machine."""


@cache
def _client() -> Any:
    import httpx2

    return httpx2


class _Connecting:
    """How far a request has come in the client, by its trace."""

    def __init__(self, trace: Trace | None, guarded: str | None) -> None:
        self._trace = trace
        self._guarded = guarded
        """The host that must not turn out to be of the link; None: it may be."""
        self._direct = False
        self._stream: Any = None
        self.fresh = False
        """Whether its connection was made for it."""

    async def note(self, event: str, info: dict[str, Any]) -> None:
        """Take one of the client's trace events, such as `connection.start_tls.complete`."""
        if event.endswith("connect_tcp.started"):
            self.fresh = True
            # Else it is a proxy that is connected to, which looks the name up by itself.
            self._direct = info["host"] == self._guarded
        elif event.endswith("connect_tcp.complete"):
            self._stream = info["return_value"]
            if self._direct:
                _check_peer(self._stream)
        elif event.endswith("start_tls.complete"):
            self._stream = None
        elif event.endswith("send_request_headers.started") and self._trace is not None:
            self._trace.phase = "headers"

    async def abandon(self) -> None:
        """Close the connection that the client leaves open when it is cancelled within TLS."""
        if self._stream is not None:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()


class HttpClient:
    """The process's HTTP client, made when first needed."""

    def __init__(self) -> None:
        self._http: httpx2.AsyncClient | None = None
        self._making = anyio.Lock()

    async def _ready(self) -> "httpx2.AsyncClient":
        async with self._making:
            if self._http is None:
                # A tenth of a second of imports, for which the loop, and a `cancel` in it, need not wait.
                self._http = await anyio.to_thread.run_sync(_make_client, abandon_on_cancel=True)
                event_loop.allow_many_lookups()
        return self._http

    @asynccontextmanager
    async def send(
        self,
        request: HttpRequest,
        auth: Mapping[str, str],
        timeouts: HttpTimeouts,
        trace: Trace | None = None,
        *,
        budget: RetryBudget | None = None,
        link_local: bool = False,
    ) -> AsyncIterator[Response]:
        """Send *request* with the headers of *auth* and give its reply; leaving closes a connection that is not done.

        *budget* pays for sending it again over a new connection where an old one turns out to be closed; None: that
        is free. *link_local* says that it is meant for the machine's own metadata server.

        Raises: SidecarError `network_error`, `timeout`, `invalid_request` (a header that cannot be sent, a path
        with steps, a name that leads to a link-local address).
        """
        if url_policy.has_steps(request.url):
            text = "A name in the request's address, the model's as a rule, has a `.` or `..` for a step."
            raise SidecarError("invalid_request", text, reason="address")
        http, httpx2 = await self._ready(), _client()
        timeout = {"connect": timeouts.connect, "read": None, "write": WRITE_SECONDS, "pool": None}
        headers = {"user-agent": f"sidecar/{__version__}", "accept-encoding": "identity"} | request.headers | {**auth}
        if trace is not None:
            trace.phase = "connect"
        try:
            built = http.build_request(
                request.method,
                request.url,
                headers=headers,
                content=request.body or None,
                extensions={"timeout": timeout},
            )
            with anyio.fail_after(timeouts.first_byte):
                response = await _answered(http, built, trace, budget, guarded=not link_local)
        except TimeoutError:
            raise SidecarError("timeout", "The provider sent no reply in time.", phase="headers") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, UnicodeEncodeError) as error:
            raise _failure(error, "headers") from None
        # From here on only: a head may take longer than any pause of a body.
        timeout["read"] = timeouts.idle
        try:
            if trace is not None:
                trace.phase = "idle"
            head = {name.lower(): value for name, value in response.headers.items()}
            if response.is_success and is_encoded(head):
                text = "The provider compressed its reply, unasked."
                raise SidecarError("provider_error", text, reason="content_encoding")
            body = aiter(cast("AsyncIterable[bytes]", response.stream))
            # The stream itself: `aiter_raw` would add a generator to each piece and nothing else.
            yield Response(response.status_code, head, body if response.is_success else translated(body))
        except httpx2.HTTPError as error:
            # What breaks while the body is read: leaving the `async with` is where it passes.
            raise _failure(error, "idle") from None
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await response.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.aclose()


async def _answered(
    http: "httpx2.AsyncClient",
    request: "httpx2.Request",
    trace: Trace | None,
    budget: RetryBudget | None,
    *,
    guarded: bool,
) -> "httpx2.Response":
    """Send *request*, again where the server closed an idle connection just as it was used."""
    host = request.url.raw_host.decode("ascii") if guarded else None
    httpx2, replaced, spent = _client(), 0, 0
    while True:
        connecting = _Connecting(trace, host)
        try:
            response = await _sent(http, request, connecting)
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            if connecting.fresh or replaced == STALE_CONNECTIONS or _is_malformed(error):
                raise
            paid = budget.take(_failure(error, "headers").body) if budget else 0
            if paid is None:
                raise
            replaced, spent = replaced + 1, spent + paid
            continue
        if budget and spent:
            budget.give_back(spent)
        return response


async def _sent(http: "httpx2.AsyncClient", request: "httpx2.Request", connecting: _Connecting) -> "httpx2.Response":
    request.extensions["trace"] = connecting.note
    try:
        return await http.send(request, stream=True)
    except BaseException:
        await connecting.abandon()
        raise


def _check_peer(stream: Any) -> None:
    """Refuse a connection that has ended up at a link-local address, before anything is sent.

    Whoever owns a name says where it leads: a harmless one may lead to a cloud's metadata server.
    """
    if url_policy.is_link_local(stream.get_extra_info("server_addr")[0]):
        text = "The host's name leads to a link-local address, where no provider is: nothing was sent."
        raise SidecarError("invalid_request", text, reason="address", phase="connect")


def _make_client() -> "httpx2.AsyncClient":
    from http.cookiejar import CookieJar, DefaultCookiePolicy  # As slow as the client, which imports it too.

    httpx2, files = _client(), platforms.get_file_limit()
    return httpx2.AsyncClient(  # type: ignore[no-any-return]  # imported lazily
        verify=_tls_context(),
        limits=httpx2.Limits(
            # What comes on top waits in the pool: without a free one not even a module can be imported.
            max_connections=None if files is None else max(1, files - RESERVED_FILES),
            max_keepalive_connections=KEEPALIVE_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_SECONDS,
        ),
        follow_redirects=False,
        # A cookie would tie together what different keys and conversations ask.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=True,
        # A proxy is for the world outside, never for a server on this machine.
        mounts=dict.fromkeys(_DIRECT),
    )


def _tls_context() -> ssl.SSLContext:
    """Return a context on the system's trust store, which corporate roots are in; it writes no key log."""
    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def translated(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield *body*, for a reader that outlives it.

    Raises: SidecarError `network_error`, `timeout`, `provider_error`.
    """
    try:
        async for data in body:
            yield data
    except _client().HTTPError as error:
        raise _failure(error, "idle") from None


def _failure(error: Exception, phase: str) -> SidecarError:
    httpx2 = _client()
    if isinstance(error, httpx2.ConnectTimeout):
        return SidecarError("timeout", "The provider could not be reached in time.", phase="connect")
    if isinstance(error, httpx2.TimeoutException):
        text = "The provider fell silent." if phase == "idle" else "The provider sent no reply in time."
        return SidecarError("timeout", text, phase="idle" if phase == "idle" else "headers")
    malformed = (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol, httpx2.InvalidURL, UnicodeEncodeError)
    if isinstance(error, malformed):
        # Its text may hold the header's value.
        return SidecarError("invalid_request", "The request cannot be sent: a header or the address is malformed.")
    if isinstance(error, httpx2.RemoteProtocolError) and _is_malformed(error):
        text = "The provider's reply is no proper HTTP."
        return SidecarError("provider_error", text, reason="protocol")
    if isinstance(error, httpx2.ProxyError):
        return SidecarError("network_error", "The proxy refused the connection.", reason="proxy")
    return _network_failure(error)


_CUT = ("Server disconnected", "peer closed connection")
"""How the client's words for a reply that just ends begin; its others are for one that is wrong."""


def _is_malformed(error: Exception) -> bool:
    return type(error).__name__ == "RemoteProtocolError" and not str(error).startswith(_CUT)


def _network_failure(error: Exception) -> SidecarError:
    causes = list(_chain(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return SidecarError(
            "network_error",
            "The provider's TLS certificate is not trusted.",
            reason="tls",
            retryable=False,
            hint="Add your organization's root certificate to the system's trust store, or set SSL_CERT_FILE.",
        )
    if handshake := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
        # Broken off, it may be better next time; refused, it will not.
        return SidecarError(
            "network_error",
            "The TLS connection failed.",
            reason="tls",
            retryable=isinstance(handshake, (ssl.SSLEOFError, ssl.SSLZeroReturnError)),
        )
    if lookup := next((cause for cause in causes if type(cause).__name__ == "gaierror"), None):
        may_pass = lookup.args[0] not in _NO_SUCH_NAME
        text = "The provider's host name could not be resolved."
        return SidecarError("network_error", text, reason="dns", retryable=may_pass)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return SidecarError("network_error", "The connection was refused.", reason="refused")
    return SidecarError("network_error", "The connection broke.", reason="connection")


def _chain(error: BaseException) -> Iterator[BaseException]:
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
