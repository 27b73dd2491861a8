"""GitHub Copilot: a GitHub token, used as it is, and exchanged for a session where the API asks for that.

Knows the exchange, the address that a session names, and the headers that say who asks and for
whom. The host editor is named as what it is; no other product is impersonated. The API is not
documented: what public clients do, read 2026-11 (`copilot_internal/v2/token`).
"""

import time
from typing import Any

import anyio
import msgspec

from protocol.messages import ImagePart, Message, ToolResultPart
from protocol.requests import ClientInfo
from sidecar import __version__
from sidecar.auth.authorize import Call, hide
from sidecar.auth.logins import renewal
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.http_bodies import read_body, read_error_body
from sidecar.core.json_values import parse_json
from sidecar.core.secret import Secret
from sidecar.providers.templates import fill
from sidecar.providers.values import Target
from sidecar.upstream.gates import retry
from sidecar.wires.shared.error_rules import ReportedError, classify_error, read_plain_text
from sidecar.wires.shared.errors import make_unexpected_body_error

API_VERSION = "2025-05-01"
"""`X-GitHub-Api-Version`: newer ones change the shape of the list of models."""

MIN_SESSION_SECONDS = 60.0
"""How long a session is at least good for, whatever a reply or a refusal says: there must be no storm of exchanges."""

EXCHANGE_SECONDS = 15.0


class Session(msgspec.Struct, frozen=True):
    """What a GitHub token was exchanged for. Times are on the monotonic clock."""

    token: Secret
    base_url: str | None
    since: float
    until: float


async def prepare(call: Call) -> Target:
    """Return the target with the session of its token, when one was needed before, and the session's own address."""
    target = await renewal.current(call)
    if target.credential is None:
        return target
    session: Session | None = call.sessions.get(_key(target))
    if session is None:
        return _at(target, _address_in(target.credential.reveal()))
    if session.until <= time.monotonic():
        session = await _exchanged(msgspec.structs.replace(call, target=target))
    return _with_session(target, session)


async def renew(call: Call, error: SidecarError) -> Target | None:  # noqa: ARG001 - the shape of a scheme
    """Exchange the GitHub token after a refusal; None when that would not help.

    Raises: SidecarError as the exchange does, `auth_required` when a stored login has been taken back.
    """
    refused = call.target.credential
    if refused is None:
        return None
    # What was refused may be a session's token: the GitHub token that it came from is the origin's own.
    origin = call.origin or call.target
    known: Session | None = call.sessions.get(_key(origin))
    if known is not None and time.monotonic() - known.since < MIN_SESSION_SECONDS:
        # Another request has renewed it meanwhile, or it is new and refused all the same.
        return None if known.token.reveal() == refused.reveal() else _with_session(origin, known)
    try:
        session = await _exchanged(msgspec.structs.replace(call, target=origin))
    except SidecarError as failure:
        if failure.body.code in ("auth_failed", "permission_denied", "model_not_found"):
            return None
        raise
    return _with_session(origin, session)


async def headers(call: Call) -> dict[str, str]:
    """Return the bearer and the headers of a conversation."""
    credential = call.target.credential
    if credential is None:
        return {}
    made = {
        "authorization": f"Bearer {credential.reveal()}",
        "editor-version": _editor(call.client),
        "editor-plugin-version": f"sidecar/{__version__}",
        "x-github-api-version": API_VERSION,
    }
    if call.chat is not None:
        messages = call.chat.messages
        # Follow-ups of an agent are billed otherwise than what a person asks.
        made["x-initiator"] = "user" if messages[-1].role == "user" else "agent"
        if any(map(_has_image, messages)):
            made["copilot-vision-request"] = "true"
    return made


def _has_image(message: Message) -> bool:
    if isinstance(message.content, str):
        return False
    return any(
        isinstance(part, ImagePart)
        or (isinstance(part, ToolResultPart) and any(isinstance(each, ImagePart) for each in part.content))
        for part in message.content
    )


def _editor(client: ClientInfo | None) -> str:
    if client is None:
        return f"sidecar/{__version__}"
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in client.name)
    version = "".join(c for c in client.version if c.isascii() and (c.isalnum() or c in "._+-"))
    return f"{name}/{version or '0'}"


def _key(target: Target) -> tuple[str, int]:
    token = target.credential.reveal() if target.credential else ""
    return target.route.base_url, hash(token)


def _with_session(target: Target, session: Session) -> Target:
    return _at(msgspec.structs.replace(target, credential=session.token), session.base_url)


def _at(target: Target, base_url: str | None) -> Target:
    """Return *target* at *base_url*, unless the user has set an address."""
    if base_url is None or target.has_custom_address:
        return target
    route = msgspec.structs.replace(target.route, base_url=base_url)
    return msgspec.structs.replace(target, route=route, list_base_url=base_url)


def _address_in(token: str) -> str | None:
    """Return the address that a session token names in its `proxy-ep`, or None."""
    fields = dict(field.partition("=")[::2] for field in token.partition(":")[0].split(";"))
    host = fields.get("proxy-ep", "")
    return _checked(f"https://{host.replace('proxy.', 'api.', 1)}", _HOME) if host.startswith("proxy.") else None


def _checked(url: Any, domain: str) -> str | None:
    """Return *url* when a session may lead there: https, at the API's own domain or at that of the enterprise."""
    try:
        address = url_policy.base_url(str(url), "endpoints.api", private_network=False)
    except SidecarError:
        return None
    host = url_policy.host_of(address)
    ours = host == domain or host.endswith((".githubcopilot.com", ".ghe.com", f".{domain}"))
    return address if ours else None


async def _exchanged(call: Call) -> Session:
    """Return a new session for the call's GitHub token, exchanged once for all who need it now.

    Raises: SidecarError as the API refuses.
    """
    if call.single_flight is None:
        return await _exchange(call)
    return await call.single_flight.run_once((__name__, _key(call.target)), lambda: _insisting(call))


async def _insisting(call: Call) -> Session:
    """Exchange, and once more after a failure that may pass."""
    try:
        return await _exchange(call)
    except SidecarError as error:
        if error.body.provider_status == 401 and (other := await renewal.replaced(call)) is not None:
            return await _exchange(msgspec.structs.replace(call, target=other))
        wait_ms = retry.wait_ms(error.body, 1, 2, EXCHANGE_SECONDS * 1000)
        if wait_ms is None:
            raise
    await anyio.sleep(wait_ms / 1000)
    return await _exchange(call)


async def _exchange(call: Call) -> Session:
    """Exchange the call's GitHub token, at the origin that it was given for.

    Raises: SidecarError as the API refuses.
    """
    target = call.target
    request = HttpRequest(
        method="GET",
        url=_exchange_url(target),
        headers={
            "accept": "application/json",
            "x-github-api-version": API_VERSION,
            "editor-version": _editor(call.client),
        },
    )
    token = target.credential.reveal() if target.credential else ""
    limits = HttpTimeouts(first_byte=EXCHANGE_SECONDS, idle=EXCHANGE_SECONDS)
    async with call.http.send(request, {"authorization": f"token {token}"}, limits) as response:
        if response.status >= 300:
            body = await read_error_body(response)
            raise hide(_refused(response.status, response.headers, body), target)
        reply = parse_json(await read_body(response))
    session = _session(reply, target.route.settings.get("domain", _HOME))
    call.sessions[_key(target)] = session
    return session


_HOME = "github.com"


def _exchange_url(target: Target) -> str:
    login, source = target.row.auth.login, target.credential.source if target.credential else "none"
    given = {"domain": _HOME} | target.route.settings
    template = login.api_base_url if login else "https://api.{domain}"
    api = fill(template, target.route.provider, target.row, given)
    named = source == "configuration" and api != f"https://api.{_HOME}"
    if target.has_custom_address and source in ("request", "configuration") and not named:
        # A token that came with an address of its own goes nowhere else.
        api = target.route.base_url
    return f"{api}/copilot_internal/v2/token"


def _session(reply: Any, domain: str) -> Session:
    if not isinstance(reply, dict) or not isinstance(reply.get("token"), str):
        raise make_unexpected_body_error()
    # How long, never until when: the clock here may be wrong.
    life = reply.get("refresh_in")
    seconds = float(life) if isinstance(life, (int, float)) and not isinstance(life, bool) else 1500.0
    endpoints, now = reply.get("endpoints"), time.monotonic()
    return Session(
        token=Secret(reply["token"], "none", "token"),
        base_url=_checked(endpoints.get("api"), domain) if isinstance(endpoints, dict) else None,
        since=now,
        until=now + max(MIN_SESSION_SECONDS, seconds),
    )


def _refused(status: int, headers: dict[str, str], body: bytes) -> SidecarError:
    raw = parse_json(body)
    said = raw if isinstance(raw, dict) else {}
    details = said.get("error_details")
    message = (details.get("message") if isinstance(details, dict) else None) or said.get("message")
    error = classify_error(ReportedError(message=str(message or read_plain_text(body) or "")), status, headers, {})
    hint = "Does this account have Copilot?" if status in (403, 404) else "Log in to GitHub again."
    code = "permission_denied" if status == 404 else error.body.code
    return error.with_(code=code, hint=hint)
