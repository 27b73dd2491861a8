"""Google Cloud: an API key, an access token, or the credentials that this machine or a JSON document has.

The library (google-auth) makes the tokens, in a worker thread, and asks through our own HTTP client.
Where the credentials are is `google_files`, what they know of settings `google_settings`.
"""

import time
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec

from sidecar.auth.authorize import Call, Lookup
from sidecar.auth.schemes import google_files, google_settings
from sidecar.auth.schemes.google_files import LOGIN, SCOPE, Source, exceptions, required
from sidecar.auth.schemes.google_settings import Servers
from sidecar.core.errors import SidecarError, clean
from sidecar.core.http import HttpRequest, HttpTimeouts, Transport
from sidecar.core.http_bodies import read_body
from sidecar.core.json_values import parse_json
from sidecar.core.secret import Secret
from sidecar.providers.values import Target

__all__ = ["LOGIN", "SCOPE", "headers", "prepare", "renew", "settings"]

REFRESH_EARLY = timedelta(minutes=5)
"""A token is renewed this long before it wears off."""

MIN_AGE_SECONDS = 60.0
"""A token that is refused is not replaced before this: a new one would be no better."""

LIMIT_SECONDS = 5.0
"""How long a token is waited for."""

METADATA_SECONDS = 4.0
"""How long a metadata server is waited for, which is near."""

MAX_REPLY_BYTES = 1024 * 1024

MAX_KEPT = 100
"""Credentials whose tokens are remembered: requests may bring their own."""

# --- headers ---------------------------------------------------------------------------------


class Token(msgspec.Struct, frozen=True):
    """What opens the door. `until` None: it does not wear off."""

    value: Secret
    until: datetime | None
    since: float
    """When it was made, on the monotonic clock."""
    quota_project: str | None = None


class Kept:
    """The credentials of one source and their last token. `lock`: one refresh at a time."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.credentials: Any = None
        self.token: Token | None = None
        self.dropped_at: float | None = None
        """When a token was last forgotten because it was refused."""

    def fresh(self) -> Token | None:
        """Return the last token, when it is good for a while yet."""
        if self.token is None:
            return None
        until = self.token.until
        return self.token if until is None or until - datetime.now(UTC) > REFRESH_EARLY else None


class _Asking(NamedTuple):
    """Who needs a token: a source, and what it is asked with."""

    source: Source
    http: Transport
    sessions: MutableMapping[Any, Any]


async def prepare(call: Call) -> Target:
    """Return the target as it is: credentials lead to no address."""
    return call.target


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Forget the token after a refusal; None when a new one would not help."""
    if error.body.provider_status != 401 or not _makes_tokens(call.target.credential):
        return None
    kept, now = _kept(await _asking(call)), time.monotonic()
    if kept.token is not None and now - kept.token.since >= MIN_AGE_SECONDS:
        kept.credentials = kept.token = None
        kept.dropped_at = now
        return call.target
    # Another request may have had it renewed since this one was sent.
    lately = kept.dropped_at is not None and now - kept.dropped_at < MIN_AGE_SECONDS
    return call.target if lately else None


async def headers(call: Call) -> dict[str, str]:
    """Return the header of the key or token, or of a token from a document or the machine's own credentials.

    Raises: SidecarError `auth_required`, or `timeout` and others when no token is to be had now.
    """
    credential = call.target.credential
    if credential is not None and not _makes_tokens(credential):
        value = credential.reveal()
        return {"authorization": f"Bearer {value}"} if credential.kind == "token" else {"x-goog-api-key": value}
    token = await _token(await _asking(call))
    made = {"authorization": f"Bearer {token.value.reveal()}"}
    if project := call.target.env.get("GOOGLE_CLOUD_QUOTA_PROJECT") or token.quota_project:
        made["x-goog-user-project"] = project
    return made


async def settings(lookup: Lookup) -> dict[str, str]:
    """Return the project and the location, as far as gcloud's configuration and the credentials know them.

    Raises: SidecarError when the credentials are there and cannot be used, as `headers` would.
    """

    async def token(source: Source) -> Secret:
        return (await _token(_Asking(source, lookup.http, lookup.sessions))).value

    servers = Servers(token, partial(_send, lookup.http), partial(_ask_metadata, lookup.http))
    try:
        with anyio.fail_after(LIMIT_SECONDS):
            return await google_settings.find(lookup, servers)
    except TimeoutError:
        raise SidecarError("timeout", "Google Cloud did not say the project in time.", phase="headers") from None


def _makes_tokens(credential: Secret | None) -> bool:
    return credential is None or credential.kind == "document"


async def _asking(call: Call) -> _Asking:
    target = call.target
    source = await google_files.find(target.env, target.route.settings, target.credential)
    return _Asking(source, call.http, call.sessions)


def _kept(asking: _Asking) -> Kept:
    everything: dict[Any, Kept] = asking.sessions.setdefault(__name__, {})
    kept = everything.pop(asking.source.key, None) or Kept()
    # What was used last stands last, and what stands first goes.
    everything[asking.source.key] = kept
    if len(everything) > MAX_KEPT:
        del everything[next(iter(everything))]
    return kept


async def _token(asking: _Asking) -> Token:
    kept = _kept(asking)
    if token := kept.fresh():
        return token
    try:
        with anyio.fail_after(LIMIT_SECONDS):
            async with kept.lock:
                return kept.fresh() or await _renewed(asking, kept)
    except TimeoutError:
        raise SidecarError("timeout", "No access token came in time.", phase="headers") from None


async def _renewed(asking: _Asking, kept: Kept) -> Token:
    """Return a new token and keep it; the lock is held."""
    source = asking.source
    if source.host:
        kept.token = await _from_metadata(asking.http, source.host)
        return kept.token
    if kept.credentials is None:
        kept.credentials = await google_files.load(source)
    credentials = kept.credentials
    # A thread that nobody waits for any longer finds its requests cancelled.
    await anyio.to_thread.run_sync(_refresh, credentials, _requester(asking), source.hint, abandon_on_cancel=True)
    kept.token = _token_of(credentials)
    return kept.token


def _token_of(credentials: Any) -> Token:
    # The library's expiry is in UTC without saying so.
    until = None if credentials.expiry is None else credentials.expiry.replace(tzinfo=UTC)
    project = getattr(credentials, "quota_project_id", None)
    return Token(Secret(credentials.token, "none", "token"), until, time.monotonic(), project)


# --- tokens ----------------------------------------------------------------------------------


class Answer(msgspec.Struct, frozen=True):
    """A reply in the shape that the library reads."""

    status: int
    headers: dict[str, str]
    data: bytes


def _requester(asking: _Asking) -> Callable[..., Answer]:
    """Return what the library asks through: our own HTTP client, from the library's thread."""
    # The user's own file names the server: another cloud's metadata, it may be.
    send = partial(_send, link_local=not asking.source.brought)

    def request(
        url: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None, **_: object
    ) -> Answer:
        wanted = HttpRequest(method=method, url=url, headers=headers or {}, body=body or b"")
        try:
            return anyio.from_thread.run(send, asking.http, wanted)
        except SidecarError as error:
            raise exceptions().TransportError(error.body.message) from error

    return request


async def _send(http: Transport, request: HttpRequest, *, link_local: bool = False) -> Answer:
    limits = HttpTimeouts(connect=LIMIT_SECONDS, first_byte=LIMIT_SECONDS, idle=LIMIT_SECONDS)
    async with http.send(request, {}, limits, link_local=link_local) as response:
        return Answer(response.status, response.headers, await read_body(response, MAX_REPLY_BYTES))


def _refresh(credentials: Any, request: Callable[..., Answer], hint: str) -> None:
    """Renew the token of *credentials*, in a worker thread.

    Raises: SidecarError, `auth_required` when they are no longer good.
    """
    library = exceptions()
    try:
        credentials.refresh(request)
    except library.TransportError as error:
        cause = error.__cause__
        if isinstance(cause, SidecarError):
            raise cause.with_(message=f"No access token is to be had: {cause.body.message}") from None
        raise SidecarError("network_error", "No access token is to be had.") from None
    except library.GoogleAuthError as error:
        raise _refused(error, hint) from None


def _refused(error: Any, hint: str) -> SidecarError:
    reply = error.args[1] if len(error.args) > 1 else None
    word = reply.get("error") if isinstance(reply, dict) else None
    code = clean(word) if isinstance(word, str) else None
    if error.retryable:
        return SidecarError("provider_error", "Google could not make an access token.", provider_code=code)
    text = "Google refused to make an access token from these credentials."
    return SidecarError("auth_required", text, provider_code=code, hint=hint)


async def _ask_metadata(http: Transport, host: str, path: str) -> Answer:
    """Return the answer of a metadata server. One that is not there has no credentials, and never will."""
    url = f"http://{host}/computeMetadata/v1/{path}"
    request = HttpRequest(method="GET", url=url, headers={"metadata-flavor": "Google"})
    try:
        with anyio.fail_after(METADATA_SECONDS):
            return await _send(http, request, link_local=True)
    except (TimeoutError, SidecarError):
        raise required("The metadata server that the environment speaks of does not answer.", LOGIN) from None


async def _from_metadata(http: Transport, host: str) -> Token:
    answer = await _ask_metadata(http, host, f"instance/service-accounts/default/token?scopes={SCOPE}")
    reply = parse_json(answer.data) if answer.status == 200 else None
    value = reply.get("access_token") if isinstance(reply, dict) else None
    if not isinstance(reply, dict) or not isinstance(value, str):
        raise required("The metadata server gives no access token.", "Give this machine a service account.")
    seconds = reply.get("expires_in")
    life = timedelta(seconds=min(seconds, 86_400)) if isinstance(seconds, int) else REFRESH_EARLY
    return Token(Secret(value, "none", "token"), datetime.now(UTC) + life, time.monotonic())
