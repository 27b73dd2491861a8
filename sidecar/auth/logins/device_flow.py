"""A login with a code that the user types in a browser: OAuth's device authorization grant.

Knows the two endpoints and their errors. Must not know providers, where a credential is kept, or a browser: the host
shows the code. Sources: RFC 8628; GitHub's "Authorizing OAuth apps" and what its clients have learnt, read 2026-11.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

import anyio
import msgspec

from protocol.logins import DeviceFlow
from protocol.replies import Status
from sidecar.auth.exchange import Exchange, Question
from sidecar.auth.logins.pace import Pace, read_seconds
from sidecar.auth.redaction import redact
from sidecar.catalogue.provider_columns import DeviceLogin
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError, clean_text
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.secret import Kind, Secret, parse_secret
from sidecar.wires.shared.error_rules import list_codes
from sidecar.wires.shared.errors import make_unexpected_body_error

ANSWER_SECONDS = 15.0
"""How long one answer may take."""

MAX_ANSWER_BYTES = 64 * 1024

MIN_INTERVAL_SECONDS = 0.1
DEFAULT_INTERVAL_SECONDS = 5.0
DEFAULT_LIFE_SECONDS = 900
MAX_LIFE_SECONDS = 3600

MAX_ACCOUNT_CHARS = 256

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where to ask, with the settings put in."""

    login: DeviceLogin
    base_url: str
    api_base_url: str


class Code(msgspec.Struct, frozen=True):
    """What the user has to type, and the name of the login that waits for it."""

    shown: DeviceFlow
    device_code: Secret


class Tokens(msgspec.Struct, frozen=True):
    """What a login gives."""

    access: Secret
    renewal: Secret | None
    """Single-use refresh token for replacing an expired `access`."""
    life_seconds: int | None
    """None: it does not expire."""


class _Reply(NamedTuple):
    """An answer; `said` is empty where its body is no JSON object."""

    status: int
    said: dict[str, Any]


def make_endpoints(login: DeviceLogin, settings: dict[str, Any]) -> Endpoints:
    """Return *login* with *settings* put into its addresses.

    Raises: SidecarError `invalid_request` for an address where no login can be.
    """
    base_url, api_base_url = (
        url_policy.check_base_url(template.format_map(settings), "login_base_url", private_network=False)
        for template in (login.base_url, login.api_base_url)
    )
    return Endpoints(login=login, base_url=base_url, api_base_url=api_base_url)


# --- the code --------------------------------------------------------------------------------


async def begin(exchange: Exchange, at: Endpoints) -> Code:
    """Return a new code.

    Raises: SidecarError `auth_failed` or `provider_error` when the server gives none, and as the exchange does.
    """
    form = {"client_id": at.login.client_id} | ({"scope": at.login.scope} if at.login.scope else {})
    reply = await _post(exchange, at.base_url + at.login.code_path, form)
    if "error" in reply.said:
        raise _make_refusal(reply.said)
    if reply.status >= 300 or not reply.said:
        raise SidecarError("provider_error", "The login gives no code.", provider_status=_name_failure(reply.status))
    return _read_code(reply.said, at)


_USER_CODE = re.compile(r"[A-Za-z0-9-]{1,32}")
_PATH = re.compile(r"[\w/.~-]*", re.ASCII)


def _read_interval(said: dict[str, Any]) -> float:
    """Return the seconds between two polls: next to none would be a storm of them."""
    seconds = read_seconds(said.get("interval"), 0.0) or DEFAULT_INTERVAL_SECONDS
    return min(max(seconds, MIN_INTERVAL_SECONDS), MAX_LIFE_SECONDS)


def _read_code(said: dict[str, Any], at: Endpoints) -> Code:
    user_code, uri, device_code = (said.get(key) for key in ("user_code", "verification_uri", "device_code"))
    if not (isinstance(user_code, str) and isinstance(uri, str) and isinstance(device_code, str)):
        raise make_unexpected_body_error()
    # Both are shown to a person, and the address is clicked on: whoever forges them must get nowhere.
    if not _USER_CODE.fullmatch(user_code):
        raise _make_unsafe_error("code")
    shown = DeviceFlow(
        user_code=user_code,
        verification_uri=_check_address(uri, at.base_url),
        expires_in=min(int(read_seconds(said.get("expires_in"), DEFAULT_LIFE_SECONDS)) or 1, MAX_LIFE_SECONDS),
        interval=_read_interval(said),
    )
    return Code(shown, parse_secret(device_code, "none", "device_code"))


def _check_address(uri: str, base_url: str) -> str:
    """Return *uri* if it is an address of the login's own server."""
    try:
        address = url_policy.check_base_url(uri, "verification_uri", private_network=False)
    except SidecarError:
        raise _make_unsafe_error("address") from None
    if not url_policy.has_same_origin(address, base_url) or not _PATH.fullmatch(url_policy.get_path(address)):
        raise _make_unsafe_error("address")
    return address


def _make_unsafe_error(what: str) -> SidecarError:
    text = f"The {what} that the login would have shown is not one of the provider's: it is not passed on."
    return SidecarError("auth_failed", text, reason="unsafe_login")


# --- the wait --------------------------------------------------------------------------------


async def wait(exchange: Exchange, at: Endpoints, code: Code, report: Callable[[Status], None]) -> Tokens:
    """Wait until the user has typed the code, and return what the login gives.

    Calls *report* before each poll with how long it waits. A poll that gets no answer is sent again while the code is
    valid.

    Raises: SidecarError `auth_failed` when the user refuses or the code has expired.
    """
    form = {
        "client_id": at.login.client_id,
        "device_code": code.device_code.reveal(),
        "grant_type": GRANT_TYPE,
    }
    pace, throttled = Pace(code.shown.interval), 0
    with anyio.move_on_after(code.shown.expires_in):
        while True:
            report(Status(state="waiting", wait_ms=int(pace.wait_seconds * 1000)))
            await anyio.sleep(pace.wait_seconds)
            status, said = await _poll(exchange, at, form, code.device_code)
            if "access_token" in said:
                return read_tokens(said)
            if status == 429 or said.get("error") == "slow_down":
                pace, throttled = pace.slow_down(said.get("interval")), throttled + 1
            elif said.get("error", "authorization_pending") == "authorization_pending":
                pace = pace.adapt(is_answered="error" in said)
            else:
                raise _make_refusal(said, code.device_code)
    raise _make_expired_error("The provider took every poll for too early: is this clock right?" if throttled else None)


async def _poll(exchange: Exchange, at: Endpoints, form: dict[str, str], device_code: Secret) -> _Reply:
    """Return what one poll is answered; status 0 when there is no answer."""
    try:
        reply = await _post(exchange, at.base_url + at.login.token_path, form, device_code)
    except SidecarError as error:
        if not error.body.retryable:
            raise
        return _Reply(0, {})
    return reply if reply.status < 500 else reply._replace(said={})


def read_tokens(said: dict[str, Any]) -> Tokens:
    """Return the tokens in an answer.

    Raises: SidecarError `provider_error` for one that no header can carry.
    """
    renewal = said.get("refresh_token")
    access = _read_token(said.get("access_token"), "token")
    life = read_seconds(said.get("expires_in"), 0.0)
    return Tokens(access, _read_token(renewal, "key") if renewal else None, int(life) or None)


def _read_token(value: object, kind: Kind) -> Secret:
    try:
        return parse_secret(value if isinstance(value, str) else "", "none", "token", kind)
    except SidecarError:
        raise make_unexpected_body_error() from None


def compute_expiry(tokens: Tokens, now: datetime) -> str | None:
    """Return when *tokens*, which came *now*, expire, ISO 8601; None: never."""
    if tokens.life_seconds is None:
        return None
    return (now + timedelta(seconds=tokens.life_seconds)).isoformat(timespec="seconds")


# --- renewal and account ---------------------------------------------------------------------


async def renew(exchange: Exchange, at: Endpoints, renewal: Secret) -> Tokens:
    """Return new tokens for the single-use refresh token *renewal*.

    Raises: SidecarError `auth_required` when it is no longer valid, and as the exchange does.
    """
    form = {"client_id": at.login.client_id, "grant_type": "refresh_token", "refresh_token": renewal.reveal()}
    status, said = await _post(exchange, at.base_url + at.login.token_path, form, renewal)
    if "access_token" in said:
        return read_tokens(said)
    if "error" in said and status < 500:
        error = SidecarError("auth_required", "The stored login is no longer valid.", provider_code=_read_word(said))
        raise redact(error, [renewal.reveal()])
    raise SidecarError("provider_error", "The login could not be renewed.", provider_status=_name_failure(status))


async def find_account(exchange: Exchange, at: Endpoints, token: Secret) -> str | None:
    """Return whose login *token* is of, or None when the provider does not say."""
    if at.login.account_path is None:
        return None
    headers = {"accept": "application/json", "authorization": f"Bearer {token.reveal()}"}
    request = HttpRequest(method="GET", url=at.api_base_url + at.login.account_path, headers=headers)
    try:
        status, said = await _ask(exchange, request, (token,))
    except SidecarError:
        return None
    name = said.get(at.login.account_field)
    return clean_text(name)[:MAX_ACCOUNT_CHARS] if status == 200 and isinstance(name, str) and name else None


# --- asking ----------------------------------------------------------------------------------


async def _post(exchange: Exchange, url: str, form: dict[str, str], *secrets: Secret) -> _Reply:
    headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
    request = HttpRequest(method="POST", url=url, headers=headers, body=urlencode(form).encode())
    return await _ask(exchange, request, secrets)


async def _ask(exchange: Exchange, request: HttpRequest, secrets: tuple[Secret, ...]) -> _Reply:
    """Return the answer, whatever its status.

    Raises: SidecarError as the exchange does, and `timeout`.
    """
    question = Question(
        request=request,
        timeouts=HttpTimeouts(first_byte_seconds=ANSWER_SECONDS, idle_seconds=ANSWER_SECONDS),
        secrets=secrets,
        limit_bytes=MAX_ANSWER_BYTES,
    )
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            answer = await exchange(question)
    except TimeoutError:
        raise SidecarError("timeout", "The login gave no answer in time.", phase="headers") from None
    return _Reply(answer.status, answer.read_object())


# --- errors ----------------------------------------------------------------------------------

_ENDS = {"access_denied": "denied", "expired_token": "device_code_expired", "token_expired": "device_code_expired"}
"""The provider's word → our reason."""


def _make_refusal(said: dict[str, Any], sent: Secret | None = None) -> SidecarError:
    """Return what the error in an answer means; the answer may repeat the secret that was *sent*."""
    code = said.get("error")
    reason = _ENDS.get(code) if isinstance(code, str) else None
    if reason == "device_code_expired":
        return _make_expired_error(None)
    if reason == "denied":
        return SidecarError("auth_failed", "The login was refused in the browser.", reason="denied")
    description = said.get("error_description")
    text = f"The login failed: {description}" if isinstance(description, str) else "The login failed."
    return redact(SidecarError("auth_failed", text, provider_code=_read_word(said)), [sent.reveal()] if sent else [])


def _read_word(said: dict[str, Any]) -> str | None:
    """Return the machine code of an error."""
    return next((clean_text(word) for word in list_codes(said.get("error"))), None)


def _make_expired_error(hint: str | None) -> SidecarError:
    text = "The code was not typed in in time."
    return SidecarError("auth_failed", text, reason="device_code_expired", hint=hint or "Log in again for a new code.")


def _name_failure(status: int) -> int | None:
    """Return *status* if it says that something failed."""
    return None if status < 300 else status
