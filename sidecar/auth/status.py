"""How a provider is authorized now: by which credential, from where, and what a login would take.

Nothing is asked of the provider. Must not know schemes, or how a credential is stored.
"""

from typing import Literal

from protocol.replies import Authentication, Method
from protocol.requests import ListModels
from sidecar.auth.logins.store import Store
from sidecar.catalogue import provider_rows
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Kind, Secret
from sidecar.providers import resolve, settings
from sidecar.providers.setup import Setup

LoginMethod = Literal["api_key", "device", "existing"]

_METHODS: dict[Kind, Method] = {"key": "api_key", "token": "access_token", "document": "api_key"}
"""How a request is authorized, by the kind of its credential."""


def describe_authorization(setup: Setup, store: Store, name: str, given: Secret | None = None) -> Authentication:
    """Return how the provider *name* is authorized, by *given* if that credential comes with the request."""
    row = resolve.known_providers(setup)[name]
    credential, problem = find_credential(setup, name, row)
    if given is not None and given.source == "request":
        credential, problem = given, None
    stored = store.get(name) if credential and credential.source == "store" else None
    has_chain = _has_chain(setup, name, row)
    method: Method | None = None
    if credential is not None:
        method = stored.method if stored else _METHODS[credential.kind]
    elif has_chain and (row.identity_env or row.identity_files):
        method = "chain"
    return Authentication(
        provider=name,
        ready=problem is None and (credential is not None or has_chain),
        logins=list_login_methods(setup, name, row),
        method=method,
        source=credential.source if credential and credential.source != "none" else None,
        account=stored.account if stored else None,
        existing_account=setup.found.logins.get(name),
        storage=stored.storage if stored else None,
        expires_at=stored.expires_at if stored else None,
        problem=problem,
        warnings=store.warnings,
    )


def find_credential(setup: Setup, name: str, row: ProviderRow) -> tuple[Secret | None, str | None]:
    """Return the credential that a request without one would be sent with, and why it cannot be used."""
    credential = None
    try:
        credential = resolve.credential_of(setup, name, row, None)
        resolve.provider_target(setup, name, ListModels())
    except SidecarError as error:
        # A request may bring the setting that is missing, and that there is no credential is not a problem of one.
        is_setting = (error.body.param or "").startswith("params.settings.")
        if is_setting or (credential is None and error.body.code == "auth_required"):
            return credential, None
        return None, error.body.message
    return credential, None


def list_login_methods(setup: Setup, name: str, row: ProviderRow) -> list[LoginMethod]:
    """Return what `login` accepts for the provider *name*."""
    if row.auth == "none":
        return []
    methods: list[LoginMethod] = ["api_key"]
    if row.login:
        methods.append("device")
    if name in setup.found.logins:
        methods.append("existing")
    return methods


def list_variables(setup: Setup, name: str, row: ProviderRow) -> list[str]:
    """Return the environment variables that may hold a key or token of the provider *name*."""
    table = setup.config.providers.get(name, {})
    named = [table[key] for key in ("api_key_env", "access_token_env") if key in table]
    return [*table.get("api_keys_env", ()), *named] or [*row.env, *row.token_env]


def _has_chain(setup: Setup, name: str, row: ProviderRow) -> bool:
    """Return whether a request without a credential would find one on this machine, or needs none.

    As far as can be told without asking the provider.
    """
    if not row.auth_optional:
        return False
    usual = provider_rows.providers().get(name)
    if usual is None or setup.config.providers.get(name, {}).get("auth_optional"):
        # The user says that none is needed, or that the machine has one.
        return True
    return not (row.identity_env or row.identity_files) or settings.has_identity(setup, name, row)
