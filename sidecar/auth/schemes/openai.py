"""OpenAI: a key as bearer, or the identity of a workload, exchanged for a token by OpenAI's own SDK.

The SDK looks for no identity by itself. Which one it is, say the variables of OpenAI's guide:
OPENAI_IDENTITY_PROVIDER_ID and OPENAI_SERVICE_ACCOUNT_ID. Its own token is in the file
OPENAI_IDENTITY_TOKEN_FILE, or wherever the setting `subject_token` names another source of the SDK's;
none of them starts a program. The SDK is imported and asked in a worker thread, with a client of its
own, and not at all for a key.
Sources: openai 3.52.0 `auth/_workload.py`; the guides to workload identity federation, for the API and
for Codex; read 2026-11.
"""

import time
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from sidecar.auth.authorize import MIN_AGE_SECONDS, Call, minted_anew
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError, invalid
from sidecar.core.secret import Secret
from sidecar.providers.values import Target
from sidecar.upstream import http_client
from sidecar.wires.shared.error_rules import list_codes

HOST = "api.openai.com"
"""Where the identity's token goes, or to a region's host below it."""

REFRESH_EARLY_SECONDS = 120.0
"""A token is renewed this long before it wears off, or in the middle of a shorter life."""

LIMIT_SECONDS = 35.0
"""How long a token is waited for; the SDK itself waits 10 for each step."""

_HINT = (
    "Check OPENAI_IDENTITY_PROVIDER_ID, OPENAI_SERVICE_ACCOUNT_ID and OPENAI_IDENTITY_TOKEN_FILE, "
    "or set OPENAI_API_KEY."
)


class Login(msgspec.Struct, frozen=True):
    """A token and the SDK's object that it is from. Times are on the monotonic clock."""

    token: Secret
    sdk: Any
    since: float
    """When the token came."""
    until: float
    """When the SDK is asked again."""
    renewed: bool
    """The token took the place of a refused one."""


async def prepare(call: Call) -> Target:
    """Return the target as it is: an identity leads to no address.

    Raises: SidecarError `auth_required` for an address that is not OpenAI's own.
    """
    target = call.target
    if target.credential is not None or not target.has_custom_address:
        return target
    host = url_policy.host_of(target.route.base_url)
    if host != HOST and not host.endswith(f".{HOST}"):
        text = "This workload's identity is for OpenAI's own address alone."
        raise SidecarError("auth_required", text, hint="Put a key beside that base_url.")
    return target


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Get a new token after a refusal; None when that would not help."""
    known: Login | None = call.sessions.get(__name__)
    return await minted_anew(call, error, known, lambda: _asked(call, refused=known.token if known else None))


async def headers(call: Call) -> dict[str, str]:
    """Return the header of the key, or of the identity's token.

    Raises: SidecarError `auth_required` when there is none or it is refused; `network_error`, `provider_error` or
    `timeout` when none is to be had now.
    """
    credential = call.target.credential
    if credential is None:
        known: Login | None = call.sessions.get(__name__)
        login = known if known is not None and time.monotonic() < known.until else await _asked(call)
        credential = login.token
    return {"authorization": f"Bearer {credential.reveal()}"}


async def _asked(call: Call, refused: Secret | None = None) -> Login:
    """Return the login as the SDK has it now, asked once for all who need it."""

    async def ask() -> Login:
        try:
            with anyio.fail_after(LIMIT_SECONDS):
                known: Login | None = call.sessions.get(__name__)
                # A thread that nobody waits for any longer ends by the SDK's own limits.
                login = await anyio.to_thread.run_sync(_found, call.target, known, refused, abandon_on_cancel=True)
        except TimeoutError:
            # The SDK's object waits for that thread, and would make others wait with it.
            call.sessions.pop(__name__, None)
            raise SidecarError("timeout", "No access token came in time.", phase="headers") from None
        call.sessions[__name__] = login
        return login

    if call.single_flight is None:
        return await ask()
    return await call.single_flight.run_once(__name__, ask)


def _found(target: Target, known: Login | None, refused: Secret | None) -> Login:
    """Return what the SDK has; imports it, reads a file or asks a metadata server, and the token endpoint."""
    import openai

    sdk, unreachable = known.sdk if known else _workload(target.env, target.route.settings), http_client.client_errors()
    if refused is not None:
        sdk.invalidate_token(refused.reveal())
    try:
        value = sdk.get_token()
    except openai.OAuthError as error:
        word = error.error if isinstance(error.error, str) else ""
        text, code = "OpenAI does not accept this workload's identity.", next(iter(list_codes(word)), None)
        raise SidecarError("auth_required", text, provider_code=code, hint=_HINT) from None
    except (openai.OpenAIError, RuntimeError):
        # A status, a reply that makes no sense, or a token that has worn off already.
        raise SidecarError("provider_error", "OpenAI could not make an access token.", reason="login") from None
    except unreachable:
        raise SidecarError("network_error", "OpenAI's login could not be reached.", reason="login") from None
    now = time.monotonic()
    same = known is not None and known.token.reveal() == value
    return Login(
        token=Secret(value, "none", "token"),
        sdk=sdk,
        since=known.since if known and same else now,
        until=now + MIN_AGE_SECONDS,
        renewed=known.renewed if known and same else refused is not None,
    )


def _workload(env: Mapping[str, str], settings: Mapping[str, Any]) -> Any:
    """Return the SDK's object for the identity that the environment names.

    Raises: SidecarError `auth_required`, or `invalid_request` for a source that the SDK does not have.
    """
    import openai.auth

    provider, account = env.get("OPENAI_IDENTITY_PROVIDER_ID"), env.get("OPENAI_SERVICE_ACCOUNT_ID")
    if not provider or not account:
        raise SidecarError("auth_required", "There is no identity for OpenAI on this machine.", hint=_HINT)
    suffix, name, file = "_token_provider", settings.get("subject_token", FILE), env.get("OPENAI_IDENTITY_TOKEN_FILE")
    known = [each.removesuffix(suffix) for each in openai.auth.__all__ if each.endswith(suffix)]
    if name not in known:
        raise invalid(f"The setting `subject_token` must be one of {', '.join(sorted(known))}.", "subject_token")
    make = getattr(openai.auth, name + suffix)
    source = make(file) if name == FILE and file else make()

    def subject() -> str:
        try:
            token: str = source["get_token"]()
        except openai.OpenAIError:
            # What is wrong with it may be a part of it, so it is not said.
            raise SidecarError("auth_required", "The workload's own token is not to be had.", hint=_HINT) from None
        return token

    identity: Any = {
        "identity_provider_id": provider,
        "service_account_id": account,
        "provider": {"token_type": source["token_type"], "get_token": subject},
        "refresh_buffer_seconds": REFRESH_EARLY_SECONDS,
    }
    return openai.auth.WorkloadIdentityAuth(workload_identity=identity)


FILE = "k8s_service_account"
"""The SDK's name of the source that reads a file; without another name, that of the pod's service account."""
