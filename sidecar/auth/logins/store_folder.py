"""The folder of stored credentials: a file that holds the table of them, with each secret that no keychain keeps.

Without a login there is no file, and the keychain is never asked. The file is read when first needed and again when it
has changed, so that a login of another process counts here too. Whoever calls has a turn: one method runs at a time.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import anyio
import msgspec
from anyio.to_thread import run_sync as to_thread

from protocol.replies import Warn
from sidecar.auth.logins import store_file
from sidecar.auth.logins.store_keychain import Keychain, UnusableError
from sidecar.auth.logins.stored import (
    Entries,
    Stored,
    decode_entries,
    decode_secrets,
    encode_entries,
    encode_secrets,
    is_another,
)
from sidecar.core import private_files
from sidecar.core.errors import SidecarError
from sidecar.core.log import log
from sidecar.core.private_files import RefusedError, Stamp

CHECK_SECONDS = 2.0
"""How often the file is checked for changes."""

RETRY_SECONDS = 2.0
"""How long a keychain that did not answer is left alone. While a question still hangs there, no other is asked."""

LOCK_SECONDS = 5.0
"""How long to wait for another process that holds the lock."""

KEYCHAIN_SILENT = Warn(code="keychain_unavailable", message="The keychain did not answer: what it has is not used.")
KEYCHAIN_KEEPS = Warn(code="keychain_unavailable", message="The keychain did not answer, and may keep the secret.")
WAS_OPEN = Warn(code="store_was_open", message="Others could read the stored credentials; now they cannot.")
CORRUPT = Warn(code="store_corrupt", message="The file of stored credentials was corrupt and was set aside.")
LOCKED = Warn(code="store_locked", message="Another process does not let go of the stored credentials.")

_LASTING = (CORRUPT, WAS_OPEN)
"""Warnings of what has been mended: they stand until something is stored anew."""

Change = Callable[[Entries], Awaitable[Entries]]
"""Returns what the file is to hold, given what it holds."""


class StoreFolder:
    """The folder; it is made when something is stored."""

    def __init__(self, path: Path, *, uses_keychain: bool = True) -> None:
        self._path = path
        self._keychain = Keychain(is_used=uses_keychain)
        self._stamp: Stamp | Literal["changed"] = None
        self._check_at = 0.0
        self._ask_again_at: float | None = None
        """When to ask the keychain once more; None: it answers."""
        self._warnings: dict[str, Warn] = {}
        self.entries: Entries = {}
        """What is stored, with the secrets as far as the keychain gives them."""

    @property
    def warnings(self) -> list[Warn]:
        """What is wrong with the folder or the keychain."""
        return [*self._warnings.values()]

    @property
    def was_checked(self) -> bool:
        """Whether there has been a first check."""
        return self._check_at > 0

    @property
    def is_check_due(self) -> bool:
        """Whether it is time to check it."""
        return anyio.current_time() >= self._check_at

    # --- reading --------------------------------------------------------------------------------

    async def check(self) -> bool:
        """Read the file if it has changed or the keychain may answer again, and return whether it was read."""
        may_answer = self._ask_again_at is not None and anyio.current_time() >= self._ask_again_at
        was_read = await self.read_changes(even_if_unchanged=may_answer)
        self._check_at = anyio.current_time() + CHECK_SECONDS
        return was_read

    async def read_changes(self, *, even_if_unchanged: bool = False) -> bool:
        """Read what another process has written since the last check, and return whether there was something."""
        stamp = await to_thread(store_file.read_stamp, self._path)
        if stamp == self._stamp and not even_if_unchanged:
            return False
        self._stamp = stamp
        await self._read()
        return True

    async def _read(self) -> None:
        self._warnings = {code: warning for code, warning in self._warnings.items() if warning in _LASTING}
        self._ask_again_at = None
        self.entries = {}
        try:
            entries = decode_entries(await self._read_file())
            if entries is None:
                async with self._lock() as is_locked:
                    # Whoever held the lock before may have mended it.
                    if is_locked and await to_thread(store_file.read_stamp, self._path) == self._stamp:
                        await self._set_aside()
            self.entries = {name: await self._add_secrets(name, each) for name, each in (entries or {}).items()}
        except RefusedError as error:
            self._warn(Warn(code="store_refused", message=f"Stored credentials are not used: {error}."))
        except OSError as error:
            self._warn(Warn(code="store_unavailable", message=f"Stored credentials cannot be read: {error.strerror}."))

    async def _read_file(self) -> bytes | None:
        content = await to_thread(store_file.read, self._path)
        if content.was_open:
            self._warn(WAS_OPEN)
        return content.data

    async def _set_aside(self) -> None:
        self._warn(CORRUPT)
        await to_thread(store_file.set_aside, self._path)

    # --- changing -------------------------------------------------------------------------------

    async def save(self, name: str, stored: Stored) -> bool:
        """Keep *stored* for *name*, and return whether it could be written.

        Raises: SidecarError `auth_failed` when the folder is not the user's own.
        """

        async def add(entries: Entries) -> Entries:
            return entries | {name: await self._split_secrets(name, stored)}

        return await self._change(add)

    async def renew(self, name: str, known: Stored, ask: Callable[[Stored], Awaitable[Stored]]) -> Stored | None:
        """Replace the *known* entry by what *ask* returns, unless another process has replaced or removed it.

        Returns the answer if it could not be written, else None.

        Raises: SidecarError as *ask* does, `provider_error` when another process hangs.
        """
        answers = list[Stored]()

        async def replace(entries: Entries) -> Entries:
            if name not in entries:
                self.entries.pop(name, None)
                return entries
            if is_another(entries[name], known):
                self.entries[name] = await self._add_secrets(name, entries[name])
                return entries
            answers.append(await ask(known))
            return entries | {name: await self._split_secrets(name, answers[0])}

        if await self._change(replace):
            return None
        if not answers:
            raise SidecarError("provider_error", "The stored login could not be renewed.", reason="store")
        return answers[0]

    async def remove(self, name: str, only: Stored | None) -> bool:
        """Remove the entry of *name*, or *only* that login, and return whether the keychain had one without an entry.

        Raises: SidecarError `auth_failed` when that cannot be done.
        """
        if name not in self.entries:
            return only is None and await self._delete_leftover(name)

        async def drop(entries: Entries) -> Entries:
            if is_another(entries.get(name), only):
                self.entries[name] = await self._add_secrets(name, entries[name])
                return entries
            return {key: entries[key] for key in entries if key != name}

        if not await self._change(drop):
            raise SidecarError("auth_failed", "The stored credential could not be removed.", reason="store")
        if not is_another(self.entries[name], only):
            await self._delete_secrets(name)
            del self.entries[name]
        return False

    async def _delete_leftover(self, name: str) -> bool:
        """Delete what a keychain has kept that did not answer when its entry was removed."""
        try:
            was_there = await self._keychain.get(name) is not None
            if was_there:
                await self._keychain.delete(name)
        except UnusableError:
            return False
        return was_there

    async def _change(self, change: Change) -> bool:
        """Write the file anew, from what is in it now, and return whether that went well.

        Raises: SidecarError `auth_failed` when the folder is not the user's own; what *change* does.
        """
        self._warnings.clear()
        try:
            async with self._lock() as is_locked:
                if not is_locked:
                    return False
                entries = decode_entries(await self._read_file())
                if entries is None:
                    await self._set_aside()
                await to_thread(store_file.write, self._path, encode_entries(await change(entries or {})))
        except RefusedError as error:
            raise SidecarError("auth_failed", f"Stored credentials are not used: {error}.", reason="store") from None
        except OSError as error:
            self._warn(Warn(code="store_unavailable", message=f"Credentials cannot be stored: {error.strerror}."))
            return False
        # Others may have written too: the next check reads it all.
        self._stamp, self._check_at = "changed", min(self._check_at, anyio.current_time())
        return True

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[bool]:
        """Hold the lock between processes, and give whether it was free in time; a process that dies gives it back.

        Raises: RefusedError, OSError.
        """
        file = await to_thread(store_file.open_lock, self._path)
        try:
            is_locked = await private_files.wait_for_lock(file, LOCK_SECONDS)
            if not is_locked:
                self._warn(LOCKED)
            yield is_locked
        finally:
            file.close()

    # --- the keychain ---------------------------------------------------------------------------

    async def _split_secrets(self, name: str, stored: Stored) -> Stored:
        """Give the secrets of *stored* to the keychain, and return what the file has to hold."""
        try:
            await self._keychain.set(name, encode_secrets(stored))
        except UnusableError:
            before = self.entries.get(name)
            is_left = before is not None and (before.storage == "keychain" or before.is_in_keychain_too)
            if is_left:
                self._warn(KEYCHAIN_KEEPS)
            entry = self.entries[name] = msgspec.structs.replace(stored, storage="file", is_in_keychain_too=is_left)
            return entry
        self.entries[name] = msgspec.structs.replace(stored, storage="keychain")
        return msgspec.structs.replace(self.entries[name], secrets=None)

    async def _add_secrets(self, name: str, stored: Stored) -> Stored:
        """Return *stored* with what the keychain has of it, if that answers."""
        if stored.storage != "keychain" or self._ask_again_at is not None:
            return stored
        try:
            return decode_secrets(stored, await self._keychain.get(name))
        except UnusableError:
            self._ask_again_at = anyio.current_time() + RETRY_SECONDS
            self._warn(KEYCHAIN_SILENT)
            return stored

    async def _delete_secrets(self, name: str) -> None:
        try:
            await self._keychain.delete(name)
        except UnusableError:
            # One that has answered neither then nor now has nothing.
            if self.entries[name].storage == "keychain" or self.entries[name].is_in_keychain_too:
                self._warn(KEYCHAIN_KEEPS)

    def _warn(self, warning: Warn) -> None:
        if warning.code not in self._warnings:
            log("warn", warning.code)
        self._warnings[warning.code] = warning
