"""A login with a code that the user types in a browser: OAuth's device authorization grant (RFC 8628).

Knows the two endpoints, their errors, and how often they may be asked. Must not know providers,
where a credential is kept, or a browser: the host shows the code. Sources: RFC 8628; GitHub's
"Authorizing OAuth apps" and what its clients have learnt, read 2026-11.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import anyio
import msgspec

from protocol.replies import DeviceFlow, Status
from sidecar.catalogue.provider_columns import DeviceLogin
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError, clean, without
from sidecar.core.http import HttpRequest, HttpTimeouts, Transport
from sidecar.core.http_bodies import read_body
from sidecar.core.json_values import parse_json
from sidecar.core.secret import Kind, Secret, secret
from sidecar.wires.shared.error_rules import list_codes
from sidecar.wires.shared.errors import make_unexpected_body_error

ANSWER_SECONDS = 15.0
"""How long one answer is waited for."""

MAX_ANSWER_BYTES = 64 * 1024

DEFAULT_INTERVAL_SECONDS = 5.0
DEFAULT_LIFE_SECONDS = 900
MAX_LIFE_SECONDS = 3600

SLOWER_BY_SECONDS = 5.0
"""What `slow_down` adds to the interval for good."""

MARGIN = 1.2
"""What the wait has over the interval: a server that counts from its own last answer takes less for too early, and
answers every poll that is too early with `slow_down`, whatever the user has done meanwhile."""

MAX_WAIT_SECONDS = 60.0
"""The longest wait after answers that did not come."""

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask, with the settings put in."""

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
    life_seconds: int | None


class Pace(msgspec.Struct, frozen=True):
    """How often to ask. `failures` counts the answers that did not come since the last that did."""

    interval_seconds: float
    failures: int = 0

    @property
    def wait_seconds(self) -> float:
        """How long to wait after the last answer."""
        wait: float = self.interval_seconds * 2**self.failures
        return min(wait, max(MAX_WAIT_SECONDS, self.interval_seconds)) * MARGIN

    def slower(self, told: object) -> "Pace":
        """Return the pace after `slow_down`, which may tell an interval of its own."""
        return Pace(max(self.interval_seconds + SLOWER_BY_SECONDS, _seconds(told, 0.0)))

    def after(self, *, answered: bool) -> "Pace":
        """Return the pace after an answer, or after none."""
        # Two to the tenth is beyond every limit.
        return Pace(self.interval_seconds, 0 if answered else min(self.failures + 1, 10))


def endpoints(login: DeviceLogin, settings: dict[str, Any]) -> Endpoints:
    """Return *login* with *settings* put into its addresses.

    Raises: SidecarError `invalid_request` for what is no address to log in at.
    """
    base_url, api_base_url = (
        url_policy.base_url(template.format_map(settings), "login_base_url", private_network=False)
        for template in (login.base_url, login.api_base_url)
    )
    return Endpoints(login=login, base_url=base_url, api_base_url=api_base_url)


# --- the code --------------------------------------------------------------------------------


async def begin(http: Transport, at: Endpoints) -> Code:
    """Return a new code.

    Raises: SidecarError `auth_failed` when there is none to be had, and as the transport does.
    """
    form = {"client_id": at.login.client_id} | ({"scope": at.login.scope} if at.login.scope else {})
    status, answer = await _post(http, at.base_url + at.login.code_path, form)
    if "error" in answer:
        raise _refused(answer)
    if status >= 300 or not answer:
        raise SidecarError("provider_error", "The login gives no code.", provider_status=_bad(status))
    return _code(answer, at)


_USER_CODE = re.compile(r"[A-Za-z0-9-]{1,32}")
_PATH = re.compile(r"[\w/.~-]*", re.ASCII)


def _code(answer: dict[str, Any], at: Endpoints) -> Code:
    user_code, uri, device_code = (answer.get(key) for key in ("user_code", "verification_uri", "device_code"))
    if not (isinstance(user_code, str) and isinstance(uri, str) and isinstance(device_code, str)):
        raise make_unexpected_body_error()
    # Both are shown to a person, and the address is clicked on: whoever forges them must get nowhere.
    if not _USER_CODE.fullmatch(user_code):
        raise _unsafe("code")
    shown = DeviceFlow(
        user_code=user_code,
        verification_uri=_of_server(uri, at.base_url),
        expires_in=min(int(_seconds(answer.get("expires_in"), DEFAULT_LIFE_SECONDS)) or 1, MAX_LIFE_SECONDS),
        # None at all would be a storm of questions.
        interval=min(_seconds(answer.get("interval"), 0.0) or DEFAULT_INTERVAL_SECONDS, MAX_LIFE_SECONDS),
    )
    return Code(shown, secret(device_code, "none", "device_code"))


def _of_server(uri: str, base_url: str) -> str:
    try:
        address = url_policy.base_url(uri, "verification_uri", private_network=False)
    except SidecarError:
        raise _unsafe("address") from None
    if not url_policy.same_origin(address, base_url) or not _PATH.fullmatch(url_policy.path_of(address)):
        raise _unsafe("address")
    return address


def _unsafe(what: str) -> SidecarError:
    text = f"The {what} that the login would have shown is not one of the provider's: it is not passed on."
    return SidecarError("auth_failed", text, reason="unsafe_login")


def _seconds(value: object, default: float) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 1e9 else default  # type: ignore[operator, arg-type]  # a number


# --- the wait --------------------------------------------------------------------------------


async def wait(http: Transport, at: Endpoints, code: Code, report: Callable[[Status], None]) -> Tokens:
    """Wait until the user has typed the code, and return what the login gives.

    Calls *report* before each poll with how long it waits. A poll that gets no answer is sent again while the code is
    valid.

    Raises: SidecarError `auth_failed` when the user refuses or the code has worn off.
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
            status, answer = await _polled(http, at, form)
            if "access_token" in answer:
                return tokens(answer)
            if status == 429 or answer.get("error") == "slow_down":
                pace, throttled = pace.slower(answer.get("interval")), throttled + 1
            elif answer.get("error", "authorization_pending") == "authorization_pending":
                pace = pace.after(answered="error" in answer)
            else:
                raise _refused(answer, form["device_code"])
    raise _expired("The provider took every question for too early: is this clock right?" if throttled else None)


async def _polled(http: Transport, at: Endpoints, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Return what one poll is answered, nothing when there is no answer."""
    try:
        status, answer = await _post(http, at.base_url + at.login.token_path, form)
    except SidecarError as error:
        if not error.body.retryable:
            raise
        return 0, {}
    return status, answer if status < 500 else {}


def tokens(answer: dict[str, Any]) -> Tokens:
    """Return the tokens in *answer*.

    Raises: SidecarError `provider_error` for one that no header can carry.
    """
    renewal = answer.get("refresh_token")
    access = _token(answer.get("access_token"), "token")
    life = _seconds(answer.get("expires_in"), 0.0)
    return Tokens(access, _token(renewal, "key") if renewal else None, int(life) or None)


def _token(value: object, kind: Kind) -> Secret:
    try:
        return secret(value if isinstance(value, str) else "", "none", "token", kind)
    except SidecarError:
        raise make_unexpected_body_error() from None


def expires_at(tokens: Tokens, now: datetime) -> str | None:
    """Return when *tokens*, which came *now*, wear off, ISO 8601; None: never."""
    if tokens.life_seconds is None:
        return None
    return (now + timedelta(seconds=tokens.life_seconds)).isoformat(timespec="seconds")


_ENDS = {"access_denied": "denied", "expired_token": "device_code_expired", "token_expired": "device_code_expired"}
"""The provider's word → our reason."""


def _refused(answer: dict[str, Any], sent: str = "") -> SidecarError:
    """Return what *answer* means, which may repeat the secret that was *sent*."""
    code = answer.get("error")
    reason = _ENDS.get(code) if isinstance(code, str) else None
    if reason == "device_code_expired":
        return _expired(None)
    if reason == "denied":
        return SidecarError("auth_failed", "The login was refused in the browser.", reason="denied")
    said = answer.get("error_description")
    text = f"The login failed: {without(said, sent)}" if isinstance(said, str) else "The login failed."
    return SidecarError("auth_failed", text, provider_code=_word(code, sent))


def _word(code: object, sent: str) -> str | None:
    return next((without(clean(word), sent) for word in list_codes(code)), None)


def _expired(hint: str | None) -> SidecarError:
    text = "The code was not typed in in time."
    return SidecarError("auth_failed", text, reason="device_code_expired", hint=hint or "Log in again for a new code.")


# --- asking ----------------------------------------------------------------------------------


async def renew(http: Transport, at: Endpoints, renewal: str) -> Tokens:
    """Return new tokens for *renewal*, which is good for one use.

    Raises: SidecarError `auth_required` when it is good for none, and as the transport does.
    """
    form = {"client_id": at.login.client_id, "grant_type": "refresh_token", "refresh_token": renewal}
    status, answer = await _post(http, at.base_url + at.login.token_path, form)
    if "access_token" in answer:
        return tokens(answer)
    if "error" in answer and status < 500:
        text = "The stored login is no longer good."
        raise SidecarError("auth_required", text, provider_code=_word(answer["error"], renewal))
    raise SidecarError("provider_error", "The login could not be renewed.", provider_status=_bad(status))


async def account(http: Transport, at: Endpoints, token: Secret) -> str | None:
    """Return whose login *token* is of, or None when that is not to be known."""
    if at.login.account_path is None:
        return None
    request = HttpRequest(
        method="GET", url=at.api_base_url + at.login.account_path, headers={"accept": "application/json"}
    )
    try:
        status, answer = await _ask(http, request, {"authorization": f"Bearer {token.reveal()}"})
    except SidecarError:
        return None
    name = answer.get(at.login.account_field)
    return clean(name)[:256] if status == 200 and isinstance(name, str) and name else None


async def _post(http: Transport, url: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
    return await _ask(http, HttpRequest(method="POST", url=url, headers=headers, body=urlencode(form).encode()), {})


async def _ask(http: Transport, request: HttpRequest, auth: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Return status and object of the answer, an empty one where it is none.

    Raises: SidecarError as the transport does, and `timeout`.
    """
    limits = HttpTimeouts(first_byte=ANSWER_SECONDS, idle=ANSWER_SECONDS)
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            async with http.send(request, auth, limits) as response:
                document = parse_json(await read_body(response, MAX_ANSWER_BYTES))
    except TimeoutError:
        raise SidecarError("timeout", "The login gave no answer in time.", phase="headers") from None
    return response.status, document if isinstance(document, dict) else {}


def _bad(status: int) -> int | None:
    return None if status < 300 else status
