"""Which credential may go where: none is ever sent to a server that it was not given for. [pure]"""

from collections.abc import Mapping

from protocol.settings import Settings
from sidecar.catalogue import provider_rows
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.secret import Secret
from sidecar.providers.addresses import find_base_address
from sidecar.providers.settings import merge_settings
from sidecar.providers.values import BaseAddress, Provider, ResolvedProvider, TargetSpec


def select_credential(provider: Provider, address: BaseAddress, credential: Secret | None) -> Secret | None:
    """Return *credential* if it may go to *address*, or None if the provider needs none.

    Raises: SidecarError `auth_required`, or `invalid_request` for a request that sets the address but brings no key.
    """
    if credential is not None and _belongs(provider, address, credential):
        return credential
    row = provider.row
    if address.source == "request" and not (row.auth.optional and row.address.private_network):
        text = "A request that chooses the server must bring its own credential: add `params.api_key`."
        raise invalid_request(text, "params.api_key")
    if credential is None and provider.id in provider.setup.found.locked:
        text = f"The keychain does not give the credential for {row.name}. It is probably locked."
        hint = "Unlock the keychain and ask again."
        raise SidecarError("auth_required", text, retryable=True, reason="keychain", hint=hint)
    if row.auth.optional:
        return None
    if credential is None:
        hint = _suggest_places(row, provider.setup.config.env)
        raise SidecarError("auth_required", f"There is no credential for {row.name}.", hint=hint)
    if credential.source == "store":
        raise SidecarError(
            "auth_required",
            f"The stored credential for {row.name} belongs to another address than the one that is set now.",
            hint=_explain_variable(address) or "Log in again with `authenticate`.",
        )
    raise SidecarError(
        "auth_required",
        f"The credential for {row.name} does not belong to the base address that the {address.source} sets.",
        hint=_explain_variable(address) or "Set the key in the same place as `base_url`.",
    )


def _explain_variable(address: BaseAddress) -> str | None:
    if address.variable is None:
        return None
    return (
        f"{address.variable} is an address for a key of the environment alone: unset it, or set the address as "
        "`base_url` in the configuration and its key with it."
    )


def _belongs(provider: Provider, address: BaseAddress, credential: Secret) -> bool:
    if credential.source == "request":
        return True
    if credential.source == "store":
        if address.source == "request" or address.variable is not None:
            return False
        return credential.server == describe_server(provider)
    if credential.source == "environment" and provider.row.auth.key_base_url:
        return url_policy.has_same_origin(address.url, provider.row.auth.key_base_url)
    return address.source in ("none", "gateway", credential.source)


def describe_server(provider: Provider, requested: Settings | None = None) -> str:
    """Return the server that the user has set for *provider*, to which a credential that is stored now belongs.

    *requested* are the settings that are stored with it.

    Raises: SidecarError as a request to that server does.
    """
    spec = TargetSpec(provider=provider.id)
    resolved = ResolvedProvider(provider, spec, "", merge_settings(provider, requested))
    address = find_base_address(resolved, has_key=True)
    is_built_in = address.source in ("none", "gateway") or address.variable is not None
    place = "built-in" if is_built_in else url_policy.get_origin(address.url)
    names = [key for key, setting in provider.row.settings.items() if setting.binds_credential]
    return " ".join([place, *(f"{key}={resolved.settings[key]}" for key in names if key in resolved.settings)])


def check_prefix(provider: Provider, address: BaseAddress, credential: Secret) -> None:
    """Refuse a key that begins as another provider's keys do, if it would go to the provider's own address.

    Raises: SidecarError `invalid_request`, which never repeats the key.
    """
    if credential.kind != "key" or address.source != "none":
        return
    owners = provider_rows.find_key_owners(credential.reveal())
    if owners and provider.id not in owners:
        rows = provider_rows.read_providers()
        names = " or ".join(rows[owner].name for owner in owners)
        where = "params.api_key" if credential.source == "request" else None
        raise invalid_request(f"The key for {rows[provider.id].name} looks like a key for {names}.", where)


def _suggest_places(row: ProviderRow, env: Mapping[str, str]) -> str:
    """Return the ways to set a credential, as a sentence."""
    # If a part of an identity is set, name all that belongs to it.
    identities = [f"all of {', '.join(together)}" for together in row.auth.identity_env if any(map(env.get, together))]
    variables = [*row.auth.key_env, *identities]
    ways = [
        *(["log in with `authenticate`"] if row.auth.login else []),
        *([f"set {' or '.join(variables)}"] if variables else []),
        "put `api_key` into the provider's table of the configuration",
    ]
    sentence = f"{', '.join(ways)}, or send `params.api_key`."
    return sentence[0].upper() + sentence[1:]
