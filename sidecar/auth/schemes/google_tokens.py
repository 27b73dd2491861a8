"""Google Cloud's access tokens: minted by its library (google-auth) in a worker thread, or by a metadata server.

The library asks through our exchange. Must not know where credentials are found.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

import anyio
import msgspec

from sidecar.auth.exchange import Answer, Exchange, Question
from sidecar.auth.memory import Memory
from sidecar.auth.schemes import google_files
from sidecar.auth.schemes.google_files import LOGIN_HINT, SCOPE, Source, load_exceptions, make_required_error
from sidecar.auth.token_cache import Key, Mint, Minted, Terms, fingerprint
from sidecar.core.errors import SidecarError, clean_text
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.secret import Secret

LIMIT_SECONDS = 5.0
"""How long a token may take."""

METADATA_SECONDS = 4.0
"""How long a metadata server, which is near, may take."""

TERMS = Terms(limit_seconds=LIMIT_SECONDS, early_seconds=300.0, min_use_seconds=0.0)
"""A metadata server gives the token that it has, however little of its life is left."""

MAX_LIFE_SECONDS = 86_400


class Token(msgspec.Struct, frozen=True):
    """An access token, and the project that is billed for what it does."""

    value: Secret
    quota_project: str | None = None


class Context(Protocol):
    """What a call and a lookup have in common."""

    @property
    def exchange(self) -> Exchange:
        """Asks what there is to ask."""

    @property
    def memory(self) -> Memory:
        """Where the tokens are kept."""


class Minter(NamedTuple):
    """How the token of one source is found in the cache, and minted."""

    key: Key
    mint: Mint[Token]


def make_minter(context: Context, provider: str, source: Source) -> Minter:
    """Return what mints the tokens of *source* for *provider*."""
    key = Key("google", provider, fingerprint(source.document), source.place)
    return Minter(key, partial(_mint, context, key, source))


async def get_token(context: Context, provider: str, source: Source) -> Secret:
    """Return a token of *source*, minted unless there is one.

    Raises: SidecarError as minting does.
    """
    minter = make_minter(context, provider, source)
    return (await context.memory.tokens.get(minter.key, minter.mint, TERMS)).value


async def _mint(context: Context, key: Key, source: Source) -> Minted[Token]:
    if source.host:
        return await _mint_by_metadata(context.exchange, source.host)
    credentials = await google_files.load(source)
    # A thread that nobody waits for any longer finds its requests cancelled.
    work = partial(_refresh, credentials, _make_requester(context.exchange, source), source.hint)
    return await context.memory.tokens.run_in_thread(key, work)


# --- the library -----------------------------------------------------------------------------


class _Reply(NamedTuple):
    """A reply in the shape that the library reads."""

    status: int
    headers: dict[str, str]
    data: bytes


def _make_requester(exchange: Exchange, source: Source) -> Callable[..., _Reply]:
    """Return what the library sends its requests with, from its worker thread."""
    # The user's own file names the server: another cloud's metadata, it may be.
    link_local = not source.is_brought

    def request(
        url: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None, **_: object
    ) -> _Reply:
        from anyio import from_thread  # Few credentials need it.

        wanted = HttpRequest(method=method, url=url, headers=headers or {}, body=body or b"")
        try:
            answer = from_thread.run(exchange, make_question(wanted, link_local=link_local))
        except SidecarError as error:
            raise load_exceptions().TransportError(error.body.message) from error
        return _Reply(answer.status, answer.headers, answer.body)

    return request


def make_question(request: HttpRequest, *, secrets: tuple[Secret, ...] = (), link_local: bool = False) -> Question:
    """Return the question that *request* is; every answer to it is read."""
    timeouts = HttpTimeouts(connect_seconds=LIMIT_SECONDS, first_byte_seconds=LIMIT_SECONDS, idle_seconds=LIMIT_SECONDS)
    return Question(request=request, timeouts=timeouts, secrets=secrets, link_local=link_local)


def _refresh(credentials: Any, request: Callable[..., _Reply], hint: str) -> Minted[Token]:
    """Return a new token of the library's *credentials*; blocks.

    Raises: SidecarError, `auth_required` when they are no longer good.
    """
    library = load_exceptions()
    try:
        credentials.refresh(request)
    except library.TransportError as error:
        cause = error.__cause__
        if isinstance(cause, SidecarError):
            raise cause.with_fields(message=f"No access token could be obtained: {cause.body.message}") from None
        raise SidecarError("network_error", "No access token could be obtained.") from None
    except library.GoogleAuthError as error:
        raise _make_refusal(error, hint) from None
    token = Token(Secret(credentials.token, "none", "token"), getattr(credentials, "quota_project_id", None))
    if credentials.expiry is None:
        return Minted(token, None)
    # The library's expiry is in UTC without saying so.
    return Minted(token, (credentials.expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds())


def _make_refusal(error: Any, hint: str) -> SidecarError:
    reply = error.args[1] if len(error.args) > 1 else None
    word = reply.get("error") if isinstance(reply, dict) else None
    code = clean_text(word) if isinstance(word, str) else None
    if error.retryable:
        return SidecarError("provider_error", "Google could not make an access token.", provider_code=code)
    text = "Google refused to make an access token from these credentials."
    return SidecarError("auth_required", text, provider_code=code, hint=hint)


# --- the metadata server ---------------------------------------------------------------------


async def ask_metadata(exchange: Exchange, host: str, path: str) -> Answer:
    """Return what the metadata server at *host* answers.

    Raises: SidecarError `auth_required` when nobody answers: it has no credentials, and never will.
    """
    url = f"http://{host}/computeMetadata/v1/{path}"
    request = HttpRequest(method="GET", url=url, headers={"metadata-flavor": "Google"})
    try:
        with anyio.fail_after(METADATA_SECONDS):
            return await exchange(make_question(request, link_local=True))
    except (TimeoutError, SidecarError):
        text = "The metadata server that the environment speaks of does not answer."
        raise make_required_error(text, LOGIN_HINT) from None


async def _mint_by_metadata(exchange: Exchange, host: str) -> Minted[Token]:
    answer = await ask_metadata(exchange, host, f"instance/service-accounts/default/token?scopes={SCOPE}")
    said = answer.read_object() if answer.status == 200 else {}
    value, seconds = said.get("access_token"), said.get("expires_in")
    if not isinstance(value, str):
        raise make_required_error("The metadata server gives no access token.", "Give this machine a service account.")
    life = min(seconds, MAX_LIFE_SECONDS) if isinstance(seconds, int) else 0
    return Minted(Token(Secret(value, "none", "token")), life)
