"""Imported logins: what other programs of the user's have left in files, offered, and taken when the user asks.

Knows how such a file is read, which blocks, and whose login it holds. Must not know HTTP or the store.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from sidecar.catalogue.provider_columns import DeviceLogin
from sidecar.config.environment import fill_path
from sidecar.core import platforms, url_policy
from sidecar.core.errors import SidecarError, clean_text
from sidecar.core.secret import Secret, parse_secret
from sidecar.providers.rows import list_providers
from sidecar.providers.settings import merge_settings
from sidecar.providers.setup import Setup
from sidecar.providers.templates import fill
from sidecar.providers.values import Provider

MAX_FILE_BYTES = 1024 * 1024

MAX_ACCOUNT_CHARS = 256


class ImportedLogin(msgspec.Struct, frozen=True):
    """One login, as a program has left it."""

    account: str | None
    """Whose it is; None: the file does not say."""
    token: Secret


def find_accounts(setup: Setup) -> dict[str, str | None]:
    """Return the providers for which there is such a login, and whose it is; blocks."""
    providers = list_providers(setup).values()
    return {provider.id: login.account for provider in providers if (login := find_login(provider)) is not None}


def find_login(provider: Provider) -> ImportedLogin | None:
    """Return the login for the server at which the user has *provider*; the first file that has one wins; blocks."""
    row, login = provider.row, provider.row.auth.login
    if login is None or not login.import_files:
        return None
    try:
        address = fill(login.base_url, provider.id, row, merge_settings(provider, None))
        server = url_policy.check_base_url(address, "login_base_url", private_network=False)
    except SidecarError:
        # A login with a code says what is wrong.
        return None
    env = provider.setup.config.env
    entries = (entry for template in login.import_files for entry in _read_entries(env, template))
    # `github.com`, or with the app that has made it: `github.com:Iv1.0123456789abcdef`.
    ours = (entry for key, entry in entries if key.partition(":")[0].lower() == url_policy.get_host(server))
    return next((found for entry in ours if (found := _read_login(login, entry)) is not None), None)


def _read_login(login: DeviceLogin, entry: Any) -> ImportedLogin | None:
    if not isinstance(entry, dict):
        return None
    token, account = entry.get(login.import_field), entry.get(login.import_account_field)
    try:
        known = parse_secret(token if isinstance(token, str) else "", "none", "token", "token")
    except SidecarError:
        return None
    name = clean_text(account)[:MAX_ACCOUNT_CHARS] if isinstance(account, str) else ""
    return ImportedLogin(name or None, known)


def _read_entries(env: Mapping[str, str], template: str) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a file: none if it does not exist, belongs to another user, or is corrupt."""
    try:
        path = fill_path(env, template)
        if path is None or not path.is_file() or platforms.is_foreign(path.stat()):
            return
        with path.open("rb") as file:
            document = msgspec.json.decode(file.read(MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(document, dict):
        yield from document.items()
