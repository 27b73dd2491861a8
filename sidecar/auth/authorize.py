"""Credentials → headers: one module for each scheme, found by name and imported on first use.

A module offers `async headers(call) -> dict[str, str]`, which may wait for a refresh. One whose
credentials lead to an address or wear off offers two more, and its providers' tables say
`auth.renews`: `async prepare(call) -> Target`, asked before a request is encoded, and
`async renew(call, error) -> Target | None`, asked once after a refusal. One whose credentials know
settings that nobody has given (`discoverable`) offers
`async settings(lookup) -> dict[str, str]`, asked before a target is made.
"""

import importlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from protocol.requests import Chat, ClientInfo
from sidecar.auth.exchange import Exchange
from sidecar.auth.logins.store import Store
from sidecar.auth.memory import Memory
from sidecar.core.errors import SidecarError, without
from sidecar.core.http import HttpRequest, Transport
from sidecar.core.secret import Secret
from sidecar.core.single_flight import SingleFlight
from sidecar.providers.values import Target


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheme may look at."""

    target: Target
    http: Transport
    exchange: Exchange
    """Asks what the scheme has to ask."""
    memory: Memory
    """What the scheme remembers for as long as the process lives."""
    request: HttpRequest | None = None
    chat: Chat | None = None
    client: ClientInfo | None = None
    """The host editor's own name and version."""
    sessions: dict[Any, Any] = {}
    """What schemes remember for as long as the process lives."""
    single_flight: SingleFlight | None = None
    """Runs what several requests need at the same time once; None: each runs it for itself."""
    store: Store | None = None
    """Where a stored credential is from; None: it is not known."""
    origin: Target | None = None
    """The target as it was resolved, before `prepare`."""


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheme is asked for: settings that nobody has given."""

    lacking: frozenset[str]
    """Their names."""
    own: dict[str, Any]
    """The settings that are given."""
    credential: Secret | None
    """What the request would be sent with; None: the machine's own credentials."""
    env: Mapping[str, str]
    http: Transport
    sessions: dict[Any, Any]


def _scheme(target: Target) -> Any:
    return _module(target.row.auth.scheme)


def _module(scheme: str) -> Any:
    return importlib.import_module(f"sidecar.auth.schemes.{scheme}")


async def headers(call: Call) -> dict[str, str]:
    """Return the headers that authorize the call's request."""
    if call.target.row.auth.scheme == "none":
        return {}
    made: dict[str, str] = await _scheme(call.target).headers(call)
    return made | call.target.gateway_headers


async def prepare(call: Call) -> Target:
    """Return the call's target with what its credential knows of the address."""
    if not call.target.row.auth.renews:
        return call.target
    prepared: Target = await _scheme(call.target).prepare(call)
    return prepared


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Return a target with a fresh credential after *error*, or None when there is no better one."""
    if not call.target.row.auth.renews or error.body.provider_status not in (401, 403):
        return None
    renewed: Target | None = await _scheme(call.target).renew(call, error)
    return renewed


MIN_AGE_SECONDS = 60.0
"""A token of the machine's own login is at least used for so long, and none that is younger is replaced."""


class Minted(Protocol):
    """A token that a scheme has made of the machine's own login."""

    @property
    def since(self) -> float:
        """When it came, on the monotonic clock."""

    @property
    def renewed(self) -> bool:
        """Whether it took the place of a refused one."""


async def minted_anew(
    call: Call, error: SidecarError, known: Minted | None, mint: Callable[[], Awaitable[object]]
) -> Target | None:
    """Have a scheme *mint* a token after its last one, *known*, was refused; None when that would not help."""
    if call.target.credential is not None or error.body.provider_status != 401 or known is None:
        return None
    if time.monotonic() - known.since < MIN_AGE_SECONDS:
        # What was refused may be the token before, which another request has renewed meanwhile.
        return call.target if known.renewed else None
    await mint()
    return call.target


async def settings(scheme: str, lookup: Lookup) -> dict[str, str]:
    """Return what the credentials of *scheme* know of the settings that are lacking."""
    found: dict[str, str] = await _module(scheme).settings(lookup)
    return found


def hide(error: SidecarError, target: Target, sent: Mapping[str, str] | None = None) -> SidecarError:
    """Return *error* without the target's credential and what *sent*, the headers that were made of it, have of it.

    Some providers repeat to whoever asks what they were asked with.
    """
    made = {**target.gateway_headers, **(sent or {})}
    bearing = [made[name].rpartition(" ")[2] for name in (*_BEARING, *target.gateway_headers) if name in made]
    keys = [*([target.credential.reveal()] if target.credential else ()), *bearing]
    said = {name: getattr(error.body, name) for name in ("message", "provider_code", "request_id", "hint")}
    for key in keys:
        said = {name: text and without(text, key) for name, text in said.items()}
    return error.with_(**said) if keys else error


_BEARING = ("authorization", "x-amz-security-token")
"""The headers of what schemes make of a login."""
