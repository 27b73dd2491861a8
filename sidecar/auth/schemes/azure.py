"""Azure OpenAI: a resource's key in `api-key`, or an Entra token as bearer, from the identity that this machine has.

The identity is that of the environment: an application with its secret or a federated token (as AKS
gives its pods), or the managed identity of a hosted service or of a machine that Azure Arc looks after;
and that of a virtual machine, whose metadata server is asked only where the user says so. A
developer's own `az login` is asked for where the package `azure-identity` is installed: it starts the
program `az`. Sources: openai 3.52.0 lib/azure.py, azure-identity 1.27.0 `_credentials/`, read 2026-11.
"""

import importlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import anyio
import anyio.to_thread
import msgspec

from sidecar.auth.authorize import MIN_AGE_SECONDS, Call, minted_anew
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError
from sidecar.core.http import CONNECT_SECONDS, HttpRequest, HttpTimeouts, PhaseTrace, Transport
from sidecar.core.http_bodies import read_error_body
from sidecar.core.json_values import parse_json
from sidecar.core.secret import Secret
from sidecar.providers.settings import is_on
from sidecar.providers.values import Target
from sidecar.wires.shared.error_rules import list_codes

SCOPE = "https://ai.azure.com/.default"
CLASSIC_SCOPE = "https://cognitiveservices.azure.com/.default"
"""Of the addresses that have an `api_version`."""

REFRESH_EARLY_SECONDS = 300.0
"""A token is renewed this long before it wears off."""

LIMIT_SECONDS = 10.0
"""How long a token is waited for."""

MAX_FILE_BYTES = 64 * 1024


class Token(msgspec.Struct, frozen=True):
    """What opens the door. Times are on the monotonic clock."""

    value: Secret
    since: float
    until: float
    renewed: bool
    """It took the place of a refused one."""


async def prepare(call: Call) -> Target:
    """Return the target as it is: an identity leads to no address."""
    return call.target


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Get a new token after a refusal; None when that would not help."""
    known: Token | None = call.sessions.get(_key(call))
    return await minted_anew(call, error, known, lambda: _shared(call, renewed=True))


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
        token = await _shared(call, renewed=False)
    return {"authorization": f"Bearer {token.value.reveal()}"}


def _key(call: Call) -> tuple[str, str]:
    return __name__, _scope(call)


def _scope(call: Call) -> str:
    return CLASSIC_SCOPE if call.target.route.settings.get("api_version") else SCOPE


async def _shared(call: Call, *, renewed: bool) -> Token:
    """Return a new token, asked for once for all who need it now."""
    if call.single_flight is None:
        return await _asked(call, renewed=renewed)
    return await call.single_flight.run_once(_key(call), lambda: _asked(call, renewed=renewed))


async def _asked(call: Call, *, renewed: bool) -> Token:
    env, scope = call.target.env, _scope(call)
    metadata = is_on(call.target.route.settings, "instance_metadata")
    try:
        with anyio.fail_after(LIMIT_SECONDS):
            question = await _question(env, scope, metadata=metadata)
            if question is None:
                found = await anyio.to_thread.run_sync(_of_developer, scope, abandon_on_cancel=True)
            else:
                found = await _answered(call.http, question)
    except TimeoutError:
        raise SidecarError("timeout", "No access token came in time.", phase="headers") from None
    now = time.monotonic()
    token = Token(Secret(found.token, "none", "token"), now, now + max(MIN_AGE_SECONDS, found.life_seconds), renewed)
    call.sessions[_key(call)] = token
    return token


class _Found(NamedTuple):
    token: str
    life_seconds: float
    """How long it will be used."""


# --- the identity of the environment ---------------------------------------------------------

AUTHORITY = "https://login.microsoftonline.com"

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class _Question(NamedTuple):
    """What is asked for a token. Answered by a server of this machine's own network, or by Entra."""

    request: HttpRequest
    ours: bool = False
    absent: bool = False
    """That server may well not be there."""
    keys: tuple[str, ...] = ()
    """Folders of files that only some users of this machine can read: it is refused at first, with the name of one."""


async def _question(env: Mapping[str, str], scope: str, *, metadata: bool) -> _Question | None:
    """Return what the machine's identity is asked for a token with, None when there is no such identity."""
    tenant, client = env.get("AZURE_TENANT_ID"), env.get("AZURE_CLIENT_ID")
    if tenant and client and (proof := await _proof(env)):
        authority = url_policy.base_url(
            env.get("AZURE_AUTHORITY_HOST") or AUTHORITY, "AZURE_AUTHORITY_HOST", private_network=False
        )
        form = {"client_id": client, "grant_type": "client_credentials", "scope": scope} | proof
        request = HttpRequest(
            method="POST",
            url=f"{authority}/{_plain(tenant)}/oauth2/v2.0/token",
            headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
            body=urlencode(form).encode(),
        )
        return _Question(request)
    # Link-local addresses as a rule: whoever sets the environment is the user, or the service that hosts us.
    query = {"resource": scope.removesuffix("/.default")} | ({"client_id": client} if client else {})
    endpoint, header = env.get("IDENTITY_ENDPOINT"), env.get("IDENTITY_HEADER")
    if endpoint and header:
        return _Question(_get(endpoint, "2019-08-01", query, {"x-identity-header": header}), ours=True)
    if endpoint and env.get("IMDS_ENDPOINT"):
        keys = ("/var/opt/azcmagent/tokens", f"{env.get('PROGRAMDATA')}\\AzureConnectedMachineAgent\\Tokens")
        return _Question(_get(endpoint, "2020-06-01", query, {"metadata": "true"}), ours=True, keys=keys)
    if metadata:
        host = (env.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or METADATA).rstrip("/")
        request = _get(f"{host}{METADATA_PATH}", "2018-02-01", query, {"metadata": "true"})
        return _Question(request, ours=True, absent=True)
    return None


METADATA = "http://169.254.169.254"
"""Where a virtual machine has its metadata server; AZURE_POD_IDENTITY_AUTHORITY_HOST takes its place."""

METADATA_PATH = "/metadata/identity/oauth2/token"


def _get(url: str, version: str, query: dict[str, str], headers: dict[str, str]) -> HttpRequest:
    return HttpRequest(method="GET", url=f"{url}?{urlencode({'api-version': version} | query)}", headers=headers)


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


async def _answered(http: Transport, question: _Question) -> _Found:
    status, headers, body = await _reply(http, question)
    if question.keys and status == 401:
        key = await _key_of_agent(headers.get("www-authenticate", ""), question.keys)
        request = question.request
        proven = msgspec.structs.replace(request, headers=request.headers | {"authorization": f"Basic {key}"})
        status, headers, body = await _reply(http, question._replace(request=proven))
    answer = parse_json(body)
    said = answer if isinstance(answer, dict) else {}
    token, life = said.get("access_token"), _number(said.get("expires_in"))
    if status == 200 and isinstance(token, str):
        return _Found(token, life - REFRESH_EARLY_SECONDS)
    if status >= 500 or status in (410, 429):
        # A metadata server that is being brought up to date says 410.
        text = "Entra could not make an access token."
        raise SidecarError("provider_error", text, provider_status=status, reason="login")
    word = said.get("error")
    code = next(iter(list_codes(word)), None) if isinstance(word, str) else None
    if question.ours:
        text = "This machine has no managed identity that could be used."
        hint = "Give it one, and set AZURE_CLIENT_ID where it has several."
        raise SidecarError("auth_required", text, provider_code=code, hint=hint)
    raise SidecarError(
        "auth_failed",
        "Entra refused to make an access token for this machine's identity.",
        provider_code=code,
        hint="Check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.",
    )


async def _reply(http: Transport, question: _Question) -> tuple[int, dict[str, str], bytes]:
    connect = OURS_CONNECT_SECONDS if question.ours else CONNECT_SECONDS
    limits = HttpTimeouts(connect=connect, first_byte=LIMIT_SECONDS, idle=LIMIT_SECONDS)
    trace = PhaseTrace()
    try:
        async with http.send(question.request, {}, limits, trace, link_local=question.ours) as response:
            return response.status, response.headers, await read_error_body(response)
    except SidecarError:
        if question.absent and trace.phase == "connect":
            raise _required("This machine has no metadata server: nobody answers there.") from None
        raise


OURS_CONNECT_SECONDS = 2.0
"""How long a server is waited for that is here or nowhere."""

MAX_AGENT_KEY_BYTES = 4096


async def _key_of_agent(challenge: str, folders: tuple[str, ...]) -> str:
    """Return what the file holds that the agent names, which shows that we may read it.

    Raises: SidecarError `auth_required`.
    """
    scheme, _, file = challenge.partition("realm=")
    folder = file[: max(file.rfind("/"), file.rfind("\\"), 0)]
    if scheme.strip().lower() != "basic" or folder not in folders or not file.endswith(".key"):
        raise _required("The agent of Azure Arc names no file of its own.")
    try:
        async with await anyio.open_file(file, "rb") as opened:
            key = (await opened.read(MAX_AGENT_KEY_BYTES)).decode("ascii").strip()
    except (OSError, ValueError):
        hint = "Make this user a member of the agent's group (on Linux `himds`)."
        raise _required("The key of Azure Arc's agent cannot be read.", hint) from None
    return key


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
