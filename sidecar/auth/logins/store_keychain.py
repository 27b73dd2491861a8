"""The system's keychain, where there is one that works; with a time limit, because it may wait for its user.

Knows that a keychain may be slow, absent, locked or stuck. Must not know what a credential is.
"""

import sys
from typing import Any

import anyio
import anyio.to_thread

from sidecar.core import platforms

SERVICE = "sidecar"

LIMIT_SECONDS = 3.0
"""How long one question may take. A locked keychain asks its user, and one without a screen never answers. As in
gh 2.x."""

MIN_PRIORITY = 1
"""What the library recommends; backends below it are none, or a plain file no better than our own."""


class UnusableError(Exception):
    """There is no keychain, or it did not answer."""


class Keychain:
    """The keychain. Whoever asks has one request under way at a time."""

    def __init__(self, *, is_used: bool = True) -> None:
        self._is_used = is_used
        self._busy = False
        """Whether a thread is in there, even if nobody waits for it any more."""

    async def get(self, name: str) -> str | None:
        """Return the secret *name*, None when there is none.

        Raises: UnusableError.
        """
        found: str | None = await self._ask("get_password", name)
        return found

    async def set(self, name: str, secret: str) -> None:
        """Keep *secret* under *name*, and check that it is kept: some backends take it and forget it.

        Raises: UnusableError.
        """
        await self._ask("set_password", name, secret)
        if await self.get(name) != secret:
            raise UnusableError

    async def delete(self, name: str) -> None:
        """Delete the secret *name*, if there is one.

        Raises: UnusableError.
        """
        if await self.get(name) is not None:
            await self._ask("delete_password", name)

    async def _ask(self, method: str, *arguments: str) -> Any:
        if self._busy or not self._is_used:
            # The last question still hangs, or waits for the user; or all is to be in one folder.
            raise UnusableError
        try:
            with anyio.fail_after(LIMIT_SECONDS):
                return await anyio.to_thread.run_sync(self._call, method, arguments, abandon_on_cancel=True)
        except TimeoutError:
            raise UnusableError from None

    def _call(self, method: str, arguments: tuple[str, ...]) -> Any:
        self._busy = True
        try:
            if not platforms.MACOS:
                # Its import looks for Apple's libraries, which elsewhere starts `ldconfig` and a compiler.
                sys.modules.setdefault("keyring.backends.macOS.api", None)  # type: ignore[arg-type]  # None: there is no such module
            import keyring  # Half a second, and only for those who have stored something in it.

            backend = keyring.get_keyring()
            if backend.priority < MIN_PRIORITY:
                raise UnusableError
            return getattr(backend, method)(SERVICE, *arguments)
        except _list_failures() as error:
            raise UnusableError from error
        finally:
            self._busy = False


def _list_failures() -> tuple[type[Exception], ...]:
    """Return what keychains are known to raise: the library's errors, the system's, D-Bus's, and wrong settings'."""
    loaded = [getattr(sys.modules[module], name) for module, name in _LIBRARY_ERRORS.items() if module in sys.modules]
    return (ImportError, OSError, LookupError, RuntimeError, ValueError, AttributeError, TypeError, *loaded)


_LIBRARY_ERRORS = {
    "keyring.errors": "KeyringError",
    "secretstorage": "SecretStorageException",
    "jeepney": "DBusErrorResponse",
    "configparser": "Error",
}
