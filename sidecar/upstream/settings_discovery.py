"""Settings that nobody has set and that this machine's own credentials know: asked for, and remembered for a moment.

Knows when to ask, and for how long an answer is good. Must not know schemes.
"""

import hashlib
from typing import Any

import anyio
import msgspec

from sidecar.auth import authorize
from sidecar.auth.scheme import Lookup
from sidecar.providers import credentials
from sidecar.providers.resolve import add_settings
from sidecar.providers.settings import find_undiscovered
from sidecar.providers.values import Provider, ResolvedProvider
from sidecar.upstream.context import Upstream

LOOK_SECONDS = 2.0
"""How long an answer is good: what a provider's own tools set counts here without a restart."""

MAX_KEPT = 100
"""Answers that are remembered: a request may name a profile, or bring a document, of its own."""


class _Answer(msgspec.Struct, frozen=True):
    settings: dict[str, str]
    until: float


async def discover_settings(up: Upstream, resolved: ResolvedProvider) -> ResolvedProvider:
    """Return *resolved* with what the machine's credentials know of the settings that nobody has set.

    Raises: SidecarError `invalid_request`, and what the scheme raises for credentials that it cannot use.
    """
    return await _discover(up, resolved, find_undiscovered(resolved.provider, resolved.spec.settings))


async def discover_price_settings(up: Upstream, resolved: ResolvedProvider) -> ResolvedProvider:
    """Return *resolved* with what the machine's credentials know of the settings on which a price depends.

    Raises: as `discover_settings` does.
    """
    names = find_undiscovered(resolved.provider, resolved.spec.settings)
    return await _discover(up, resolved, names & {each.setting for each in resolved.provider.row.pricing.factors})


async def _discover(up: Upstream, resolved: ResolvedProvider, names: frozenset[Any]) -> ResolvedProvider:
    if not names:
        return resolved
    provider = resolved.provider
    lookup = Lookup(
        provider=provider.id,
        names=names,
        settings=resolved.settings,
        credential=credentials.find_credential(provider, resolved.spec),
        env=up.config.env,
        exchange=up.exchange,
        memory=up.memory,
    )
    settings = await _ask_once(up, provider, lookup)
    return add_settings(resolved, settings) if settings else resolved


async def _ask_once(up: Upstream, provider: Provider, lookup: Lookup) -> dict[str, str]:
    """Return what the scheme knows, or has said a moment ago."""
    answers: dict[Any, _Answer] = up.discovered_settings
    credential = lookup.credential
    digest = hashlib.sha256(credential.reveal().encode()).digest() if credential else b""
    key = (provider.id, lookup.names, str(sorted(lookup.settings.items(), key=str)), digest)
    answer = answers.get(key)
    if answer is not None and anyio.current_time() < answer.until:
        return answer.settings

    async def ask() -> dict[str, str]:
        row = provider.row
        settings = await authorize.find_settings(row.auth.scheme, lookup)
        if len(answers) >= MAX_KEPT:
            answers.clear()
        # Where the lack of one is an error, the user mends that and tries again.
        if all(each in settings or row.settings[each].default is not None for each in lookup.names):
            answers[key] = _Answer(settings, anyio.current_time() + LOOK_SECONDS)
        return settings

    return await up.single_flight.run_once((__name__, key), ask)
