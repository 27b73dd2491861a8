"""HTTP: the one door to it. One client, one TLS context and one pool for the process.

Knows which of two clients carries a request: our own connections (`sidecar.http.direct`), or httpx2
(`sidecar.http.proxied`) where a proxy may be needed. Their replies read alike. Must not know providers or bodies.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from sidecar import __version__
from sidecar.config import proxies
from sidecar.core import event_loop, platforms, url_policy
from sidecar.core.errors import SidecarError
from sidecar.core.http import ClientName, HttpRequest, HttpTimeouts, Response, RetryBudget, Trace, is_encoded
from sidecar.core.log import log
from sidecar.http import failures
from sidecar.http.exchange import Exchange, Reply
from sidecar.http.message import Target, is_ordinary, read_target

if TYPE_CHECKING:
    from sidecar.http.direct import Direct
    from sidecar.http.proxied import Proxied

RESERVED_FILES = 28
"""Open files that the process needs beside its connections: pipes, the loop, what is read, name lookups."""

STALE_CONNECTIONS = 3
"""How many that turn out to be closed as they are used are replaced: a server may have closed all that were idle."""


class HttpClient:
    """The process's HTTP client, made when first needed."""

    def __init__(self, client: ClientName = "direct") -> None:
        """Let *client* carry what it can."""
        self._client = client
        self._direct: Direct | None = None
        self._proxied: Proxied | None = None
        self._has_proxies: bool | None = None
        self._named: dict[str, proxies.NamedProxy] | None = None

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

        Raises: SidecarError `network_error`, `timeout`, `provider_error` (no HTTP), `invalid_request` (a header that
        cannot be sent, a path with steps, a name that leads to a link-local address).
        """
        if url_policy.has_dot_segments(request.url):
            text = "A name in the request's address, the model's as a rule, has a `.` or `..` for a step."
            raise SidecarError("invalid_request", text, reason="address")
        headers = {"user-agent": f"sidecar/{__version__}", "accept-encoding": "identity"} | request.headers | {**auth}
        exchange = Exchange(request, headers, timeouts, trace, guarded=not link_local)
        exchange.enter("connect")
        began_at = time.monotonic()
        try:
            with anyio.fail_after(timeouts.first_byte_seconds):
                reply = await _answered(self._sender(exchange), exchange, budget)
        except TimeoutError:
            raise failures.make_silence_error("headers") from None
        except SidecarError as error:
            raise _add_address(error, request.url) from None
        try:
            exchange.enter("idle")
            if 200 <= reply.status < 300 and is_encoded(reply.headers):
                text = "The provider compressed its reply, unasked."
                raise SidecarError("provider_error", text, reason="content_encoding")
            log("debug", "http.reply", status=reply.status, ms=int((time.monotonic() - began_at) * 1000))
            yield Response(reply.status, reply.headers, reply.body)
        finally:
            await reply.close()

    def prepare_tls(self) -> None:
        """Begin to make the TLS context, in a thread, if direct connections can carry requests."""
        if self._client == "direct" and not self._find_proxies():
            self._ready_direct().prepare_tls()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._direct is not None:
            self._direct.close()
        if self._proxied is not None:
            await self._proxied.aclose()

    def _sender(self, exchange: Exchange) -> Callable[[Exchange], Awaitable[Reply]]:
        """Return what sends *exchange*: our own connections, or the client for all that is rare and intricate."""
        ours = self._client == "direct" and is_ordinary(exchange.headers)
        target = read_target(exchange.request.url) if ours else None
        if target is not None and not self._may_need_proxy(target):
            log("debug", "http.send", client="direct")
            return partial(self._ready_direct().send, target=target)
        log("debug", "http.send", client="httpx2")
        return self._ready_proxied().send

    def _may_need_proxy(self, target: Target) -> bool:
        return self._find_proxies() and not _is_near(target.host) and not proxies.is_excluded_by_variable(target.host)

    def _find_proxies(self) -> bool:
        if self._has_proxies is None:
            self._has_proxies = proxies.find_any()
        return self._has_proxies

    def _choose_proxy(self, url: str) -> str | None:
        """Return the proxy for *url*, empty for none; None leaves the choice to a client that reads the environment.

        That client cannot be made where it does not understand one of the variables, so the choice is ours then.

        Raises: SidecarError `network_error` for a proxy that no request can be sent through.
        """
        if self._named is None:
            self._named = proxies.read_all()
        try:
            parts = urlsplit(url)
            scheme, host = parts.scheme.lower(), parts.hostname or ""
        except ValueError:
            return ""
        if _is_near(host):
            return ""
        if all(proxy.url for proxy in self._named.values()):
            return None
        proxy = self._named.get(scheme) or self._named.get("all")
        if proxy is None or proxies.is_excluded(host):
            return ""
        if proxy.url is None:
            raise failures.make_unusable_proxy_error(proxy.variable)
        return proxy.url

    def _ready_direct(self) -> "Direct":
        from sidecar.http.direct import Direct  # Not needed before the first request.

        if self._direct is None:
            self._direct = Direct(_count_connections())
        return self._direct

    def _ready_proxied(self) -> "Proxied":
        from sidecar.http.proxied import Proxied  # Not needed before the first request.

        if self._proxied is None:
            self._proxied = Proxied(_count_connections(), self._choose_proxy)
            event_loop.allow_many_lookups()
        return self._proxied


def _add_address(error: SidecarError, url: str) -> SidecarError:
    """Return *error*, with the address if nothing listens there on this machine, which no proxy is asked about."""
    if error.body.reason != "refused" or error.body.hint or not _is_near(urlsplit(url).hostname or ""):
        return error
    place = url_policy.get_origin(url)
    return error.with_fields(hint=f"Nothing listens at {place}: start the server, or check `base_url`.")


def _is_near(host: str) -> bool:
    """Return whether *host* is this machine or on its link. To a proxy, these names mean its own machine and link."""
    return url_policy.is_loopback(host) or url_policy.is_link_local(host)


def _count_connections() -> int | None:
    """Return how many connections may be open. Further requests wait: without a free file no module can be imported."""
    files = platforms.get_file_limit()
    return None if files is None else max(1, files - RESERVED_FILES)


async def _answered(
    send: Callable[[Exchange], Awaitable[Reply]], exchange: Exchange, budget: RetryBudget | None
) -> Reply:
    """Send *exchange*, again where the server closed an idle connection just as it was used."""
    replaced, spent = 0, 0
    while True:
        exchange.fresh = False
        try:
            reply = await send(exchange)
        except SidecarError as error:
            if exchange.fresh or replaced == STALE_CONNECTIONS or error.body.code != "network_error":
                raise
            paid = budget.take(error.body) if budget else 0
            if paid is None:
                raise
            replaced, spent = replaced + 1, spent + paid
            continue
        if budget and spent:
            budget.give_back(spent)
        return reply
