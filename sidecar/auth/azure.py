"""Azure OpenAI: a resource's key in `api-key`, or an Entra token as bearer, from the identity that this machine has.

The identity is that of the environment: an application with its secret or a federated token, or the
managed identity of a hosted service. A developer's own `az login` is asked for where the package
`azure-identity` is installed: it starts the program `az`. Sources: openai 3.52.0 lib/azure.py,
azure-identity 1.25 `_credentials/`, read 2026-11.
"""

import importlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import anyio
import anyio.to_thread
import msgspec

from sidecar import addresses, transport
from sidecar.auth import Call
from sidecar.errors import SidecarError
from sidecar.inflight import Progress
from sidecar.resolve import Target
from sidecar.secret import Secret
from sidecar.transport import Limits, Transport
from sidecar.wires import faults
from sidecar.wires.types import HttpRequest

SCOPE = "https://ai.azure.com/.default"
CLASSIC_SCOPE = "https://cognitiveservices.azure.com/.default"
"""Of the addresses that have an `api_version`."""

REFRESH_EARLY_SECONDS = 300.0
"""A token is renewed this long before it wears off."""

MIN_AGE_SECONDS = 60.0
"""A token that is refused is not replaced before this: a new one would be no better."""

LIMIT_SECONDS = 10.0
"""How long a token is waited for."""

MAX_FILE_BYTES = 64 * 1024


class Token(msgspec.Struct, frozen=True):
    """What opens the door. Times are on the monotonic clock."""

    value: Secret
    since: float
    until: float


async def prepare(call: Call) -> Target:
    """Return the target as it is: an identity leads to no address."""
    return call.target


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Forget the token after a refusal; None when a new one would not help."""
    token: Token | None = call.sessions.get(_key(call))
    if call.target.credential is not None or error.body.provider_status != 401 or token is None:
        return None
    if time.monotonic() - token.since < MIN_AGE_SECONDS:
        return None
    call.sessions.pop(_key(call), None)
    return call.target


async def headers(call: Call) -> dict[str, str]:
    """Return the one header.

    Raises: SidecarError `auth_required` when this machine has no identity, `auth_failed` when it is refused.
    """
    credential = call.target.credential
    if credential is not None:
        value = credential.reveal()
        return {"authorization": f"Bearer {value}"} if credential.kind == "token" else {"api-key": value}
    token: Token | None = call.sessions.get(_key(call))
    if token is None or token.until <= time.monotonic():
        token = await _shared(call)
    return {"authorization": f"Bearer {token.value.reveal()}"}


def _key(call: Call) -> tuple[str, str]:
    return __name__, _scope(call)


def _scope(call: Call) -> str:
    return CLASSIC_SCOPE if call.target.route.settings.get("api_version") else SCOPE


async def _shared(call: Call) -> Token:
    """Return a new token, asked for once for all who need it now."""
    if call.flights is None:
        return await _asked(call)
    token: Token = await call.flights.share(_key(call), lambda _: _asked(call))
    return token


async def _asked(call: Call) -> Token:
    env, scope = call.target.env, _scope(call)
    try:
        with anyio.fail_after(LIMIT_SECONDS):
            question = await _question(env, scope)
            if question is None:
                found = await anyio.to_thread.run_sync(_of_developer, scope, abandon_on_cancel=True)
            else:
                found = await _answered(call.http, question)
    except TimeoutError:
        raise SidecarError("timeout", "No access token came in time.", phase="headers") from None
    now = time.monotonic()
    token = Token(Secret(found.token, "none", "token"), now, now + max(MIN_AGE_SECONDS, found.life_seconds))
    call.sessions[_key(call)] = token
    return token


class _Found(NamedTuple):
    token: str
    life_seconds: float
    """How long it will be used."""


# --- the identity of the environment ---------------------------------------------------------

AUTHORITY = "https://login.microsoftonline.com"

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def _question(env: Mapping[str, str], scope: str) -> HttpRequest | None:
    """Return what the environment's identity is asked for a token with, None when there is no such identity."""
    tenant, client = env.get("AZURE_TENANT_ID"), env.get("AZURE_CLIENT_ID")
    if tenant and client and (proof := await _proof(env)):
        authority = addresses.base_url(
            env.get("AZURE_AUTHORITY_HOST") or AUTHORITY, "AZURE_AUTHORITY_HOST", private_network=False
        )
        form = {"client_id": client, "grant_type": "client_credentials", "scope": scope} | proof
        return HttpRequest(
            method="POST",
            url=f"{authority}/{_plain(tenant)}/oauth2/v2.0/token",
            headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
            body=urlencode(form).encode(),
        )
    endpoint, header = env.get("IDENTITY_ENDPOINT"), env.get("IDENTITY_HEADER")
    if endpoint and header:
        query = {"api-version": "2019-08-01", "resource": scope.removesuffix("/.default")}
        query |= {"client_id": client} if client else {}
        # A link-local address as a rule: whoever sets the environment is the user, or the service that hosts us.
        return HttpRequest(method="GET", url=f"{endpoint}?{urlencode(query)}", headers={"x-identity-header": header})
    return None


async def _proof(env: Mapping[str, str]) -> dict[str, str]:
    """Return what shows that the application is who it says, nothing where the environment has no such thing."""
    if value := env.get("AZURE_CLIENT_SECRET"):
        return {"client_secret": value}
    file = env.get("AZURE_FEDERATED_TOKEN_FILE")
    if not file:
        return {}
    try:
        # Others write a new one there every now and then.
        token = (await anyio.Path(file).read_bytes())[:MAX_FILE_BYTES].decode().strip()
    except (OSError, ValueError):
        raise _required("The file that AZURE_FEDERATED_TOKEN_FILE names cannot be read.") from None
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token}


def _plain(tenant: str) -> str:
    if not tenant.replace("-", "").replace(".", "").isalnum() or not tenant.isascii():
        raise _required("AZURE_TENANT_ID is no tenant's id.")
    return tenant


async def _answered(http: Transport, question: HttpRequest) -> _Found:
    limits = Limits(first_byte=LIMIT_SECONDS, idle=LIMIT_SECONDS)
    async with http.send(question, {}, limits, Progress()) as response:
        body = await transport.read_error_body(response)
    answer = faults.document(body)
    said = answer if isinstance(answer, dict) else {}
    token, life = said.get("access_token"), _number(said.get("expires_in"))
    if response.status == 200 and isinstance(token, str):
        return _Found(token, life - REFRESH_EARLY_SECONDS)
    if response.status >= 500 or response.status == 429:
        raise SidecarError(
            "provider_error", "Entra could not make an access token.", provider_status=response.status, reason="login"
        )
    word = said.get("error")
    raise SidecarError(
        "auth_failed",
        "Entra refused to make an access token for this machine's identity.",
        provider_code=next(iter(faults.words(word)), None) if isinstance(word, str) else None,
        hint="Check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.",
    )


def _number(value: object) -> float:
    """Return a number of seconds, which managed identities write as text."""
    try:
        return float(value) if isinstance(value, (int, float, str)) else 0.0
    except ValueError:
        return 0.0


# --- a developer's own login -----------------------------------------------------------------

_HINT = "Set AZURE_OPENAI_API_KEY, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; or run `az login`."


def _of_developer(scope: str) -> _Found:
    """Return a token of whoever has run `az login`; blocks, and starts a program.

    Raises: SidecarError `auth_required`.
    """
    try:
        identity: Any = importlib.import_module("azure.identity")
        core: Any = importlib.import_module("azure.core.exceptions")
    except ImportError:
        raise _required("There are no credentials for Azure on this machine.") from None
    try:
        token = identity.AzureCliCredential(process_timeout=int(LIMIT_SECONDS)).get_token(scope)
    except core.ClientAuthenticationError:
        raise _required("There is no login at Azure's own command line.", "Run `az login`.") from None
    return _Found(token.token, token.expires_on - time.time() - REFRESH_EARLY_SECONDS)


def _required(message: str, hint: str = _HINT) -> SidecarError:
    return SidecarError("auth_required", message, hint=hint)
