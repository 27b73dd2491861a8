"""The credentials that the user has stored, by provider: in a file or the keychain, or in memory where neither works.

Whoever looks for a credential sees them as they were when last read. Must not know providers or HTTP.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec

from protocol.logins import Storage
from protocol.replies import Warn
from sidecar.auth.logins.store_folder import StoreFolder
from sidecar.auth.logins.stored import Entries, Stored, is_another, read_secret
from sidecar.core.secret import Secret


class Store:
    """The credentials. *folder* None: they live as long as the process."""

    def __init__(self, folder: str | None, *, uses_keychain: bool = True) -> None:
        self._folder = StoreFolder(Path(folder), uses_keychain=uses_keychain) if folder else None
        self._turn = anyio.Lock()
        self._in_memory: Entries = {}
        self.secrets: dict[str, Secret] = {}
        """The credentials themselves, by provider; replaced, never changed."""
        self.settings: dict[str, dict[str, str]] = {}
        """The settings that are stored with them, replaced at the same time."""
        self.locked: frozenset[str] = frozenset()
        """Providers whose credential a keychain has and does not give, replaced at the same time."""

    @property
    def warnings(self) -> list[Warn]:
        """What is wrong with the place where they are kept."""
        return self._folder.warnings if self._folder else []

    @property
    def is_check_due(self) -> bool:
        """Whether it is time to check it."""
        return self._folder is not None and self._folder.is_check_due

    def get(self, name: str) -> Stored | None:
        """Return what is stored for *name*."""
        return self._in_memory.get(name) or (self._folder.entries.get(name) if self._folder else None)

    async def check(self) -> None:
        """Read what has changed since the last check; while something is stored or renewed, what is known will do."""
        if self._folder is None or (self._folder.was_checked and self._turn.locked()):
            return
        async with self._turn:
            if self._folder.is_check_due and await self._folder.check():
                self._publish()

    async def save(self, name: str, stored: Stored) -> Storage:
        """Keep *stored* for *name* in the place of what was there, and return where it is kept.

        Raises: SidecarError `auth_failed` when the place is not the user's own.
        """
        async with self._turn:
            self._in_memory.pop(name, None)
            storage: Storage = "memory"
            if self._folder is not None and await self._folder.save(name, stored):
                storage = self._folder.entries[name].storage
            else:
                self._keep_in_memory(name, stored)
            self._publish()
            return storage

    async def renew(self, name: str, ask: Callable[[Stored], Awaitable[Stored]]) -> Stored | None:
        """Return what is stored for *name*, renewed by *ask* unless another process has done that.

        None when nothing is stored. Raises: SidecarError as *ask* does, `provider_error` when another process hangs,
        `auth_failed` when the place is not the user's own.
        """
        async with self._turn:
            known = self.get(name)
            if known is not None and known.storage == "memory":
                self._keep_in_memory(name, await ask(known))
            elif known is not None and self._folder is not None:
                answer = await self._folder.renew(name, known, ask)
                if answer is not None:
                    # The old refresh token is spent, so that nobody gets another answer.
                    self._keep_in_memory(name, answer)
            self._publish()
            return self.get(name)

    async def remove(self, name: str, only: Stored | None = None) -> bool:
        """Forget what is stored for *name*, wherever it is, and return whether there was something.

        Of several logins after each other *only* that one: another process may have stored a new one meanwhile.

        Raises: SidecarError `auth_failed` when it cannot be removed.
        """
        async with self._turn:
            if self._folder is not None and await self._folder.read_changes():
                self._publish()
            was_there = self.get(name) is not None
            if self._folder is not None and await self._folder.remove(name, only):
                was_there = True
            if not is_another(self._in_memory.get(name), only):
                self._in_memory.pop(name, None)
            self._publish()
            return was_there

    def _keep_in_memory(self, name: str, stored: Stored) -> None:
        self._in_memory[name] = msgspec.structs.replace(stored, storage="memory")

    def _publish(self) -> None:
        """Make what is stored known to those who look for a credential."""
        entries = (self._folder.entries if self._folder else {}) | self._in_memory
        self.settings = {name: each.settings for name, each in entries.items() if each.settings}
        self.locked = frozenset(
            name for name, each in entries.items() if each.storage == "keychain" and each.secrets is None
        )
        self.secrets = {name: found for name, each in entries.items() if (found := read_secret(each)) is not None}
