"""What a scheme is given, and what it offers.

A scheme is a module of `sidecar.auth.schemes` that turns credentials into headers; `sidecar.auth.registry` lists them.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from protocol.requests import Chat, ClientInfo
from sidecar.auth.exchange import Exchange
from sidecar.auth.logins.store import Store
from sidecar.auth.memory import Memory
from sidecar.auth.redaction import Authorized
from sidecar.auth.token_cache import Key, Mint, Terms
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest
from sidecar.core.secret import Secret
from sidecar.providers.values import Target

T = TypeVar("T")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request that is to be authorized, and what the scheme may use for it."""

    target: Target
    exchange: Exchange
    memory: Memory
    request: HttpRequest | None = None
    """The request itself, for a scheme that signs it; None: it is not encoded yet."""
    chat: Chat | None = None
    client: ClientInfo | None = None
    """The host editor's own name and version."""
    store: Store | None = None
    """Where a stored credential comes from; None: it is not known."""
    origin: Target | None = None
    """The target as it was resolved, before `prepare`."""


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that nobody has given, and what the scheme may use to find them."""

    provider: str
    names: frozenset[str]
    """Of the settings that are looked for."""
    settings: dict[str, Any]
    """Those that have a value."""
    credential: Secret | None
    """What the request would be sent with; None: the machine's own credentials."""
    env: Mapping[str, str]
    exchange: Exchange
    memory: Memory


class Scheme(Protocol):
    """What every scheme offers."""

    async def prepare(self, call: Call) -> Target:
        """Return the target with what its credential knows of the address, before a request is encoded."""

    async def make_headers(self, call: Call) -> Authorized:
        """Return the headers that authorize the call's request; may wait for a token."""

    async def renew(self, call: Call, error: SidecarError) -> Target | None:
        """Return a target with a better credential after a refusal; None when there is none."""


class SettingsScheme(Protocol):
    """What a scheme offers whose credentials know settings: `discoverable` in a provider's table."""

    async def find_settings(self, lookup: Lookup) -> dict[str, str]:
        """Return those of the lacking settings that are known, before a target is made."""


async def replace_token(call: Call, error: SidecarError, key: Key, mint: Mint[T], terms: Terms) -> Target | None:
    """Return the call's target once its scheme's refused token is replaced; None when that would not help."""
    if error.body.provider_status != 401:
        return None
    token = await call.memory.tokens.replace(key, mint, terms)
    return None if token is None else call.target
