"""GitHub Copilot: a GitHub token, used as it is, and exchanged for a session where the API asks for that.

Knows when a session is needed, and the headers that say who asks and for whom. The host editor is named as what it is;
no other product is impersonated. The exchange is `copilot_session`. The API is not documented: what public clients do,
read 2026-11.
"""

from functools import partial

import msgspec

from protocol.messages import ImagePart, Message, ToolResultPart
from sidecar import __version__
from sidecar.auth.logins import renewal
from sidecar.auth.redaction import Authorized
from sidecar.auth.scheme import Call
from sidecar.auth.schemes import copilot_session
from sidecar.auth.schemes.copilot_session import API_VERSION, TERMS, Session, make_editor_version
from sidecar.auth.token_cache import Key, fingerprint
from sidecar.core.errors import SidecarError
from sidecar.providers.values import Target

_NO_SESSION = frozenset({"auth_failed", "permission_denied", "model_not_found"})
"""Codes of an exchange that is refused: the API's own refusal says more."""


async def prepare(call: Call) -> Target:
    """Return the target with the session of its token, if one was needed before, at the session's own address."""
    target = await renewal.refresh(call)
    if target.credential is None:
        return target
    tokens, key = call.memory.tokens, _key(target)
    if tokens.peek(key) is None:
        return _move(target, copilot_session.read_address(target.credential.reveal()))
    mint = partial(copilot_session.mint, msgspec.structs.replace(call, target=target))
    return _use(target, await tokens.get(key, mint, TERMS))


async def make_headers(call: Call) -> Authorized:
    """Return the bearer and the headers of a conversation."""
    credential = call.target.credential
    if credential is None:
        return Authorized()
    headers = {
        "authorization": f"Bearer {credential.reveal()}",
        "editor-version": make_editor_version(call.client),
        "editor-plugin-version": f"sidecar/{__version__}",
        "x-github-api-version": API_VERSION,
    }
    if call.chat is not None:
        messages = call.chat.messages
        # Follow-ups of an agent are billed otherwise than what a person asks.
        headers["x-initiator"] = "user" if messages[-1].role == "user" else "agent"
        if any(map(_has_image, messages)):
            headers["copilot-vision-request"] = "true"
    return Authorized(headers, frozenset({"authorization"}))


async def renew(call: Call, error: SidecarError) -> Target | None:  # noqa: ARG001 - what a scheme offers
    """Return the target with a session after a refusal; None when that would not help.

    Raises: SidecarError as the exchange does, `auth_required` when a stored login has been revoked.
    """
    if call.target.credential is None:
        return None
    # What was refused may be a session's token: the GitHub token that it came from is the origin's own.
    origin, refused = call.origin or call.target, call.target.credential.reveal()
    tokens, key = call.memory.tokens, _key(origin)
    mint = partial(copilot_session.mint, msgspec.structs.replace(call, target=origin))
    session: Session | None
    try:
        if tokens.peek(key) is None:
            session = await tokens.get(key, mint, TERMS)
        else:
            session = await tokens.replace(key, mint, TERMS, lambda known: known.token.reveal() == refused)
    except SidecarError as failure:
        if failure.body.code in _NO_SESSION:
            return None
        raise
    return None if session is None else _use(origin, session)


def _has_image(message: Message) -> bool:
    if isinstance(message.content, str):
        return False
    return any(
        isinstance(part, ImagePart)
        or (isinstance(part, ToolResultPart) and any(isinstance(each, ImagePart) for each in part.content))
        for part in message.content
    )


def _key(target: Target) -> Key:
    return Key("copilot", target.route.provider, fingerprint(target.credential), target.route.base_url)


def _use(target: Target, session: Session) -> Target:
    return _move(msgspec.structs.replace(target, credential=session.token), session.base_url)


def _move(target: Target, base_url: str | None) -> Target:
    """Return *target* at *base_url*, unless the user has set an address."""
    if base_url is None or target.has_custom_address:
        return target
    route = msgspec.structs.replace(target.route, base_url=base_url)
    return msgspec.structs.replace(target, route=route, list_base_url=base_url)
