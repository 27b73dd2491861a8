"""The session that a GitHub token is exchanged for: where that happens, and to which address a session may lead.

Source: what public clients do with `copilot_internal/v2/token`, read 2026-11.
"""

from typing import Any

import msgspec

from protocol.requests import ClientInfo
from sidecar import __version__
from sidecar.auth.exchange import Answer, Question
from sidecar.auth.logins import renewal
from sidecar.auth.scheme import Call
from sidecar.auth.token_cache import Minted, Terms
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.json_values import parse_json, read_object
from sidecar.core.secret import Secret
from sidecar.providers.templates import fill
from sidecar.providers.values import Target
from sidecar.wires.shared.error_rules import ReportedError, classify_error, read_plain_text
from sidecar.wires.shared.errors import make_unexpected_body_error

API_VERSION = "2025-05-01"
"""`X-GitHub-Api-Version`: newer ones change the shape of the list of models."""

ANSWER_SECONDS = 15.0
"""How long one answer may take."""

MAX_ATTEMPTS = 2

USUAL_LIFE_SECONDS = 1500.0
"""How long a session is used that does not say for how long."""

MAX_LIFE_SECONDS = 86_400
"""How long a session is used at most, whatever it says."""

TERMS = Terms()

HOME = "github.com"


class Session(msgspec.Struct, frozen=True):
    """What a GitHub token was exchanged for."""

    token: Secret
    base_url: str | None


async def mint(call: Call) -> Minted[Session]:
    """Return a new session for the call's GitHub token.

    Raises: SidecarError as the API refuses; `auth_required` when a stored login has been revoked.
    """
    try:
        answer = await call.exchange(_make_question(call))
    except SidecarError as error:
        if error.body.provider_status != 401:
            raise
        other = await renewal.replace(call)
        if other is None:
            raise
        answer = await call.exchange(_make_question(msgspec.structs.replace(call, target=other)))
    return _read_session(answer, call.target.route.settings.get("domain", HOME))


def _make_question(call: Call) -> Question:
    """Return the question for a session, to the origin that the call's GitHub token was given for."""
    token = call.target.credential or Secret("", "none")
    request = HttpRequest(
        method="GET",
        url=_make_url(call.target),
        headers={
            "accept": "application/json",
            "authorization": f"token {token.reveal()}",
            "x-github-api-version": API_VERSION,
            "editor-version": make_editor_version(call.client),
        },
    )
    return Question(
        request=request,
        timeouts=HttpTimeouts(first_byte_seconds=ANSWER_SECONDS, idle_seconds=ANSWER_SECONDS),
        secrets=(token,),
        classify=_classify,
        max_attempts=MAX_ATTEMPTS,
    )


def _make_url(target: Target) -> str:
    login, source = target.row.auth.login, target.credential.source if target.credential else "none"
    given = {"domain": HOME} | target.route.settings
    template = login.api_base_url if login else "https://api.{domain}"
    api = fill(template, target.route.provider, target.row, given)
    is_named = source == "configuration" and api != f"https://api.{HOME}"
    if target.has_custom_address and source in ("request", "configuration") and not is_named:
        # A token that came with an address of its own goes nowhere else.
        api = target.route.base_url
    return f"{api}/copilot_internal/v2/token"


def _classify(answer: Answer) -> SidecarError | None:
    if answer.status < 300:
        return None
    said = answer.read_object()
    message = read_object(said.get("error_details")).get("message") or said.get("message")
    reported = ReportedError(message=str(message or read_plain_text(answer.body) or ""))
    error = classify_error(reported, answer.status, answer.headers, {})
    hint = "Does this account have Copilot?" if answer.status in (403, 404) else "Log in to GitHub again."
    code = "permission_denied" if answer.status == 404 else error.body.code
    return error.with_fields(code=code, hint=hint)


def _read_session(answer: Answer, domain: str) -> Minted[Session]:
    reply = parse_json(answer.body)
    if not isinstance(reply, dict) or not isinstance(reply.get("token"), str):
        raise make_unexpected_body_error()
    # How long, never until when: the clock here may be wrong.
    life = reply.get("refresh_in")
    seconds = USUAL_LIFE_SECONDS
    if isinstance(life, (int, float)) and not isinstance(life, bool):
        seconds = float(min(life, MAX_LIFE_SECONDS))
    endpoints = reply.get("endpoints")
    base_url = _check_address(endpoints.get("api"), domain) if isinstance(endpoints, dict) else None
    return Minted(Session(Secret(reply["token"], "none", "token"), base_url), seconds)


def make_editor_version(client: ClientInfo | None) -> str:
    """Return the host editor's name and version as the API reads them; our own where it has not said them."""
    if client is None:
        return f"sidecar/{__version__}"
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in client.name)
    version = "".join(c for c in client.version if c.isascii() and (c.isalnum() or c in "._+-"))
    return f"{name}/{version or '0'}"


def read_address(token: str) -> str | None:
    """Return the address that a session token names in its `proxy-ep`, or None."""
    fields = dict(field.partition("=")[::2] for field in token.partition(":")[0].split(";"))
    host = fields.get("proxy-ep", "")
    return _check_address(f"https://{host.replace('proxy.', 'api.', 1)}", HOME) if host.startswith("proxy.") else None


def _check_address(url: Any, domain: str) -> str | None:
    """Return *url* when a session may lead there: https, at the API's own domain or at that of the enterprise."""
    try:
        address = url_policy.check_base_url(str(url), "endpoints.api", private_network=False)
    except SidecarError:
        return None
    host = url_policy.get_host(address)
    is_ours = host == domain or host.endswith((".githubcopilot.com", ".ghe.com", f".{domain}"))
    return address if is_ours else None
