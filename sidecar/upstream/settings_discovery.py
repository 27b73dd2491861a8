"""Settings that nobody has set and that this machine's own credentials know: looked up, and cached for a moment.

Knows when to ask, and how long an answer is used. Must not know schemes.
"""

import anyio

from sidecar.auth import authorize
from sidecar.auth.scheme import Lookup
from sidecar.providers import credentials
from sidecar.providers.resolve import add_settings
from sidecar.providers.settings import find_undiscovered
from sidecar.providers.values import Provider, ResolvedProvider
from sidecar.upstream.caches import CachedSettings, SettingsKey
from sidecar.upstream.context import Upstream

FRESH_SECONDS = 2.0
"""How long an answer is used. What a provider's own tools set counts here without a restart."""


async def discover_settings(up: Upstream, resolved: ResolvedProvider) -> ResolvedProvider:
    """Return *resolved* with the settings that nobody has set and the machine's credentials know.

    Raises: SidecarError `invalid_request`, or as the scheme does for credentials that it cannot use.
    """
    return await _discover(up, resolved, find_undiscovered(resolved.provider, resolved.spec.settings))


async def discover_price_settings(up: Upstream, resolved: ResolvedProvider) -> ResolvedProvider:
    """Return *resolved* with those of these settings on which a price depends.

    Raises: as `discover_settings` does.
    """
    names = find_undiscovered(resolved.provider, resolved.spec.settings)
    return await _discover(up, resolved, names & {each.setting for each in resolved.provider.row.pricing.factors})


async def _discover(up: Upstream, resolved: ResolvedProvider, names: frozenset[str]) -> ResolvedProvider:
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
    settings = await _find_settings(up, provider, lookup)
    return add_settings(resolved, settings) if settings else resolved


async def _find_settings(up: Upstream, provider: Provider, lookup: Lookup) -> dict[str, str]:
    """Return the settings that the scheme knows, from the cache if they are fresh."""
    key = SettingsKey(provider.id, _hash_lookup(lookup))
    cached = up.discovered_settings.get(key)
    if cached is not None and anyio.current_time() < cached.expires_at:
        return cached.settings

    async def ask() -> dict[str, str]:
        row = provider.row
        settings = await authorize.find_settings(row.auth.scheme, lookup)
        # A missing setting may be an error, which the user mends before trying again.
        if all(each in settings or row.settings[each].default is not None for each in lookup.names):
            expires_at = anyio.current_time() + FRESH_SECONDS
            up.discovered_settings.put(key, CachedSettings(settings, expires_at))
        return settings

    return await up.single_flight.run_once(key, ask)


def _hash_lookup(lookup: Lookup) -> bytes:
    credential = lookup.credential.reveal() if lookup.credential else None
    question = (sorted(lookup.names), sorted(lookup.settings.items(), key=str), credential)
    from hashlib import sha256  # Few providers need it.

    return sha256(str(question).encode()).digest()
