"""Stored logins that wear off or are taken back: renewed once for all requests and all processes, or forgotten.

Knows when a login is old. Must not know how a scheme uses it.
"""

from datetime import UTC, datetime, timedelta

import msgspec

from sidecar import device_flow
from sidecar.auth import Call
from sidecar.errors import SidecarError
from sidecar.resolve import Target
from sidecar.secret import Secret
from sidecar.store import Secrets, Store, Stored

EARLY = timedelta(minutes=5)
"""A login is renewed this long before it wears off."""


async def current(call: Call) -> Target:
    """Return the call's target with a login that is good for a while, when its own is a stored one that wears off.

    Raises: SidecarError `auth_required` when it cannot be renewed any more.
    """
    target, stored = call.target, _stored(call)
    if stored is None or stored.expires_at is None or stored.secrets is None or stored.secrets.renewal is None:
        return target
    if datetime.fromisoformat(stored.expires_at) - datetime.now(UTC) > EARLY or not call.flights or not call.store:
        return target
    store, name = call.store, target.route.provider
    fresh: Stored | None = await call.flights.share(("renewal", name), lambda _: _in_store(store, call))
    if fresh is None or fresh.secrets is None:
        raise SidecarError("auth_required", "There is no stored login any more.", hint=LOG_IN)
    return msgspec.structs.replace(target, credential=Secret(fresh.secrets.value, "store", fresh.kind, fresh.home))


LOG_IN = "Log in again with `authenticate`."


async def taken_back(call: Call) -> SidecarError | None:
    """Forget the call's stored login, which its provider no longer knows, and return what to say of it.

    None when it is not a stored one.
    """
    if _stored(call) is None or call.store is None:
        return None
    await call.store.remove(call.target.route.provider)
    return SidecarError("auth_required", "The provider has taken the stored login back.", hint=LOG_IN)


def _stored(call: Call) -> Stored | None:
    credential = call.target.credential
    if call.store is None or credential is None or credential.source != "store":
        return None
    return call.store.get(call.target.route.provider)


async def _in_store(store: Store, call: Call) -> Stored | None:
    name = call.target.route.provider
    try:
        return await store.renew(name, lambda old: _renewed(call, old))
    except SidecarError as error:
        if error.body.code == "auth_required":
            await store.remove(name)
        raise


async def _renewed(call: Call, old: Stored) -> Stored:
    login = call.target.row.login
    if login is None or old.secrets is None or old.secrets.renewal is None:
        return old
    at = device_flow.endpoints(login, call.target.route.settings)
    tokens = await device_flow.renew(call.http, at, old.secrets.renewal)
    now = datetime.now(UTC)
    return msgspec.structs.replace(
        old,
        saved_at=now.isoformat(),
        expires_at=device_flow.expires_at(tokens, now),
        secrets=Secrets(tokens.access.reveal(), tokens.renewal.reveal() if tokens.renewal else None),
    )
