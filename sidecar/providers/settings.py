"""The settings of a provider for one request, merged by precedence. [pure]

Precedence: request > configuration > environment > what is stored with a key > the machine's credentials > the
provider's row. Must not know addresses, credentials or HTTP.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.settings import Settings
from sidecar.config.environment import read_provider_variable
from sidecar.core.errors import invalid_request
from sidecar.providers.values import Provider

_PLAIN = re.compile(r"[\w.:@+-]{1,256}", re.ASCII)
_CREDENTIALS = frozenset({"api_key", "api_keys", "api_key_env", "api_keys_env", "access_token", "access_token_env"})
_NAMES = frozenset(Settings.__struct_fields__) - {"api_key", "access_token", "base_url"}


def merge_settings(provider: Provider, requested: Settings | None) -> dict[str, Any]:
    """Return the settings of *provider* that have a value. *requested* are those of the request.

    Raises: SidecarError `invalid_request` for a value with characters that an address cannot have.
    """
    found, merged = provider.setup.found.settings.get(provider.id, {}), dict[str, Any]()
    for key, setting in provider.row.settings.items():
        if value := (setting.discoverable and found.get(key)) or setting.default:
            merged[key] = value
    merged |= read_settings(provider, requested)
    unrestricted = [key for key, setting in provider.row.settings.items() if setting.user_only]
    for key, value in merged.items():
        if isinstance(value, str) and key not in unrestricted and not _PLAIN.fullmatch(value):
            text = f"The setting `{key}` of {provider.id} contains characters that an address cannot have."
            raise invalid_request(text, f"params.settings.{key}")
    return merged


def read_settings(provider: Provider, requested: Settings | None) -> dict[str, Any]:
    """Return the settings that somebody has set: with a stored key, in the environment, the file or the request."""
    env, row = provider.setup.config.env, provider.row
    # Beside a credential of the file, the stored one and what was stored with it do not count.
    stored = {} if _CREDENTIALS & provider.table.keys() else provider.setup.found.stored_settings.get(provider.id, {})
    settings = {key: value for key, value in stored.items() if key in row.settings}
    for key, setting in row.settings.items():
        variables = map(env.get, setting.env)
        if value := read_provider_variable(env, provider.id, key) or next(filter(None, variables), None):
            settings[key] = value
    settings |= {key: value for key, value in provider.table.items() if key in _NAMES or key in row.settings}
    if requested is not None:
        settings |= {key: value for key, value in msgspec.to_builtins(requested).items() if key in _NAMES and value}
    return settings


def find_undiscovered(provider: Provider, requested: Settings | None) -> frozenset[str]:
    """Return the names of the settings that nobody has set and that the machine's credentials may know."""
    names = frozenset(key for key, setting in provider.row.settings.items() if setting.discoverable)
    return names.difference(read_settings(provider, requested)) if names else names


def read_storable(provider: Provider, requested: Settings | None) -> dict[str, str]:
    """Return the settings of a login that are stored with its key.

    Raises: SidecarError `invalid_request` for one that the provider does not have, or that no login may set.
    """
    given = msgspec.to_builtins(requested) if requested else {}
    for key in given:
        setting = provider.row.settings.get(key)
        if setting is None or setting.user_only:
            names = ", ".join(name for name, each in provider.row.settings.items() if not each.user_only) or "none"
            text = f"A login to {provider.row.name} cannot store the setting `{key}`. It can store: {names}."
            raise invalid_request(text, f"params.settings.{key}")
    return given


def changes_server(provider: Provider, requested: Settings | None) -> bool:
    """Return whether the request's settings point the provider at another server than the user's do."""
    if requested is None:
        return False
    values, requested_values = merge_settings(provider, None), msgspec.to_builtins(requested)
    return any(
        setting.binds_credential and requested_values.get(key) not in (None, values.get(key))
        for key, setting in provider.row.settings.items()
    )


def is_on(settings: Mapping[str, Any], key: str) -> bool:
    """Return whether a switch is on: in the configuration, or by a variable that says `true`."""
    return str(settings.get(key, "")).lower() == "true"
