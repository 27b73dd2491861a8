"""A plain key in one header: `Authorization: Bearer …`, or the header that the provider's table names."""

from sidecar.auth.redaction import Authorized
from sidecar.auth.scheme import Call
from sidecar.core.errors import SidecarError
from sidecar.providers.values import Target


async def prepare(call: Call) -> Target:
    """Return the target as it is: a key leads to no address."""
    return call.target


async def make_headers(call: Call) -> Authorized:
    """Return the one header, or none for a provider that needs no key."""
    credential = call.target.credential
    if credential is None:
        return Authorized()
    name = "authorization" if credential.kind == "token" else call.target.row.auth.header
    value = credential.reveal()
    headers = {name: f"Bearer {value}" if name == "authorization" else value}
    return Authorized(headers, frozenset({name}))


async def renew(call: Call, error: SidecarError) -> Target | None:  # noqa: ARG001 - what a scheme offers
    """Return None: there is nothing better than the user's own key."""
    return None
