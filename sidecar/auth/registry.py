"""The schemes by name, each imported on first use.

A new scheme is a module of `sidecar.auth.schemes` that offers what `Scheme` says, and a row in the table.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sidecar.auth.scheme import Scheme, SettingsScheme


def _import_anthropic() -> Scheme:
    from sidecar.auth.schemes import anthropic

    return anthropic


def _import_aws() -> Scheme:
    from sidecar.auth.schemes import aws

    return aws


def _import_azure() -> Scheme:
    from sidecar.auth.schemes import azure

    return azure


def _import_bearer() -> Scheme:
    from sidecar.auth.schemes import bearer

    return bearer


def _import_copilot() -> Scheme:
    from sidecar.auth.schemes import copilot

    return copilot


def _import_google() -> Scheme:
    from sidecar.auth.schemes import google

    return google


def _import_openai() -> Scheme:
    from sidecar.auth.schemes import openai

    return openai


def _import_aws_settings() -> SettingsScheme:
    from sidecar.auth.schemes import aws

    return aws


def _import_google_settings() -> SettingsScheme:
    from sidecar.auth.schemes import google

    return google


_SCHEMES: Mapping[str, Callable[[], Scheme]] = MappingProxyType(
    {
        "anthropic": _import_anthropic,
        "aws": _import_aws,
        "azure": _import_azure,
        "bearer": _import_bearer,
        "copilot": _import_copilot,
        "google": _import_google,
        "openai": _import_openai,
    }
)

_SETTINGS_SCHEMES: Mapping[str, Callable[[], SettingsScheme]] = MappingProxyType(
    {"aws": _import_aws_settings, "google": _import_google_settings}
)


def load_scheme(name: str) -> Scheme:
    """Return the scheme called *name*; tables of providers name no other."""
    return _SCHEMES[name]()


def load_settings_scheme(name: str) -> SettingsScheme:
    """Return the scheme called *name*, whose credentials know settings."""
    return _SETTINGS_SCHEMES[name]()


def list_schemes() -> tuple[str, ...]:
    """Return the names of all schemes."""
    return tuple(_SCHEMES)
