"""What this machine's own credentials know of a provider's settings that nobody has given: asked for, and remembered.

Knows when it is worth asking, and for how long an answer is good. Must not know schemes.
"""

import hashlib
from typing import Any

import anyio
import msgspec

from protocol.requests import Chat, ListModels
from sidecar.auth import authorize
from sidecar.auth.authorize import Lookup
from sidecar.catalogue import provider_rows
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.providers import resolve, settings
from sidecar.providers.setup import Setup
from sidecar.upstream.context import Upstream

LOOK_SECONDS = 2.0
"""How long an answer is good: what a provider's own tools set counts here without a restart."""

MAX_KEPT = 100
"""Answers that are remembered: a request may name a profile, or bring a document, of its own."""


class _Kept(msgspec.Struct, frozen=True):
    found: dict[str, str]
    until: float


async def informed(up: Upstream, provider: str | None, params: Chat | ListModels) -> Setup:
    """Return the setup, with what the machine knows of the settings that *params* and the user leave open.

    Raises: SidecarError `unknown_provider` or `invalid_request`, as `resolve` does for the same request; what the
    scheme does for credentials that it cannot use.
    """
    return await _informed(up, provider, params, None)


async def placed(up: Upstream, provider: str | None, chat: Chat) -> Setup:
    """Return the setup, with what the machine knows of the settings that a price depends on.

    Raises: as `informed` does.
    """
    name, _ = resolve.split_model(up.config, provider, chat.model)
    row = provider_rows.providers().get(name)
    return await _informed(up, provider, chat, frozenset(each.setting for each in (row.price_factors if row else ())))


async def _informed(
    up: Upstream, provider: str | None, params: Chat | ListModels, only: frozenset[Any] | None
) -> Setup:
    setup = up.setup
    name, _ = resolve.split_model(up.config, provider, params.model if isinstance(params, Chat) else "*")
    row = provider_rows.providers().get(name)
    lacking = settings.lacking(setup, name, row, params.settings) if row else frozenset()
    lacking = lacking if only is None else lacking & only
    if row is None or not lacking:
        return setup
    lookup = Lookup(
        lacking=lacking,
        own=settings.merged(setup, name, row, params.settings),
        credential=resolve.credential_of(setup, name, row, params),
        env=up.config.env,
        http=up.http,
        sessions=up.sessions,
    )
    found = await _found(up, name, row, lookup)
    if not found:
        return setup
    return Setup(up.config, msgspec.structs.replace(setup.found, settings={name: found}))


async def _found(up: Upstream, name: str, row: ProviderRow, lookup: Lookup) -> dict[str, str]:
    """Return what the scheme finds, or has found a moment ago."""
    everything: dict[Any, _Kept] = up.sessions.setdefault(__name__, {})
    credential = lookup.credential
    digest = hashlib.sha256(credential.reveal().encode()).digest() if credential else b""
    key = (name, lookup.lacking, str(sorted(lookup.own.items(), key=str)), digest)
    kept = everything.get(key)
    if kept is not None and anyio.current_time() < kept.until:
        return kept.found

    async def ask() -> dict[str, str]:
        found = await authorize.settings(row.auth, lookup)
        if len(everything) >= MAX_KEPT:
            everything.clear()
        # Where the lack of one is an error, the user mends that and tries again.
        if all(each in found or row.settings[each].default is not None for each in lookup.lacking):
            everything[key] = _Kept(found, anyio.current_time() + LOOK_SECONDS)
        return found

    return await up.single_flight.run_once((__name__, key), ask)
