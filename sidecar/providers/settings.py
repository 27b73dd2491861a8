"""The settings of a provider for one request: merged by precedence, and put into addresses. [pure]

Precedence: request > configuration > environment > the machine's credentials > the provider's own
table. Must not know credentials' schemes or HTTP.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from protocol.requests import Settings
from sidecar.catalogue import provider_rows
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.config.loader import provider_env
from sidecar.core import url_policy
from sidecar.core.errors import invalid
from sidecar.core.secret import Source
from sidecar.providers.setup import Setup


class Address(msgspec.Struct, frozen=True):
    """A base address and who set it."""

    url: str
    source: Source | Literal["gateway"]


_PLAIN = re.compile(r"[\w.:@+-]{1,256}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9-]{1,63}", re.ASCII)
_DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*", re.ASCII)
_SECRETS = frozenset({"api_key", "access_token", "base_url"})


def merged(setup: Setup, name: str, row: ProviderRow, given: Settings | None) -> dict[str, Any]:
    """Return the plain settings of provider *name*: strings, but for the table `deployments` and switches of the file.

    Raises: SidecarError `invalid_request` for a value that has no business in an address.
    """
    known, settings = setup.found.settings.get(name, {}), dict[str, Any]()
    for key, setting in row.settings.items():
        if value := (setting.from_credential and known.get(key)) or setting.default:
            settings[key] = value
    settings |= _set(setup, name, row, given)
    own = [key for key, setting in row.settings.items() if setting.users_own]
    for key, value in settings.items():
        if isinstance(value, str) and key not in own and not _PLAIN.fullmatch(value):
            text = f"The setting `{key}` of {name} has characters that no address may have."
            raise invalid(text, f"params.settings.{key}")
    return settings


def _set(setup: Setup, name: str, row: ProviderRow, given: Settings | None) -> dict[str, Any]:
    """Return the settings that somebody has set: the environment, the configuration or the request."""
    settings, env = dict[str, Any](), setup.config.env
    for key, setting in row.settings.items():
        if value := provider_env(env, name, key) or next(filter(None, map(env.get, setting.env)), None):
            settings[key] = value
    table = setup.config.providers.get(name, {})
    settings |= {key: value for key, value in table.items() if key in _NAMES or key in row.settings}
    if given is not None:
        settings |= {key: value for key, value in msgspec.to_builtins(given).items() if key in _NAMES and value}
    return settings


def lacking(setup: Setup, name: str, row: ProviderRow, given: Settings | None) -> frozenset[str]:
    """Return the settings that nobody has set and that the machine's credentials may know."""
    asked = frozenset(key for key, setting in row.settings.items() if setting.from_credential)
    return asked.difference(_set(setup, name, row, given)) if asked else asked


_NAMES = frozenset(Settings.__struct_fields__) - _SECRETS


def is_on(settings: Mapping[str, Any], key: str) -> bool:
    """Return whether a switch is on: by the configuration, or by a variable that says `true`."""
    return str(settings.get(key, "")).lower() == "true"


def has_identity(setup: Setup, name: str, row: ProviderRow) -> bool:
    """Return whether the environment, the user's settings or a file name an identity of this machine's."""
    if name in setup.found.identities or any(all(map(setup.config.env.get, together)) for together in row.identity_env):
        return True
    own = _set(setup, name, row, None)
    return any(
        key in own and str(own[key]).lower() != "false" for key, setting in row.settings.items() if setting.identity
    )


def rebound(setup: Setup, name: str, row: ProviderRow, given: Settings | None) -> bool:
    """Return whether a request points a provider at another server by a setting than the user has."""
    if given is None:
        return False
    own = merged(setup, name, row, None)
    asked = msgspec.to_builtins(given)
    return any(setting.binds and asked.get(key) not in (None, own.get(key)) for key, setting in row.settings.items())


def address(
    setup: Setup, name: str, row: ProviderRow, settings: dict[str, Any], given: str | None, *, has_key: bool
) -> Address:
    """Return the base address of provider *name*: the request's, the user's, the gateway's or the built-in one."""
    table = setup.config.providers.get(name, {})
    suffix = _suffix(row, settings, has_key=has_key)
    if given:
        return _checked(given, "request", "params.base_url", suffix, row)
    if "base_url" in table:
        return _checked(table["base_url"], "configuration", f"providers.{name}.base_url", suffix, row)
    if from_env := provider_env(setup.config.env, name, "base_url"):
        return _checked(from_env, "environment", f"SIDECAR_{name.upper()}_BASE_URL", suffix, row)
    if row.host_env and (host := setup.config.env.get(row.host_env)):
        url = url_policy.from_host_variable(host, row.default_port, row.key_base_url)
        return _checked(url, "environment", row.host_env, suffix, row)
    if routed := _gateway(setup, name, row, settings):
        return Address(routed, "gateway")
    variant = provider_rows.variant_of(row, _choosing(settings, has_key=has_key))
    template = (variant and variant.base_url) or row.base_url
    return Address(fill(template, name, row, settings), "none")


def path(row: ProviderRow, name: str, wire: str, model: str, settings: dict[str, Any], *, has_key: bool) -> str | None:
    """Return the path of *wire* at this provider, or None for the wire's own."""
    variant = provider_rows.variant_of(row, _choosing(settings, has_key=has_key))
    template = (variant.paths.get(wire) if variant else None) or row.paths.get(wire)
    return fill(template, name, row, settings | {"model": model}) if template else None


def check_path(row: ProviderRow, name: str, settings: dict[str, Any]) -> str:
    """Return the path of what is asked to see whether a credential is good."""
    variant = provider_rows.variant_of(row, _choosing(settings, has_key=True))
    template = (variant and variant.check_path) or row.check_path or row.lists[0].path
    return fill(template, name, row, settings)


def headers(row: ProviderRow, settings: dict[str, Any]) -> dict[str, str]:
    """Return the fixed headers of a provider, and those made of settings that are set."""
    made = {
        header: template.format_map(settings)
        for header, template in row.setting_headers.items()
        if all(key in settings for key in _FIELD.findall(template))
    }
    return row.headers | made


_FIELD = re.compile(r"\{(\w+)\}")


def fill(template: str, name: str, row: ProviderRow, settings: Mapping[str, Any]) -> str:
    """Return *template* with its settings, percent-encoded.

    Raises: SidecarError `invalid_request` that says which setting is missing and where to put it.
    """
    host_end = template.find("/", len("https://")) % (len(template) + 1) if "://" in template else 0

    def value(match: re.Match[str]) -> str:
        key = match[1]
        if key not in settings:
            raise _missing(key, name, row)
        # What ends a host's name says whose it is, and may be a domain; what stands before it is one label.
        fitting = _DOMAIN if match.end() == host_end else _LABEL
        if match.start() < host_end and not fitting.fullmatch(str(settings[key])):
            raise invalid(f"The setting `{key}` of {name} is no part of a host name.", f"params.settings.{key}")
        # A model's own slashes and `@` are part of paths at every provider that has the model there.
        return quote(str(settings[key]), safe="@/" if key == "model" else "@")

    return _FIELD.sub(value, template)


def _missing(key: str, name: str, row: ProviderRow) -> Exception:
    setting = row.settings.get(key)
    variables = " or ".join(setting.env) if setting and setting.env else f"SIDECAR_{name.upper()}_{key.upper()}"
    return invalid(
        f"{row.name} needs the setting `{key}`.",
        f"params.settings.{key}",
        hint=f"Put `{key}` into [providers.{name}] of the configuration, set {variables}, "
        f"or send `params.settings.{key}`.",
    )


def _choosing(settings: dict[str, Any], *, has_key: bool) -> dict[str, str]:
    """Return what variants choose by: the settings that are strings, and whether there is a key."""
    chosen = {key: value for key, value in settings.items() if isinstance(value, str)}
    return chosen | {"api_key": "set"} if has_key else chosen


def _suffix(row: ProviderRow, settings: dict[str, Any], *, has_key: bool) -> str:
    variant = provider_rows.variant_of(row, _choosing(settings, has_key=has_key))
    return (variant and variant.base_suffix) or row.base_suffix


def _checked(url: str, source: Source, where: str, suffix: str, row: ProviderRow) -> Address:
    private = row.private_network or source == "configuration"
    checked = url_policy.base_url(url, where, private_network=private)
    # The host alone was given: the path that the provider's own SDK would add is added.
    bare = checked.count("/") == 2
    return Address(checked + suffix if bare else checked, source)


def _gateway(setup: Setup, name: str, row: ProviderRow, settings: dict[str, Any]) -> str | None:
    """Return the address behind the user's gateway, when it is for this provider."""
    gateway = setup.config.gateway
    if not gateway or (gateway.get("providers") and name not in gateway["providers"]):
        return None
    if prefix := gateway.get("prefix"):
        return str(prefix).rstrip("/").replace("{provider}", name)
    if row.gateway_path is None:
        return None
    base = provider_rows.gateways()[gateway["kind"]].base_url
    return fill(base, name, row, gateway) + fill(row.gateway_path, name, row, settings)


def gateway_headers(setup: Setup, base: Address) -> dict[str, str]:
    """Return what a request that goes through the user's gateway says to the gateway itself."""
    gateway = setup.config.gateway
    if not gateway or base.source != "gateway" or "kind" not in gateway:
        return {}
    row = provider_rows.gateways()[gateway["kind"]]
    token = gateway.get("token")
    return row.headers | ({row.token_header: f"Bearer {token}"} if token else {})
