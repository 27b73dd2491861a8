"""Keychains for a process under test, which the variable PYTHON_KEYRING_BACKEND chooses among.

None is `viable`, so that the library finds none of them by itself in a process that has imported this module.
"""

# ruff: noqa: ARG002 - methods are as the base class has them

import os
import threading
from pathlib import Path

import msgspec
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked


def _file() -> Path:
    # Beside the store: not in the home directory, where no secret may be found.
    return Path(os.environ["SIDECAR_STORE_DIR"]).with_name("keychain.json")


class Working(KeyringBackend):
    """One that keeps what it is given, in a file."""

    priority = 9
    viable = False

    def _entries(self) -> dict[str, str]:
        return msgspec.json.decode(_file().read_bytes(), type=dict[str, str]) if _file().exists() else {}

    def _write(self, entries: dict[str, str]) -> None:
        _file().write_bytes(msgspec.json.encode(entries))

    def get_password(self, service: str, username: str) -> str | None:
        return self._entries().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._write(self._entries() | {f"{service} {username}": password})

    def delete_password(self, service: str, username: str) -> None:
        entries = self._entries()
        del entries[f"{service} {username}"]
        self._write(entries)


class Locked(KeyringBackend):
    """One whose user does not unlock it."""

    priority = 9
    viable = False

    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked

    def set_password(self, service: str, username: str, password: str) -> None:
        raise KeyringLocked

    def delete_password(self, service: str, username: str) -> None:
        raise KeyringLocked


class Forgetful(KeyringBackend):
    """One that takes everything and keeps nothing."""

    priority = 9
    viable = False

    def get_password(self, service: str, username: str) -> str | None:
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        pass

    def delete_password(self, service: str, username: str) -> None:
        pass


class Hanging(KeyringBackend):
    """One that never answers, as D-Bus without a desktop."""

    priority = 9
    viable = False

    def get_password(self, service: str, username: str) -> str | None:
        threading.Event().wait()
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        threading.Event().wait()

    def delete_password(self, service: str, username: str) -> None:
        threading.Event().wait()
