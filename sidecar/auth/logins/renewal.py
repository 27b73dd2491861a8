"""Stored logins that expire or are revoked: renewed once for all requests and all processes, or forgotten.

Knows when a login is old. Must not know how a scheme uses it.
"""

import time
from datetime import UTC, datetime, timedelta

import msgspec

from sidecar.auth.logins import device_flow
from sidecar.auth.logins.store import Store
from sidecar.auth.logins.stored import Secrets, Stored
from sidecar.auth.scheme import Call
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.providers.values import Target

EARLY = timedelta(minutes=5)
"""How long before it expires a login is renewed."""

MIN_GAP = timedelta(minutes=1)
"""The least time between two renewals, however short a life the provider gives: there must be no storm of them."""

LOG_IN_HINT = "Log in again with `authenticate`."


async def refresh(call: Call) -> Target:
    """Return the call's target with a login that is valid for a while, where its own is a stored one that expires.

    A login that cannot be renewed for now is used until it expires.

    Raises: SidecarError `auth_required` when it cannot be renewed any more.
    """
    target, stored = call.target, _find_stored(call)
    if stored is None or stored.expires_at is None or stored.secrets is None or stored.secrets.renewal is None:
        return target
    left = datetime.fromisoformat(stored.expires_at) - datetime.now(UTC)
    failed_at = call.memory.renewal_failed_at.get(target.route.provider)
    has_just_failed = failed_at is not None and time.monotonic() - failed_at < MIN_GAP.total_seconds()
    if left > EARLY or _is_new(stored) or (left > timedelta() and has_just_failed):
        return target
    try:
        renewed = await _renew_once(call)
    except SidecarError as error:
        if left <= timedelta() or not error.body.retryable:
            raise
        call.memory.renewal_failed_at[target.route.provider] = time.monotonic()
        return target
    return _use(target, renewed, "There is no stored login any more.")


async def replace(call: Call) -> Target | None:
    """Return the call's target with another login than the stored one, which its provider has refused.

    That is the login by which it was renewed or replaced meanwhile, here or by another process, or a renewed one. None
    when the refused login is not a stored one, or is new.

    Raises: SidecarError `auth_required` when there is no other login; the stored one is forgotten.
    """
    stored, refused = _find_stored(call), call.target.credential
    if stored is None or stored.secrets is None or refused is None or call.store is None:
        return None
    if stored.secrets.value == refused.reveal():
        if stored.secrets.renewal is None:
            await call.store.remove(call.target.route.provider, only=stored)
            stored = _find_stored(call)
        elif _is_new(stored):
            return None
        else:
            stored = await _renew_once(call)
    return _use(call.target, stored, "The provider has revoked the stored login.")


def _use(target: Target, stored: Stored | None, lack: str) -> Target:
    if stored is None or stored.secrets is None:
        raise SidecarError("auth_required", lack, hint=LOG_IN_HINT)
    return msgspec.structs.replace(target, credential=Secret(stored.secrets.value, "store", stored.kind, stored.server))


def _is_new(stored: Stored) -> bool:
    return timedelta() <= datetime.now(UTC) - datetime.fromisoformat(stored.saved_at) < MIN_GAP


def _find_stored(call: Call) -> Stored | None:
    """Return the stored login that the call's credential comes from."""
    credential = call.target.credential
    if call.store is None or credential is None or credential.source != "store":
        return None
    return call.store.get(call.target.route.provider)


async def _renew_once(call: Call) -> Stored | None:
    """Return the renewed login, for all who need it now; None when there is no stored login any more."""
    if call.store is None:
        return None
    store, name = call.store, call.target.route.provider
    return await call.memory.single_flight.run_once(("renewal", name), lambda: _renew_in_store(store, call))


async def _renew_in_store(store: Store, call: Call) -> Stored | None:
    name = call.target.route.provider
    old = store.get(name)
    try:
        return await store.renew(name, lambda known: _ask(call, known))
    except SidecarError as error:
        if error.body.code == "auth_required":
            await store.remove(name, only=old)
        raise


async def _ask(call: Call, old: Stored) -> Stored:
    """Return the login that the provider gives for the refresh token of the *old* one."""
    login = call.target.row.auth.login
    if login is None or old.secrets is None or old.secrets.renewal is None:
        return old
    at = device_flow.make_endpoints(login, call.target.route.settings)
    tokens = await device_flow.renew(call.exchange, at, Secret(old.secrets.renewal, "store"))
    now = datetime.now(UTC)
    return msgspec.structs.replace(
        old,
        saved_at=now.isoformat(),
        expires_at=device_flow.compute_expiry(tokens, now),
        secrets=Secrets(tokens.access.reveal(), tokens.renewal.reveal() if tokens.renewal else None),
    )
