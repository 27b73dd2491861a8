"""Anthropic: a key, or the login of a profile or of a workload, as Anthropic's own SDK finds it.

The chain is the SDK's: the profile that ANTHROPIC_PROFILE names, the workload that ANTHROPIC_FEDERATION_RULE_ID
describes, the active profile of ANTHROPIC_CONFIG_DIR. The SDK is imported and asked in a worker thread, sends its
requests through our exchange, and is not loaded at all for a key.
Source: anthropic 2.11.0 `lib/credentials/`, read 2026-11.
"""

import time
from functools import partial
from typing import Any

import msgspec

from sidecar.auth.exchange import Answer, Exchange, Question
from sidecar.auth.extras import require_extra
from sidecar.auth.redaction import Authorized
from sidecar.auth.scheme import Call, replace_token
from sidecar.auth.token_cache import Key, Minted, Terms
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.json_values import parse_json
from sidecar.core.secret import Secret
from sidecar.providers.values import Target

BETA = "oauth-2025-04-20"
"""What a login's token needs in `anthropic-beta`."""

ANSWER_SECONDS = 30.0
"""How long one answer may take, as in the SDK."""

TERMS = Terms(limit_seconds=35.0, early_seconds=120.0)
"""The SDK too replaces a token two minutes early: some last ten minutes."""

_HINT = "Log in to the profile again, or set ANTHROPIC_API_KEY."


class Login(msgspec.Struct, frozen=True):
    """A token, and what goes with it."""

    token: Secret
    headers: dict[str, str]
    base_url: str | None


async def prepare(call: Call) -> Target:
    """Return the target at the address that the login's profile names.

    Raises: SidecarError `auth_required` for an address of the user's own: the login was not given for that.
    """
    target = call.target
    if target.credential is not None:
        return target
    if target.has_custom_address:
        text = "This machine's Anthropic login is for Anthropic's own address alone."
        raise SidecarError("auth_required", text, hint="Name the key's variable beside that base_url: `api_key_env`.")
    login = await _get_login(call)
    if login.base_url is None:
        return target
    base_url = url_policy.check_base_url(login.base_url, "base_url", private_network=False)
    route = msgspec.structs.replace(target.route, base_url=base_url)
    return msgspec.structs.replace(target, route=route, list_base_url=base_url)


async def make_headers(call: Call) -> Authorized:
    """Return the header of the key, or those of the login.

    Raises: SidecarError `auth_required` when there is no login or it is refused; `network_error`, `provider_error` or
    `timeout` when no token can be obtained now.
    """
    credential = call.target.credential
    if credential is not None:
        return Authorized({"authorization": f"Bearer {credential.reveal()}"}, frozenset({"authorization"}))
    login = await _get_login(call)
    wanted = call.request.headers.get("anthropic-beta") if call.request else None
    betas = {"anthropic-beta": f"{wanted},{BETA}" if wanted else BETA}
    headers = login.headers | betas | {"authorization": f"Bearer {login.token.reveal()}"}
    return Authorized(headers, frozenset({"authorization"}))


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Replace the login's token after a refusal; None when that would not help."""
    if call.target.credential is not None:
        return None
    return await replace_token(call, error, _key(call), partial(_mint, call, is_refused=True), TERMS)


def _key(call: Call) -> Key:
    return Key("anthropic", call.target.route.provider)


async def _get_login(call: Call) -> Login:
    return await call.memory.tokens.get(_key(call), partial(_mint, call, is_refused=False), TERMS)


async def _mint(call: Call, *, is_refused: bool) -> Minted[Login]:
    work = partial(_ask_sdk, call.exchange, is_refused=is_refused)
    return await call.memory.tokens.run_in_thread(_key(call), work)


def _ask_sdk(exchange: Exchange, *, is_refused: bool) -> Minted[Login]:
    """Return what the SDK's chain finds; imports the SDK, reads files and asks the token endpoint."""
    require_extra("anthropic", "anthropic")
    import anthropic
    from anthropic.lib import credentials

    try:
        result: Any = credentials.default_credentials()
        if result is None:
            raise SidecarError("auth_required", "There is no Anthropic login on this machine.", hint=_HINT)
        result.provider.close()
        result.provider._http_client = _HttpClient(exchange)  # noqa: SLF001 - the chain takes no client of ours
        token: Any = result.provider(force_refresh=is_refused)
    except credentials.WorkloadIdentityError as error:
        raise _make_refusal(error) from None
    except (anthropic.AnthropicError, OSError, ValueError):
        # What is wrong with the profile may be a part of it, so no error says it.
        raise SidecarError("auth_required", "The Anthropic profile cannot be used.", hint=_HINT) from None
    login = Login(
        token=Secret(token.token, "none", "token"),
        headers={name.lower(): value for name, value in result.extra_headers.items()},
        base_url=result.base_url.rstrip("/") if result.base_url else None,
    )
    return Minted(login, None if token.expires_at is None else token.expires_at - time.time())


def _make_refusal(error: Any) -> SidecarError:
    status = error.status_code
    if status is None:
        return SidecarError("auth_required", "The Anthropic login cannot be used.", hint=_HINT)
    if status < 300 or status >= 500 or status == 429:
        # A success that holds no token is the server's fault too.
        text = "Anthropic could not make an access token."
        return SidecarError("provider_error", text, provider_status=None if status < 300 else status)
    return SidecarError("auth_required", "Anthropic no longer accepts this machine's login.", hint=_HINT)


# --- the SDK's requests ----------------------------------------------------------------------


class _Reply:
    """A reply, as the SDK reads one."""

    def __init__(self, answer: Answer) -> None:
        self.status_code = answer.status
        self.headers = answer.headers
        self.content = answer.body
        self.text = answer.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the document; raises ValueError for what is none, as the SDK expects."""
        document = parse_json(self.content)
        if document is None:
            raise ValueError
        return document


class _HttpClient:
    """What the SDK uses of an HTTP client, from its worker thread."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def post(self, url: str, *, content: bytes, headers: dict[str, str]) -> _Reply:
        """Return the reply to one request.

        Raises: SidecarError `network_error` or `timeout`, which passes through the SDK.
        """
        from anyio import from_thread  # Few credentials need it.

        named = {name.lower(): value for name, value in headers.items()}
        question = Question(
            request=HttpRequest(method="POST", url=url, headers=named, body=content),
            timeouts=HttpTimeouts(first_byte_seconds=ANSWER_SECONDS, idle_seconds=ANSWER_SECONDS),
        )
        try:
            return _Reply(from_thread.run(self._exchange, question))
        except SidecarError as error:
            raise error.with_fields(message=f"Anthropic's login could not be reached: {error.body.message}") from None
