"""The base address of a provider, who set it, and the paths below it. [pure]

Precedence: request > configuration > SIDECAR_* > the SDKs' variables > gateway > the provider's row. Must not know
credentials.
"""

from collections.abc import Mapping
from typing import Any

from sidecar.catalogue import provider_rows
from sidecar.catalogue.provider_columns import Variant
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.config.environment import read_provider_variable
from sidecar.core import url_policy
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.secret import Source
from sidecar.providers.templates import fill
from sidecar.providers.values import BaseAddress, Provider, ResolvedProvider, Target
from sidecar.wires.shared.types import Route


def find_base_address(resolved: ResolvedProvider, *, has_key: bool) -> BaseAddress:
    """Return the base address.

    Raises: SidecarError `invalid_request` for an address to which nothing may be sent, or a missing setting.
    """
    provider, settings = resolved.provider, resolved.settings
    row = provider.row
    variant = _find_variant(row, settings, has_key=has_key)
    if url := _requested(resolved):
        return _check(url, "request", "params.base_url", row, variant)
    if "base_url" in provider.table:
        return _check(provider.table["base_url"], "configuration", f"providers.{provider.id}.base_url", row, variant)
    if address := _find_environment_address(resolved, variant):
        return address
    if url := _find_gateway_address(provider, settings):
        return BaseAddress(url, "gateway")
    template = (variant and variant.base_url) or row.address.base_url
    return BaseAddress(fill(template, provider.id, row, settings), "none")


def _requested(resolved: ResolvedProvider) -> str | None:
    spec = resolved.spec
    return spec.base_url or (spec.settings.base_url if spec.settings else None)


def _find_environment_address(resolved: ResolvedProvider, variant: Variant | None) -> BaseAddress | None:
    """Return the address that the environment sets, or None if it names no other server."""
    provider = resolved.provider
    row, env = provider.row, provider.setup.config.env
    if url := read_provider_variable(env, provider.id, "base_url"):
        return _check(url, "environment", f"SIDECAR_{provider.id.upper()}_BASE_URL", row, variant)
    if row.address.host_env and (host := env.get(row.address.host_env)):
        url = url_policy.parse_host_variable(host, row.address.host_port, row.auth.key_base_url)
        return _check(url, "environment", row.address.host_env, row, variant)
    return _find_sdk_address(resolved, variant)


def _find_sdk_address(resolved: ResolvedProvider, variant: Variant | None) -> BaseAddress | None:
    """Return the address in a variable of the provider's SDKs, unless a setting names the server or it is the usual."""
    provider, settings = resolved.provider, resolved.settings
    row, env = provider.row, provider.setup.config.env
    if any(setting.binds_credential and key in settings for key, setting in row.settings.items()):
        return None
    for variable in row.address.base_url_env:
        if url := env.get(variable, "").strip():
            path = fill(row.address.base_url_env_path, provider.id, row, settings)
            address = _check(url.rstrip("/") + path, "environment", variable, row, variant)
            is_own = url_policy.has_same_origin(address.url, row.address.base_url)
            return None if is_own else BaseAddress(address.url, "environment", variable)
    return None


def _check(url: str, source: Source, where: str, row: ProviderRow, variant: Variant | None) -> BaseAddress:
    private = row.address.private_network or source == "configuration"
    checked = url_policy.check_base_url(url, where, private_network=private)
    # If there is only a host, add the path that the provider's own SDK would add.
    is_bare = checked.count("/") == 2
    suffix = (variant and variant.default_path) or row.address.default_path
    return BaseAddress(checked + suffix if is_bare else checked, source)


def list_missing_settings(resolved: ResolvedProvider) -> list[str]:
    """Return the settings that a stored key needs beside it, and that have no value.

    What the address alone needs is not missing where the user sets the address.
    """
    row, settings = resolved.provider.row, resolved.settings
    missing = [key for key, setting in row.settings.items() if setting.required and key not in settings]
    if not missing:
        return []
    try:
        address = find_base_address(resolved, has_key=True)
    except SidecarError:
        return missing
    if address.source == "none" or address.variable is not None:
        return missing
    return [key for key in missing if f"{{{key}}}" not in row.address.base_url]


def find_path(row: ProviderRow, route: Route, *, has_key: bool) -> str | None:
    """Return the path of the route's wire, or None for the wire's own."""
    variant = _find_variant(row, route.settings, has_key=has_key)
    template = (variant.paths.get(route.wire) if variant else None) or row.address.paths.get(route.wire)
    return fill(template, route.provider, row, route.settings | {"model": route.model}) if template else None


def find_list_base_url(resolved: ResolvedProvider, address: BaseAddress) -> str:
    """Return the base address of the list of models: the row's own if *address* is the row's own too."""
    row = resolved.provider.row
    if row.address.list_base_url and address.source == "none":
        return fill(row.address.list_base_url, resolved.provider.id, row, resolved.settings)
    return address.url


def find_check_path(target: Target) -> str:
    """Return the path that tests a credential.

    Raises: SidecarError `invalid_request` if every request to the provider costs something.
    """
    row, route = target.row, target.route
    variant = _find_variant(row, route.settings, has_key=True)
    template = (variant and variant.check_path) or row.auth.check_path
    if template is None and not row.models.lists:
        raise invalid_request(f"{row.name} has nothing that tests a key free of charge.", "params.op")
    template = template or row.models.lists[0].path
    return fill(template, route.provider, row, route.settings)


def find_variant_hint(target: Target) -> str | None:
    """Return what to do about a refusal at the target's form of addresses, or None."""
    has_key = target.credential is not None and target.credential.kind == "key"
    variant = _find_variant(target.row, target.route.settings, has_key=has_key)
    return variant.hint if variant else None


def _find_variant(row: ProviderRow, settings: Mapping[str, Any], *, has_key: bool) -> Variant | None:
    """Return the variant for the settings that are strings and for whether there is a key, or None."""
    chosen = {key: value for key, value in settings.items() if isinstance(value, str)}
    return provider_rows.find_variant(row, chosen | {"api_key": "set"} if has_key else chosen)


# --- gateways --------------------------------------------------------------------------------


def _find_gateway_address(provider: Provider, settings: Mapping[str, Any]) -> str | None:
    """Return the provider's address behind the user's gateway, or None if the gateway is not for it."""
    gateway, row = provider.setup.config.gateway, provider.row
    if not gateway or (gateway.get("providers") and provider.id not in gateway["providers"]):
        return None
    if prefix := gateway.get("prefix"):
        return str(prefix).rstrip("/").replace("{provider}", provider.id)
    if row.address.gateway_path is None:
        return None
    base = provider_rows.read_gateways()[gateway["kind"]].base_url
    return fill(base, provider.id, row, gateway) + fill(row.address.gateway_path, provider.id, row, settings)


def make_gateway_headers(provider: Provider, address: BaseAddress) -> dict[str, str]:
    """Return the headers for the gateway itself; empty if *address* is not behind it."""
    gateway = provider.setup.config.gateway
    if not gateway or address.source != "gateway" or "kind" not in gateway:
        return {}
    row = provider_rows.read_gateways()[gateway["kind"]]
    token = gateway.get("token")
    return row.headers | ({row.token_header: f"Bearer {token}"} if token else {})
