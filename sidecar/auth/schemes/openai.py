"""OpenAI: a key as bearer, or the identity of a workload, exchanged for a token.

The variables of OpenAI's guide, OPENAI_IDENTITY_PROVIDER_ID and OPENAI_SERVICE_ACCOUNT_ID, say which identity it is. It
is proven by a token of the platform that the workload runs on: that is in the file OPENAI_IDENTITY_TOKEN_FILE, or with
the source that the setting `subject_token` names. None of the sources starts a program.
Sources: the guides to workload identity federation, for the API and for Codex; openai 3.52.0 `auth/_workload.py` for
the names and addresses of the sources; read 2026-11.
"""

from functools import cache, partial

import anyio
import msgspec

from sidecar.auth.exchange import Answer, Question
from sidecar.auth.redaction import Authorized
from sidecar.auth.scheme import Call, replace_token
from sidecar.auth.token_cache import Key, Minted, Terms
from sidecar.core import resources, url_policy
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.secret import Secret
from sidecar.providers.values import Target
from sidecar.wires.shared.error_rules import list_codes

HOST = "api.openai.com"
"""Where a token goes, or to a region's host below it."""

TOKEN_URL = "https://auth.openai.com/oauth/token"  # noqa: S105 - an address
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"

TERMS = Terms(limit_seconds=35.0, early_seconds=120.0)

ANSWER_SECONDS = 10.0
"""How long one answer may take."""

MAX_FILE_BYTES = 64 * 1024

_HINT = (
    "Check OPENAI_IDENTITY_PROVIDER_ID, OPENAI_SERVICE_ACCOUNT_ID and OPENAI_IDENTITY_TOKEN_FILE, "
    "or set OPENAI_API_KEY."
)


async def prepare(call: Call) -> Target:
    """Return the target as it is: an identity leads to no address.

    Raises: SidecarError `auth_required` for an address that is not OpenAI's own.
    """
    target = call.target
    if target.credential is not None or not target.has_custom_address:
        return target
    host = url_policy.get_host(target.route.base_url)
    if host != HOST and not host.endswith(f".{HOST}"):
        text = "This workload's identity is for OpenAI's own address alone."
        raise SidecarError("auth_required", text, hint="Name the key's variable beside that base_url: `api_key_env`.")
    return target


async def make_headers(call: Call) -> Authorized:
    """Return the header of the key, or of the identity's token.

    Raises: SidecarError `auth_required` when there is no identity or it is refused; `network_error`, `provider_error`
    or `timeout` when no token can be obtained now.
    """
    token = call.target.credential
    if token is None:
        token = await call.memory.tokens.get(_key(call), partial(_mint, call), TERMS)
    return Authorized({"authorization": f"Bearer {token.reveal()}"}, frozenset({"authorization"}))


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Replace the identity's token after a refusal; None when that would not help."""
    if call.target.credential is not None:
        return None
    return await replace_token(call, error, _key(call), partial(_mint, call), TERMS)


def _key(call: Call) -> Key:
    return Key("openai", call.target.route.provider)


# --- the token -------------------------------------------------------------------------------


async def _mint(call: Call) -> Minted[Secret]:
    env = call.target.env
    provider, account = env.get("OPENAI_IDENTITY_PROVIDER_ID"), env.get("OPENAI_SERVICE_ACCOUNT_ID")
    if not provider or not account:
        raise SidecarError("auth_required", "There is no identity for OpenAI on this machine.", hint=_HINT)
    subject, kind = await _read_subject_token(call)
    asked = {
        "grant_type": GRANT_TYPE,
        "subject_token": subject.reveal(),
        "subject_token_type": f"urn:ietf:params:oauth:token-type:{kind}",
        "identity_provider_id": provider,
        "service_account_id": account,
    }
    request = HttpRequest(
        method="POST",
        url=TOKEN_URL,
        headers={"content-type": "application/json", "accept": "application/json"},
        body=msgspec.json.encode(asked),
    )
    timeouts = HttpTimeouts(first_byte_seconds=ANSWER_SECONDS, idle_seconds=ANSWER_SECONDS)
    question = Question(request=request, timeouts=timeouts, secrets=(subject,), classify=_classify)
    try:
        answer = await call.exchange(question)
    except SidecarError as error:
        if error.body.code not in ("network_error", "timeout"):
            raise
        raise error.with_fields(message=f"OpenAI's login could not be reached: {error.body.message}") from None
    said = answer.read_object()
    return Minted(Secret(said["access_token"], "none", "token"), said["expires_in"])


def _classify(answer: Answer) -> SidecarError | None:
    said = answer.read_object()
    if answer.status in (400, 401, 403):
        word = said.get("error")
        code = next(iter(list_codes(word)), None) if isinstance(word, str) else None
        text = "OpenAI does not accept this workload's identity."
        return SidecarError("auth_required", text, provider_code=code, hint=_HINT)
    token, life = said.get("access_token"), said.get("expires_in")
    is_life = isinstance(life, (int, float)) and not isinstance(life, bool) and life > 0
    if answer.status < 300 and isinstance(token, str) and token and is_life:
        return None
    return SidecarError("provider_error", "OpenAI could not make an access token.", reason="login")


# --- what proves the identity ----------------------------------------------------------------

FILE = "k8s_service_account"
"""The source that reads a file: without a name for it, that of the pod's service account."""

SERVICE_ACCOUNT_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"


class _Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """A cloud's metadata server that says a token."""

    url: str
    headers: dict[str, str]
    kind: str
    field: str | None = None
    """Where in a JSON answer the token is; None: it is the whole answer."""


@cache
def _read_metadata_servers() -> dict[str, _Metadata]:
    """Return the sources that are metadata servers, as `subject_token` names them."""
    data = resources.find("auth/schemes/openai_subjects.json").read_bytes()
    return msgspec.json.decode(data, type=dict[str, _Metadata])


async def _read_subject_token(call: Call) -> tuple[Secret, str]:
    """Return the platform's token for this workload, and its kind.

    Raises: SidecarError `auth_required` when there is none, `invalid_request` for a source that does not exist.
    """
    name = call.target.route.settings.get("subject_token", FILE)
    if name == FILE:
        token, kind = await _read_file(call.target.env.get("OPENAI_IDENTITY_TOKEN_FILE") or SERVICE_ACCOUNT_FILE), "jwt"
    elif server := _read_metadata_servers().get(name):
        token, kind = await _ask_metadata(call, server), server.kind
    else:
        known = ", ".join(sorted([FILE, *_read_metadata_servers()]))
        raise invalid_request(f"The setting `subject_token` must be one of {known}.", "subject_token")
    if not token:
        # What is wrong with it may be a part of it, so no error says it.
        raise SidecarError("auth_required", "The workload's own token cannot be read.", hint=_HINT)
    return Secret(token, "environment", "token"), kind


async def _read_file(file: str) -> str:
    try:
        return (await anyio.Path(file).read_bytes())[:MAX_FILE_BYTES].decode().strip()
    except (OSError, ValueError):
        return ""


async def _ask_metadata(call: Call, server: _Metadata) -> str:
    """Return the token that the metadata server says, an empty one when it says none or nobody answers."""
    request = HttpRequest(method="GET", url=server.url, headers=server.headers)
    timeouts = HttpTimeouts(first_byte_seconds=ANSWER_SECONDS, idle_seconds=ANSWER_SECONDS)
    try:
        answer = await call.exchange(Question(request=request, timeouts=timeouts, link_local=True))
    except SidecarError:
        return ""
    if answer.status != 200:
        return ""
    said = answer.body.decode(errors="replace") if server.field is None else answer.read_object().get(server.field)
    return said.strip() if isinstance(said, str) else ""
