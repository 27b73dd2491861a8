"""Stored logins that wear off or are taken back: renewed once for all requests and all processes, or forgotten.

Knows when a login is old. Must not know how a scheme uses it.
"""

import time
from datetime import UTC, datetime, timedelta

import msgspec

from sidecar.auth.authorize import Call
from sidecar.auth.logins import device_flow
from sidecar.auth.logins.store import Secrets, Store, Stored
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.providers.values import Target

EARLY = timedelta(minutes=5)
"""A login is renewed this long before it wears off."""

GAP = timedelta(minutes=1)
"""What is at least between two renewals, however short a life the provider gives: there must be no storm of them."""


async def current(call: Call) -> Target:
    """Return the call's target with a login that is good for a while, when its own is a stored one that wears off.

    One that could not be renewed for now is used for as long as it is good.

    Raises: SidecarError `auth_required` when it cannot be renewed any more.
    """
    target, stored = call.target, _stored(call)
    if stored is None or stored.expires_at is None or stored.secrets is None or stored.secrets.renewal is None:
        return target
    left = datetime.fromisoformat(stored.expires_at) - datetime.now(UTC)
    failed_at = call.sessions.get(__name__)
    has_just_failed = failed_at is not None and time.monotonic() - failed_at < GAP.total_seconds()
    if left > EARLY or _is_new(stored) or (left > timedelta() and has_just_failed):
        return target
    try:
        fresh = await _shared(call)
    except SidecarError as error:
        if left <= timedelta() or not error.body.retryable:
            raise
        call.sessions[__name__] = time.monotonic()
        return target
    return _with(target, fresh, "There is no stored login any more.")


LOG_IN = "Log in again with `authenticate`."


async def replaced(call: Call) -> Target | None:
    """Return the call's target with another login than the stored one, which its provider no longer knows.

    That is the one by which it was renewed or replaced meanwhile, here or by another process, or is renewed now. None
    when it is not a stored one, or came a moment ago.

    Raises: SidecarError `auth_required` when there is no other; the stored one is forgotten.
    """
    stored, refused = _stored(call), call.target.credential
    if stored is None or stored.secrets is None or refused is None or call.store is None:
        return None
    if stored.secrets.value == refused.reveal():
        if stored.secrets.renewal is None:
            await call.store.remove(call.target.route.provider, only=stored)
            stored = _stored(call)
        elif _is_new(stored):
            return None
        else:
            stored = await _shared(call)
    return _with(call.target, stored, "The provider has taken the stored login back.")


def _with(target: Target, stored: Stored | None, lack: str) -> Target:
    if stored is None or stored.secrets is None:
        raise SidecarError("auth_required", lack, hint=LOG_IN)
    return msgspec.structs.replace(target, credential=Secret(stored.secrets.value, "store", stored.kind, stored.home))


def _is_new(stored: Stored) -> bool:
    return timedelta() <= datetime.now(UTC) - datetime.fromisoformat(stored.saved_at) < GAP


def _stored(call: Call) -> Stored | None:
    credential = call.target.credential
    if call.store is None or credential is None or credential.source != "store":
        return None
    return call.store.get(call.target.route.provider)


async def _shared(call: Call) -> Stored | None:
    """Return the login that the stored one is renewed by, for all who need it now; None: there is none any more."""
    if call.single_flight is None or call.store is None:
        return None
    store, name = call.store, call.target.route.provider
    return await call.single_flight.run_once(("renewal", name), lambda: _in_store(store, call))


async def _in_store(store: Store, call: Call) -> Stored | None:
    name = call.target.route.provider
    old = store.get(name)
    try:
        return await store.renew(name, lambda known: _renewed(call, known))
    except SidecarError as error:
        if error.body.code == "auth_required":
            await store.remove(name, only=old)
        raise


async def _renewed(call: Call, old: Stored) -> Stored:
    login = call.target.row.auth.login
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
