"""Providers as they are set up here: the built-in rows, corrected by the user's tables, and the user's own. [pure]"""

from collections.abc import Mapping
from typing import Any

import msgspec

from sidecar.catalogue import provider_rows
from sidecar.catalogue.provider_rows import DeviceLogin, ProviderRow
from sidecar.providers import credentials
from sidecar.providers.setup import Setup
from sidecar.providers.values import Provider
from sidecar.wires.shared.types import Quirks

_ROW_COLUMNS = ("name", "wire", "auth_header", "auth_optional")
"""Keys of the user's table that replace the row's column of the same name."""


def list_providers(setup: Setup) -> dict[str, Provider]:
    """Return every provider by id."""
    return {name: get_provider(setup, name) for name in {**provider_rows.providers(), **setup.config.providers}}


def get_provider(setup: Setup, provider_id: str) -> Provider:
    """Return the provider with an id that is known."""
    row = provider_rows.providers().get(provider_id)
    table = setup.config.providers.get(provider_id)
    if table is not None:
        row = _correct(row or _own_row(provider_id, table), table)
    if row is None:
        raise KeyError(provider_id)
    provider = Provider(provider_id, row, setup)
    if not row.auth_optional and credentials.has_identity(provider):
        return Provider(provider_id, msgspec.structs.replace(row, auth_optional=True), setup)
    return provider


def _own_row(name: str, table: Mapping[str, Any]) -> ProviderRow:
    """Return the row of a provider that only the user knows, a server of unknown make.

    A finish reason is as good an end as `[DONE]` there, and it may need no key.
    """
    return ProviderRow(
        name=name,
        wire="",
        base_url=table.get("base_url", ""),
        quirks=Quirks(done_marker=False),
        private_network=True,
        auth_optional=True,
    )


def _correct(row: ProviderRow, table: Mapping[str, Any]) -> ProviderRow:
    return msgspec.structs.replace(
        row,
        **{key: table[key] for key in _ROW_COLUMNS if key in table},
        wire_fixed="wire" in table,
        login=_correct_login(row.login, table) if row.login else None,
        quirks=msgspec.convert(msgspec.to_builtins(row.quirks) | table.get("quirks", {}), Quirks),
        headers=row.headers | table.get("headers", {}),
    )


def _correct_login(login: DeviceLogin, table: Mapping[str, Any]) -> DeviceLogin:
    changed = {"client_id": table.get("login_client_id", login.client_id)}
    if url := table.get("login_base_url"):
        # One server stands for both.
        changed |= {"base_url": url, "api_base_url": url}
    return msgspec.structs.replace(login, **changed)
