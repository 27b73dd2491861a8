"""Anthropic: a key, or the login of a profile or of a workload, as Anthropic's own SDK finds it.

The chain is the SDK's: the profile that ANTHROPIC_PROFILE names, the workload that
ANTHROPIC_FEDERATION_RULE_ID describes, the active profile of ANTHROPIC_CONFIG_DIR. It is imported
and asked in a worker thread, with a client of its own, and not at all for a key.
Source: anthropic 2.11.0 `lib/credentials/`, read 2026-11.
"""

import time
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from sidecar.auth.authorize import MIN_AGE_SECONDS, Call, minted_anew
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.providers.values import Target

BETA = "oauth-2025-04-20"
"""What a login's token needs in `anthropic-beta`."""

REFRESH_EARLY_SECONDS = 120.0
"""A token is renewed this long before it wears off, as the SDK does: some last ten minutes."""

LIMIT_SECONDS = 35.0
"""How long a token is waited for; the SDK itself waits 30."""

_HINT = "Log in to the profile again, or set ANTHROPIC_API_KEY."


class Login(msgspec.Struct, frozen=True):
    """A token and what goes with it. Times are on the monotonic clock; `until` None: it does not wear off."""

    token: Secret
    headers: dict[str, str]
    base_url: str | None
    since: float
    until: float | None
    renewed: bool
    """The token took the place of a refused one."""


async def prepare(call: Call) -> Target:
    """Return the target at the address that the login's profile names.

    Raises: SidecarError `auth_required` for an address of the user's own: the login was not given for that.
    """
    target = call.target
    if target.credential is not None:
        return target
    if target.has_custom_address:
        text = "This machine's Anthropic login is for Anthropic's own address alone."
        raise SidecarError("auth_required", text, hint="Put a key beside that base_url.")
    login = await _login(call)
    if login.base_url is None:
        return target
    base_url = url_policy.base_url(login.base_url, "base_url", private_network=False)
    route = msgspec.structs.replace(target.route, base_url=base_url)
    return msgspec.structs.replace(target, route=route, list_base_url=base_url)


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Get a new token after a refusal; None when that would not help."""
    known: Login | None = call.sessions.get(__name__)
    return await minted_anew(call, error, known, lambda: _asked(call, renewed=True))


async def headers(call: Call) -> dict[str, str]:
    """Return the header of the key, or those of the login.

    Raises: SidecarError `auth_required` when there is none, `auth_failed` when it is refused.
    """
    credential = call.target.credential
    if credential is not None:
        return {"authorization": f"Bearer {credential.reveal()}"}
    login = await _login(call)
    wanted = call.request.headers.get("anthropic-beta") if call.request else None
    betas = {"anthropic-beta": f"{wanted},{BETA}" if wanted else BETA}
    return login.headers | betas | {"authorization": f"Bearer {login.token.reveal()}"}


async def _login(call: Call) -> Login:
    known: Login | None = call.sessions.get(__name__)
    if known is not None and (known.until is None or time.monotonic() < known.until):
        return known
    return await _asked(call, renewed=False)


async def _asked(call: Call, *, renewed: bool) -> Login:
    """Return the login with a token of now, asked for once for all who need it."""

    async def ask() -> Login:
        try:
            with anyio.fail_after(LIMIT_SECONDS):
                # A thread that nobody waits for any longer ends by the SDK's own limit.
                login = await anyio.to_thread.run_sync(_found, renewed, abandon_on_cancel=True)
        except TimeoutError:
            raise SidecarError("timeout", "No access token came in time.", phase="headers") from None
        call.sessions[__name__] = login
        return login

    if call.single_flight is None:
        return await ask()
    return await call.single_flight.run_once(__name__, ask)


def _found(renewed: bool) -> Login:  # noqa: FBT001 - of a call in a thread
    """Return what the SDK's chain finds; imports the SDK, reads files and asks the token endpoint."""
    import anthropic
    from anthropic.lib import credentials

    try:
        result: Any = credentials.default_credentials()
        if result is None:
            raise SidecarError("auth_required", "There is no Anthropic login on this machine.", hint=_HINT)
        token: Any = result.provider(force_refresh=renewed)
    except credentials.WorkloadIdentityError as error:
        raise _refused(error) from None
    except (anthropic.AnthropicError, OSError, ValueError):
        # What is wrong with the profile may be a part of it, so it is not said.
        raise SidecarError("auth_required", "The Anthropic profile cannot be used.", hint=_HINT) from None
    now = time.monotonic()
    life = None if token.expires_at is None else token.expires_at - time.time() - REFRESH_EARLY_SECONDS
    return Login(
        token=Secret(token.token, "none", "token"),
        headers={name.lower(): value for name, value in result.extra_headers.items()},
        base_url=result.base_url.rstrip("/") if result.base_url else None,
        since=now,
        until=None if life is None else now + max(MIN_AGE_SECONDS, life),
        renewed=renewed,
    )


def _refused(error: Any) -> SidecarError:
    status = error.status_code
    if status is None:
        return SidecarError("network_error", "Anthropic's login could not be reached.", reason="login")
    if status >= 500 or status == 429:
        return SidecarError("provider_error", "Anthropic could not make an access token.", provider_status=status)
    return SidecarError("auth_required", "Anthropic no longer accepts this machine's login.", hint=_HINT)
