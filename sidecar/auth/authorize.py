"""Credentials → headers, by the scheme that a provider's table names; and errors without what schemes have minted."""

from collections.abc import Iterable

from sidecar.auth import redaction, registry
from sidecar.auth.redaction import Authorized
from sidecar.auth.scheme import Call, Lookup
from sidecar.core.errors import SidecarError
from sidecar.providers.values import Target

REFUSED = (401, 403)
"""Statuses after which another credential may help."""


async def prepare(call: Call) -> Target:
    """Return the call's target with what its credential knows of the address.

    Raises: SidecarError as the scheme does.
    """
    if call.target.row.auth.scheme == "none":
        return call.target
    return await registry.load_scheme(call.target.row.auth.scheme).prepare(call)


async def make_headers(call: Call) -> Authorized:
    """Return the headers that authorize the call's request, of a gateway before the provider too.

    Raises: SidecarError as the scheme does.
    """
    if call.target.row.auth.scheme == "none":
        return Authorized()
    made = await registry.load_scheme(call.target.row.auth.scheme).make_headers(call)
    gateway = call.target.gateway_headers
    return Authorized(made.headers | gateway, made.secret_names | gateway.keys()) if gateway else made


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Return a target with a better credential after *error*, or None when there is none.

    Raises: SidecarError as the scheme does.
    """
    if call.target.row.auth.scheme == "none" or error.body.provider_status not in REFUSED:
        return None
    return await registry.load_scheme(call.target.row.auth.scheme).renew(call, error)


async def find_settings(scheme: str, lookup: Lookup) -> dict[str, str]:
    """Return what the credentials of *scheme* know of the settings that are lacking.

    Raises: SidecarError as the scheme does.
    """
    return await registry.load_settings_scheme(scheme).find_settings(lookup)


def redact(error: SidecarError, target: Target, secrets: Iterable[str]) -> SidecarError:
    """Return *error* without the target's credentials and *secrets*, which its scheme has made of them.

    Some providers repeat what they were asked with.
    """
    own = [target.credential.reveal()] if target.credential else []
    gateway = Authorized(target.gateway_headers, frozenset(target.gateway_headers)).list_secrets()
    return redaction.redact(error, [*own, *gateway, *secrets])
