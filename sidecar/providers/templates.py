"""Settings put into the templates of a provider's row: addresses, paths and headers. [pure]"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.core.errors import SidecarError, invalid_request

_FIELD = re.compile(r"\{(\w+)\}")
_LABEL = re.compile(r"[A-Za-z0-9-]{1,63}", re.ASCII)
_DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*", re.ASCII)


def fill(template: str, provider: str, row: ProviderRow, settings: Mapping[str, Any]) -> str:
    """Return *template*, an address or a path, with the values of its settings, percent-encoded. *provider* is an id.

    Raises: SidecarError `invalid_request`, which says which setting is missing and where to set it.
    """
    host_end = template.find("/", len("https://")) % (len(template) + 1) if "://" in template else 0

    def value(match: re.Match[str]) -> str:
        key = match[1]
        if key not in settings:
            raise _missing(key, provider, row)
        # The end of a host name says whose it is and may be a whole domain. What precedes it is one label.
        allowed = _DOMAIN if match.end() == host_end else _LABEL
        if match.start() < host_end and not allowed.fullmatch(str(settings[key])):
            raise invalid_request(
                f"The setting `{key}` of {provider} cannot be part of a host name.", f"params.settings.{key}"
            )
        # Slashes and `@` in a model's name belong to the path at every provider with `{model}` in one.
        return quote(str(settings[key]), safe="@/" if key == "model" else "@")

    return _FIELD.sub(value, template)


def _missing(key: str, provider: str, row: ProviderRow) -> SidecarError:
    setting = row.settings.get(key)
    variables = " or ".join(setting.env) if setting and setting.env else f"SIDECAR_{provider.upper()}_{key.upper()}"
    return invalid_request(
        f"{row.name} needs the setting `{key}`.",
        f"params.settings.{key}",
        hint=f"Put `{key}` into [providers.{provider}] of the configuration, set {variables}, "
        f"or send `params.settings.{key}`.",
    )


def fill_headers(templates: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of *templates* whose settings all have a value."""
    return {
        header: template.format_map(settings)
        for header, template in templates.items()
        if all(key in settings for key in _FIELD.findall(template))
    }
