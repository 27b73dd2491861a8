"""Google Cloud: an API key, an access token, or the credentials that this machine or a JSON document has.

Where credentials are found is `google_files`, how a token is minted `google_tokens`, and what they know of settings
`google_settings`.
"""

import anyio

from sidecar.auth.redaction import Authorized
from sidecar.auth.scheme import Call, Lookup, replace_token
from sidecar.auth.schemes import google_files, google_settings, google_tokens
from sidecar.auth.schemes.google_tokens import LIMIT_SECONDS, TERMS, Minter
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.providers.values import Target


async def prepare(call: Call) -> Target:
    """Return the target as it is: credentials lead to no address."""
    return call.target


async def make_headers(call: Call) -> Authorized:
    """Return the header of the key or token, or of a token minted from a document or the machine's own credentials.

    Raises: SidecarError `auth_required`, or `timeout` and others when no token can be obtained now.
    """
    credential = call.target.credential
    if credential is not None and not _mints(credential):
        value = credential.reveal()
        if credential.kind == "token":
            return Authorized({"authorization": f"Bearer {value}"}, frozenset({"authorization"}))
        return Authorized({"x-goog-api-key": value}, frozenset({"x-goog-api-key"}))
    minter = await _make_minter(call)
    token = await call.memory.tokens.get(minter.key, minter.mint, TERMS)
    headers = {"authorization": f"Bearer {token.value.reveal()}"}
    if project := call.target.env.get("GOOGLE_CLOUD_QUOTA_PROJECT") or token.quota_project:
        headers["x-goog-user-project"] = project
    return Authorized(headers, frozenset({"authorization"}))


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Replace the token after a refusal; None when that would not help."""
    if error.body.provider_status != 401 or not _mints(call.target.credential):
        return None
    minter = await _make_minter(call)
    return await replace_token(call, error, minter.key, minter.mint, TERMS)


async def find_settings(lookup: Lookup) -> dict[str, str]:
    """Return the project and the location, as far as gcloud's configuration and the credentials know them.

    Raises: SidecarError when the credentials are there and cannot be used, as `make_headers` would.
    """
    try:
        with anyio.fail_after(LIMIT_SECONDS):
            return await google_settings.find(lookup)
    except TimeoutError:
        raise SidecarError("timeout", "Google Cloud did not say the project in time.", phase="headers") from None


def _mints(credential: Secret | None) -> bool:
    return credential is None or credential.kind == "document"


async def _make_minter(call: Call) -> Minter:
    target = call.target
    source = await google_files.find(target.env, target.route.settings, target.credential)
    return google_tokens.make_minter(call, target.route.provider, source)
