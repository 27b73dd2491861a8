"""Azure OpenAI: a resource's key in `api-key`, or an Entra token as bearer, from the identity that this machine has.

The identity is that of the environment (`azure_identity`). Where it has none, a developer's own `az login` is used if
the package `azure-identity` is installed: it starts the program `az`.
Sources: openai 3.52.0 lib/azure.py, azure-identity 1.27.0 `_credentials/azure_cli.py`, read 2026-11.
"""

import importlib
import time
from functools import partial
from typing import Any

from sidecar.auth.extras import DISTRIBUTION
from sidecar.auth.redaction import Authorized
from sidecar.auth.scheme import Call, replace_token
from sidecar.auth.schemes import azure_identity
from sidecar.auth.schemes.azure_identity import LIMIT_SECONDS, make_required_error
from sidecar.auth.token_cache import Key, Minted, Terms
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.providers.settings import is_on
from sidecar.providers.values import Target

SCOPE = "https://ai.azure.com/.default"
CLASSIC_SCOPE = "https://cognitiveservices.azure.com/.default"
"""Of the addresses that have a date for an `api_version`."""

TERMS = Terms(limit_seconds=LIMIT_SECONDS, early_seconds=300.0)


async def prepare(call: Call) -> Target:
    """Return the target as it is: an identity leads to no address."""
    return call.target


async def make_headers(call: Call) -> Authorized:
    """Return the one header.

    Raises: SidecarError `auth_required` when this machine has no identity, `auth_failed` when it is refused.
    """
    token = call.target.credential
    if token is not None and token.kind != "token":
        return Authorized({"api-key": token.reveal()}, frozenset({"api-key"}))
    if token is None:
        token = await call.memory.tokens.get(_key(call), partial(_mint, call), TERMS)
    return Authorized({"authorization": f"Bearer {token.reveal()}"}, frozenset({"authorization"}))


async def renew(call: Call, error: SidecarError) -> Target | None:
    """Replace the identity's token after a refusal; None when that would not help."""
    if call.target.credential is not None:
        return None
    return await replace_token(call, error, _key(call), partial(_mint, call), TERMS)


def _key(call: Call) -> Key:
    return Key("azure", call.target.route.provider, source=_scope(call))


def _scope(call: Call) -> str:
    is_classic = str(call.target.route.settings.get("api_version", ""))[:1].isdigit()
    return CLASSIC_SCOPE if is_classic else SCOPE


async def _mint(call: Call) -> Minted[Secret]:
    scope, has_metadata = _scope(call), is_on(call.target.route.settings, "instance_metadata")
    identity = await azure_identity.find(call.target.env, scope, has_metadata=has_metadata)
    if identity is not None:
        return await azure_identity.mint(call.exchange, identity)
    return await call.memory.tokens.run_in_thread(_key(call), partial(_mint_for_developer, scope))


def _mint_for_developer(scope: str) -> Minted[Secret]:
    """Return a token of the user who has run `az login`. Blocks, and starts a program.

    Raises: SidecarError `auth_required`.
    """
    try:
        identity: Any = importlib.import_module("azure.identity")
        core: Any = importlib.import_module("azure.core.exceptions")
    except ImportError:
        raise make_required_error(
            "There are no credentials for Azure on this machine.",
            "Set AZURE_OPENAI_API_KEY, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET. To use `az login`, "
            f'install "{DISTRIBUTION}[azure]".',
        ) from None
    try:
        token = identity.AzureCliCredential(process_timeout=int(LIMIT_SECONDS)).get_token(scope)
    except core.ClientAuthenticationError:
        raise make_required_error("There is no login at Azure's own command line.", "Run `az login`.") from None
    return Minted(Secret(token.token, "none", "token"), token.expires_on - time.time())
