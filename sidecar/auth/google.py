"""Google Cloud: an API key, an access token, or the credentials that this machine was given.

The places and their order are those of google-auth 2.62 (`_default.py`), read 2026-11: the file that
GOOGLE_APPLICATION_CREDENTIALS names, the file of `gcloud auth application-default login`, and the
metadata server, which is asked only where the environment says that there is one. The library makes
the tokens, in a worker thread, and asks through our own HTTP client.
"""

import importlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec

from sidecar import transport
from sidecar.auth import Call
from sidecar.errors import SidecarError
from sidecar.inflight import Progress
from sidecar.secret import Secret
from sidecar.transport import Limits, Transport
from sidecar.wires import faults
from sidecar.wires.types import HttpRequest

SCOPE = "https://www.googleapis.com/auth/cloud-platform"

REFRESH_EARLY = timedelta(minutes=5)
"""A token is renewed this long before it wears off."""

LIMIT_SECONDS = 5.0
"""How long a token is waited for."""

MAX_FILE_BYTES = 1024 * 1024
MAX_REPLY_BYTES = 1024 * 1024

LOGIN = "Run `gcloud auth application-default login`."

# --- headers ---------------------------------------------------------------------------------


class Token(msgspec.Struct, frozen=True):
    """What opens the door. `until` None: it does not wear off."""

    value: Secret
    until: datetime | None
    quota_project: str | None = None


class Source(msgspec.Struct, frozen=True):
    """Where the machine's credentials are: a file, in the state that `stamp` tells, or a metadata server."""

    file: str = ""
    stamp: int = 0
    host: str = ""
    hint: str = LOGIN


class Kept:
    """The credentials of one source and their last token. `lock`: one refresh at a time."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.source: Source | None = None
        self.credentials: Any = None
        self.token: Token | None = None

    def fresh(self, source: Source) -> Token | None:
        """Return the token that *source* has given, when it is good for a while yet."""
        if self.source != source or self.token is None:
            return None
        until = self.token.until
        return self.token if until is None or until - datetime.now(UTC) > REFRESH_EARLY else None


async def headers(call: Call) -> dict[str, str]:
    """Return the header of the key or token, or of a token from the machine's own credentials.

    Raises: SidecarError `auth_required`, or `timeout` and others when no token is to be had now.
    """
    credential = call.target.credential
    if credential is not None:
        value = credential.reveal()
        return {"authorization": f"Bearer {value}"} if credential.kind == "token" else {"x-goog-api-key": value}
    token = await _token(call)
    made = {"authorization": f"Bearer {token.value.reveal()}"}
    if project := call.target.env.get("GOOGLE_CLOUD_QUOTA_PROJECT") or token.quota_project:
        made["x-goog-user-project"] = project
    return made


async def _token(call: Call) -> Token:
    source = await _find(call.target.env)
    kept: Kept = call.sessions.setdefault(__name__, Kept())
    if token := kept.fresh(source):
        return token
    try:
        with anyio.fail_after(LIMIT_SECONDS):
            async with kept.lock:
                return kept.fresh(source) or await _renewed(call, source, kept)
    except TimeoutError:
        raise SidecarError("timeout", "No access token came in time.", phase="headers") from None


async def _renewed(call: Call, source: Source, kept: Kept) -> Token:
    """Return a new token and keep it; the lock is held."""
    if kept.source != source:
        kept.credentials = await _load(source) if source.file else None
        kept.source, kept.token = source, None
    if source.file:
        # A thread that nobody waits for any longer finds its requests cancelled.
        await anyio.to_thread.run_sync(
            _refresh, kept.credentials, _requester(call.http), source.hint, abandon_on_cancel=True
        )
        kept.token = _token_of(kept.credentials)
    else:
        kept.token = await _from_metadata(call.http, source.host)
    return kept.token


def _token_of(credentials: Any) -> Token:
    # The library's expiry is in UTC without saying so.
    until = None if credentials.expiry is None else credentials.expiry.replace(tzinfo=UTC)
    project = getattr(credentials, "quota_project_id", None)
    return Token(Secret(credentials.token, "none", "token"), until, project)


# --- where they are --------------------------------------------------------------------------

METADATA_HOSTS = ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT")
"""Variables that name a metadata server."""

METADATA_SIGNS = ("K_SERVICE", "CLOUD_RUN_JOB", "GAE_SERVICE", "FUNCTION_TARGET")
"""Variables of places that have one under its usual name."""


async def _find(env: Mapping[str, str]) -> Source:
    """Return where the machine's credentials are.

    Raises: SidecarError `auth_required` when there are none.
    """
    named = env.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        hint = "Check the file that GOOGLE_APPLICATION_CREDENTIALS names."
        if (stamp := await _stamp(named)) is None:
            raise _required("There is no credentials file where GOOGLE_APPLICATION_CREDENTIALS says.", hint)
        return Source(file=named, stamp=stamp, hint=hint)
    for folder in _folders(env):
        file = f"{folder}/application_default_credentials.json"
        if (stamp := await _stamp(file)) is not None:
            return Source(file=file, stamp=stamp)
    if env.get("NO_GCE_CHECK") != "true":
        if host := next(filter(None, map(env.get, METADATA_HOSTS)), None):
            return Source(host=host)
        if any(env.get(sign) for sign in METADATA_SIGNS):
            return Source(host="metadata.google.internal")
    raise _required("There are no Google Cloud credentials on this machine.", LOGIN)


def _folders(env: Mapping[str, str]) -> list[str]:
    """Return the folders of gcloud's configuration, the one that is named or the usual one of the system."""
    if named := env.get("CLOUDSDK_CONFIG"):
        return [named]
    usual = (("APPDATA", "gcloud"), ("HOME", ".config/gcloud"))
    return [f"{root}/{rest}" for variable, rest in usual if (root := env.get(variable))]


async def _stamp(file: str) -> int | None:
    """Return what changes when *file* does, None when there is no such file."""
    try:
        return (await anyio.Path(file).stat()).st_mtime_ns
    except (OSError, ValueError):
        return None


def _required(message: str, hint: str) -> SidecarError:
    return SidecarError("auth_required", message, hint=hint)


# --- files -----------------------------------------------------------------------------------

FACTORIES: dict[str, tuple[str, str]] = {
    "service_account": ("google.oauth2.service_account", "from_service_account_info"),
    "impersonated_service_account": (
        "google.auth.impersonated_credentials",
        "from_impersonated_service_account_info",
    ),
    "external_account": ("google.auth.identity_pool", "from_info"),
    "external_account_authorized_user": ("google.auth.external_account_authorized_user", "from_info"),
    "authorized_user": ("google.oauth2.credentials", "from_authorized_user_info"),
}
"""By the file's `type`: the module, and what of its `Credentials` reads the file."""

_AWS = ("google.auth.aws", "from_info")
_AWS_SUBJECT = "urn:ietf:params:aws:token-type:aws4_request"

_SCOPED_BY_LOGIN = frozenset({"authorized_user", "external_account_authorized_user"})
"""Types whose scopes were settled when their user logged in."""


async def _load(source: Source) -> Any:
    try:
        content = await anyio.Path(source.file).read_bytes()
    except OSError:
        raise _required("The Google Cloud credentials file cannot be read.", source.hint) from None
    info = faults.document(content) if len(content) <= MAX_FILE_BYTES else None
    if not isinstance(info, dict):
        raise _required("The Google Cloud credentials file is no JSON object.", source.hint)
    return await anyio.to_thread.run_sync(_credentials, info, source.hint, abandon_on_cancel=True)


def _credentials(info: dict[str, Any], hint: str) -> Any:
    """Return the library's credentials for what a file holds; imports the library, in a worker thread."""
    kind = info.get("type")
    if not isinstance(kind, str) or kind not in FACTORIES:
        raise _required("The Google Cloud credentials file is of no type that can be used.", hint)
    if _names_program(info) or _names_program(info.get("source_credentials")):
        raise _required("The Google Cloud credentials file names a program to run, and none is run.", hint)
    module, factory = _AWS if info.get("subject_token_type") == _AWS_SUBJECT else FACTORIES[kind]
    scopes = {} if kind in _SCOPED_BY_LOGIN else {"scopes": [SCOPE]}
    try:
        return getattr(importlib.import_module(module).Credentials, factory)(info, **scopes)
    except (_exceptions().GoogleAuthError, ValueError, KeyError, TypeError, AttributeError):
        # What is wrong with it may be a part of the key, so it is not said.
        raise _required("The Google Cloud credentials file is incomplete or malformed.", hint) from None


def _names_program(info: object) -> bool:
    source = info.get("credential_source") if isinstance(info, dict) else None
    return isinstance(source, dict) and "executable" in source


def _exceptions() -> Any:
    return importlib.import_module("google.auth.exceptions")


# --- tokens ----------------------------------------------------------------------------------


class Answer(msgspec.Struct, frozen=True):
    """A reply in the shape that the library reads."""

    status: int
    headers: dict[str, str]
    data: bytes


def _requester(http: Transport) -> Callable[..., Answer]:
    """Return what the library asks through: our own HTTP client, from the library's thread."""

    def request(
        url: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None, **_: object
    ) -> Answer:
        wanted = HttpRequest(method=method, url=url, headers=headers or {}, body=body or b"")
        try:
            return anyio.from_thread.run(_send, http, wanted)
        except SidecarError as error:
            raise _exceptions().TransportError(error.body.message) from error

    return request


async def _send(http: Transport, request: HttpRequest) -> Answer:
    limits = Limits(connect=LIMIT_SECONDS, first_byte=LIMIT_SECONDS, idle=LIMIT_SECONDS)
    async with http.send(request, {}, limits, Progress()) as response:
        return Answer(response.status, response.headers, await transport.read_body(response, MAX_REPLY_BYTES))


def _refresh(credentials: Any, request: Callable[..., Answer], hint: str) -> None:
    """Renew the token of *credentials*, in a worker thread.

    Raises: SidecarError, `auth_required` when they are no longer good.
    """
    exceptions = _exceptions()
    try:
        credentials.refresh(request)
    except exceptions.TransportError as error:
        cause = error.__cause__
        if isinstance(cause, SidecarError):
            raise cause.with_(message=f"No access token is to be had: {cause.body.message}") from None
        raise SidecarError("network_error", "No access token is to be had.") from None
    except exceptions.GoogleAuthError as error:
        raise _refused(error, hint) from None


def _refused(error: Any, hint: str) -> SidecarError:
    reply = error.args[1] if len(error.args) > 1 else None
    word = reply.get("error") if isinstance(reply, dict) else None
    code = word if isinstance(word, str) else None
    if error.retryable:
        return SidecarError("provider_error", "Google could not make an access token.", provider_code=code)
    text = "Google refused to make an access token from these credentials."
    return SidecarError("auth_required", text, provider_code=code, hint=hint)


async def _from_metadata(http: Transport, host: str) -> Token:
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token?scopes={SCOPE}"
    answer = await _send(http, HttpRequest(method="GET", url=url, headers={"metadata-flavor": "Google"}))
    reply = faults.document(answer.data) if answer.status == 200 else None
    value = reply.get("access_token") if isinstance(reply, dict) else None
    if not isinstance(reply, dict) or not isinstance(value, str):
        raise _required("The metadata server gives no access token.", "Give this machine a service account.")
    seconds = reply.get("expires_in")
    life = timedelta(seconds=min(seconds, 86_400)) if isinstance(seconds, int) else REFRESH_EARLY
    return Token(Secret(value, "none", "token"), datetime.now(UTC) + life)
