"""The identity that Azure has given this machine, and the token that it is exchanged for.

An application with its secret or with a federated token (as AKS gives its pods); the managed identity of a hosted
service or of a machine that Azure Arc manages; and that of a virtual machine, whose metadata server is asked only where
the user says so. Source: azure-identity 1.27.0 `_credentials/`, read 2026-11.
"""

from collections.abc import Mapping
from functools import partial
from urllib.parse import urlencode

import anyio
import msgspec

from sidecar.auth.exchange import Answer, Exchange, Question
from sidecar.auth.token_cache import Minted
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError
from sidecar.core.http import CONNECT_SECONDS, HttpRequest, HttpTimeouts
from sidecar.core.secret import Secret
from sidecar.wires.shared.error_rules import list_codes

LIMIT_SECONDS = 10.0
"""How long a token may take."""

LOCAL_CONNECT_SECONDS = 2.0
"""How long to wait for a connection to a server that is near or not there at all."""

AUTHORITY = "https://login.microsoftonline.com"

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

METADATA = "http://169.254.169.254"
"""The metadata server of a virtual machine; AZURE_POD_IDENTITY_AUTHORITY_HOST takes its place."""

METADATA_PATH = "/metadata/identity/oauth2/token"

MAX_FILE_BYTES = 64 * 1024
MAX_AGENT_KEY_BYTES = 4096

_HINT = "Set AZURE_OPENAI_API_KEY, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; or run `az login`."


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """How to ask for a token of the identity."""

    request: HttpRequest
    secrets: tuple[Secret, ...] = ()
    """What the request carries."""
    is_local: bool = False
    """Whether a server of this machine's own network answers; otherwise Entra does."""
    may_be_absent: bool = False
    """Whether that server may well not be there."""
    key_folders: tuple[str, ...] = ()
    """Folders of files that only some users of this machine can read: the server first refuses, and names a file."""


# --- which identity --------------------------------------------------------------------------


async def find(env: Mapping[str, str], scope: str, *, has_metadata: bool) -> Identity | None:
    """Return the identity that *env* describes, for a token of *scope*; None when there is none.

    Raises: SidecarError `auth_required` or `invalid_request` for variables that cannot be used.
    """
    tenant, client = env.get("AZURE_TENANT_ID"), env.get("AZURE_CLIENT_ID")
    if tenant and client and (proof := await _read_proof(env)):
        return _make_application(env, tenant, {"client_id": client, "scope": scope} | proof)
    # Link-local addresses as a rule: whoever sets the environment is the user, or the service that hosts us.
    query = {"resource": scope.removesuffix("/.default")} | ({"client_id": client} if client else {})
    endpoint, header = env.get("IDENTITY_ENDPOINT"), env.get("IDENTITY_HEADER")
    if endpoint and header:
        request = _make_get(endpoint, "2019-08-01", query, {"x-identity-header": header})
        return Identity(request=request, secrets=(Secret(header, "environment"),), is_local=True)
    if endpoint and env.get("IMDS_ENDPOINT"):
        folders = ("/var/opt/azcmagent/tokens", f"{env.get('PROGRAMDATA')}\\AzureConnectedMachineAgent\\Tokens")
        request = _make_get(endpoint, "2020-06-01", query, {"metadata": "true"})
        return Identity(request=request, is_local=True, key_folders=folders)
    if has_metadata:
        host = (env.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or METADATA).rstrip("/")
        request = _make_get(f"{host}{METADATA_PATH}", "2018-02-01", query, {"metadata": "true"})
        return Identity(request=request, is_local=True, may_be_absent=True)
    return None


def _make_application(env: Mapping[str, str], tenant: str, form: dict[str, str]) -> Identity:
    if not tenant.replace("-", "").replace(".", "").isalnum() or not tenant.isascii():
        raise make_required_error("AZURE_TENANT_ID is no tenant's id.")
    authority = url_policy.check_base_url(
        env.get("AZURE_AUTHORITY_HOST") or AUTHORITY, "AZURE_AUTHORITY_HOST", private_network=False
    )
    request = HttpRequest(
        method="POST",
        url=f"{authority}/{tenant}/oauth2/v2.0/token",
        headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
        body=urlencode({"grant_type": "client_credentials"} | form).encode(),
    )
    proofs = [form[name] for name in ("client_secret", "client_assertion") if name in form]
    return Identity(request=request, secrets=tuple(Secret(each, "environment") for each in proofs))


def _make_get(url: str, version: str, query: dict[str, str], headers: dict[str, str]) -> HttpRequest:
    return HttpRequest(method="GET", url=f"{url}?{urlencode({'api-version': version} | query)}", headers=headers)


async def _read_proof(env: Mapping[str, str]) -> dict[str, str]:
    """Return what proves that the application is who it says; nothing where the environment has no such thing."""
    if value := env.get("AZURE_CLIENT_SECRET"):
        return {"client_secret": value}
    file = env.get("AZURE_FEDERATED_TOKEN_FILE")
    if not file:
        return {}
    try:
        # Another program writes a new token there from time to time.
        token = (await anyio.Path(file).read_bytes())[:MAX_FILE_BYTES].decode().strip()
    except (OSError, ValueError):
        raise make_required_error("The file that AZURE_FEDERATED_TOKEN_FILE names cannot be read.") from None
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token}


# --- its token -------------------------------------------------------------------------------


async def mint(exchange: Exchange, identity: Identity) -> Minted[Secret]:
    """Return a new token of *identity*.

    Raises: SidecarError `auth_required` when a managed identity gives none, `auth_failed` when Entra refuses,
    `provider_error` and as the exchange does when none can be had now.
    """
    try:
        answer = await exchange(_make_question(identity, accepts_challenge=bool(identity.key_folders)))
    except SidecarError as error:
        if identity.may_be_absent and error.body.code in ("network_error", "timeout") and error.body.phase == "connect":
            raise make_required_error("This machine has no metadata server: nobody answers there.") from None
        raise
    if answer.status == 401:
        key = await _read_agent_key(answer.headers.get("www-authenticate", ""), identity.key_folders)
        answer = await exchange(_make_question(_prove(identity, key)))
    said = answer.read_object()
    return Minted(Secret(said["access_token"], "none", "token"), _read_seconds(said.get("expires_in")))


def _make_question(identity: Identity, *, accepts_challenge: bool = False) -> Question:
    connect = LOCAL_CONNECT_SECONDS if identity.is_local else CONNECT_SECONDS
    return Question(
        request=identity.request,
        timeouts=HttpTimeouts(connect_seconds=connect, first_byte_seconds=LIMIT_SECONDS, idle_seconds=LIMIT_SECONDS),
        secrets=identity.secrets,
        classify=partial(_classify, is_local=identity.is_local, accepts_challenge=accepts_challenge),
        link_local=identity.is_local,
    )


def _classify(answer: Answer, *, is_local: bool, accepts_challenge: bool) -> SidecarError | None:
    said = answer.read_object()
    if answer.status == 200 and isinstance(said.get("access_token"), str):
        return None
    if accepts_challenge and answer.status == 401:
        return None
    if answer.status >= 500 or answer.status in (410, 429):
        # A metadata server that is being updated says 410.
        text = "Entra could not make an access token."
        return SidecarError("provider_error", text, provider_status=answer.status, reason="login")
    word = said.get("error")
    code = next(iter(list_codes(word)), None) if isinstance(word, str) else None
    if is_local:
        text = "This machine has no managed identity that could be used."
        hint = "Give it one, and set AZURE_CLIENT_ID where it has several."
        return SidecarError("auth_required", text, provider_code=code, hint=hint)
    return SidecarError(
        "auth_failed",
        "Entra refused to make an access token for this machine's identity.",
        provider_code=code,
        hint="Check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.",
    )


def _prove(identity: Identity, key: str) -> Identity:
    """Return *identity* with the agent's key, which proves that we may read it."""
    headers = identity.request.headers | {"authorization": f"Basic {key}"}
    request = msgspec.structs.replace(identity.request, headers=headers)
    return msgspec.structs.replace(identity, request=request, secrets=(Secret(key, "environment"),))


async def _read_agent_key(challenge: str, folders: tuple[str, ...]) -> str:
    """Return the content of the file that the agent's *challenge* names, if it is one of its own.

    Raises: SidecarError `auth_required`.
    """
    scheme, _, file = challenge.partition("realm=")
    folder = file[: max(file.rfind("/"), file.rfind("\\"), 0)]
    if scheme.strip().lower() != "basic" or folder not in folders or not file.endswith(".key"):
        raise make_required_error("The agent of Azure Arc names no file of its own.")
    try:
        async with await anyio.open_file(file, "rb") as opened:
            return (await opened.read(MAX_AGENT_KEY_BYTES)).decode("ascii").strip()
    except (OSError, ValueError):
        hint = "Make this user a member of the agent's group (on Linux `himds`)."
        raise make_required_error("The key of Azure Arc's agent cannot be read.", hint) from None


def _read_seconds(value: object) -> float:
    """Return a number of seconds, which managed identities write as text."""
    try:
        return float(value) if isinstance(value, (int, float, str)) else 0.0
    except ValueError:
        return 0.0


def make_required_error(message: str, hint: str = _HINT) -> SidecarError:
    """Return the failure that other credentials mend."""
    return SidecarError("auth_required", message, hint=hint)
