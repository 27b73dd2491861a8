"""How a provider is authorized now: by which credential, from where, and what a login would take.

Nothing is asked of the provider. Must not know schemes, or how a credential is stored.
"""

from typing import Literal

from protocol.logins import Authentication, Method
from sidecar.auth.logins.store import Store
from sidecar.catalogue import provider_rows
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Kind, Secret
from sidecar.providers.addresses import list_missing_settings
from sidecar.providers.credentials import find_credential, has_identity
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.settings import merge_settings
from sidecar.providers.values import Provider, ResolvedProvider, TargetSpec

LoginMethod = Literal["api_key", "device", "existing"]

_METHODS: dict[Kind, Method] = {"key": "api_key", "token": "access_token", "document": "api_key"}
"""How a request is authorized, by the kind of its credential."""


def describe_authorization(provider: Provider, store: Store, given: Secret | None = None) -> Authentication:
    """Return how *provider* is authorized, by *given* if that credential comes with the request."""
    name, row = provider.id, provider.row
    credential, problem = find_usable_credential(provider)
    if given is not None and given.source == "request":
        credential, problem = given, None
    stored = store.get(name) if credential and credential.source == "store" else None
    chained = has_chain(provider)
    method: Method | None = None
    if credential is not None:
        method = stored.method if stored else _METHODS[credential.kind]
    elif chained and (row.auth.identity_env or row.auth.identity_files):
        method = "chain"
    return Authentication(
        provider=name,
        ready=problem is None and (credential is not None or chained),
        logins=list_login_methods(provider),
        method=method,
        source=credential.source if credential and credential.source != "none" else None,
        account=stored.account if stored else None,
        existing_account=provider.setup.found.logins.get(name),
        storage=stored.storage if stored else None,
        expires_at=stored.expires_at if stored else None,
        problem=problem,
        missing_settings=_list_missing(provider),
        warnings=store.warnings,
    )


def _list_missing(provider: Provider) -> list[str]:
    try:
        spec = TargetSpec(provider=provider.id)
        return list_missing_settings(ResolvedProvider(provider, spec, "", merge_settings(provider, None)))
    except SidecarError:
        # A setting that cannot be used is reported where it is used.
        return []


def find_usable_credential(provider: Provider) -> tuple[Secret | None, str | None]:
    """Return the credential that a request without one would be sent with, and why it cannot be used."""
    credential, spec = None, TargetSpec(provider=provider.id)
    try:
        credential = find_credential(provider, spec)
        make_target(resolve_provider(provider.setup, spec))
    except SidecarError as error:
        # A request may bring the setting that is missing, and that there is no credential is not a problem of one.
        is_setting = (error.body.param or "").startswith("params.settings.")
        if is_setting or (credential is None and error.body.code == "auth_required"):
            return credential, None
        return None, error.body.message
    return credential, None


def list_login_methods(provider: Provider) -> list[LoginMethod]:
    """Return what `login` accepts for *provider*."""
    if provider.row.auth.scheme == "none":
        return []
    methods: list[LoginMethod] = ["api_key"]
    if provider.row.auth.login:
        methods.append("device")
    if provider.id in provider.setup.found.logins:
        methods.append("existing")
    return methods


def list_variables(provider: Provider) -> list[str]:
    """Return the environment variables that may hold a key or token of *provider*."""
    row, table = provider.row, provider.table
    named = [table[key] for key in ("api_key_env", "access_token_env") if key in table]
    return [*table.get("api_keys_env", ()), *named] or [*row.auth.key_env, *row.auth.token_env]


def has_chain(provider: Provider) -> bool:
    """Return whether a request without a credential would find one on this machine, or needs none.

    As far as can be told without asking the provider.
    """
    row = provider.row
    if not row.auth.optional:
        return False
    if provider.id not in provider_rows.read_providers() or provider.table.get("auth_optional"):
        # The user says that none is needed, or that the machine has one.
        return True
    return not (row.auth.identity_env or row.auth.identity_files) or has_identity(provider)
