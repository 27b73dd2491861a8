"""What the user has logged in to: credentials by provider, in the system's keychain or in a file of the user's alone.

The file has the table of them all, and each secret that no keychain holds: without a login there
is no file, and no keychain is ever asked. It is read when first needed and again when it has
changed, so that a login of another process counts here too. Must not know providers or HTTP.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread
import msgspec

from protocol.replies import Method, Storage, Warn
from sidecar import platforms, store_file
from sidecar.errors import SidecarError
from sidecar.log import log
from sidecar.secret import Kind, Secret, secret
from sidecar.store_file import RefusedError, Stamp
from sidecar.store_keychain import Keychain, UnusableError

LOOK_SECONDS = 2.0
"""How often it is looked whether the file has changed."""

RETRY_SECONDS = 30.0
"""How long a keychain that did not answer is left alone."""

LOCK_SECONDS = 5.0
LOCK_LOOK_SECONDS = 0.02


class Secrets(msgspec.Struct, frozen=True, omit_defaults=True):
    """What nobody may see."""

    value: str
    renewal: str | None = None
    """What a new value is had for, when this one has worn off; each is good for one."""

    def __repr__(self) -> str:
        return "Secrets('***')"


class Stored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One credential."""

    kind: Kind
    method: Method
    home: str
    """What it was given for, as `resolve.home` says it: it goes nowhere else."""
    saved_at: str
    account: str | None = None
    expires_at: str | None = None
    storage: Storage = "file"
    secrets: Secrets | None = None
    """In the file, None where the keychain has them; in memory, None where they could not be had."""


class _Document(msgspec.Struct, frozen=True):
    """The file."""

    version: Literal[1]
    entries: dict[str, Stored]


_decoder = msgspec.json.Decoder(_Document)


class Store:
    """The credentials, as they were when last looked at. *folder* None: they live as long as the process."""

    def __init__(self, folder: str | None) -> None:
        self._folder = Path(folder) if folder else None
        self._keychain = Keychain()
        self._turn = anyio.Lock()
        self._stamp: Stamp = None
        self._look_at = 0.0
        self._ask_again_at: float | None = None
        self._filed: dict[str, Stored] = {}
        self._in_memory: dict[str, Stored] = {}
        self.warnings: list[Warn] = []
        """What is wrong with where they are kept."""
        self.secrets: dict[str, Secret] = {}
        """The credentials themselves, by provider; replaced, never changed."""

    def get(self, name: str) -> Stored | None:
        """Return what is stored for *name*."""
        return self._in_memory.get(name) or self._filed.get(name)

    async def look(self) -> None:
        """Read what has changed since the last look."""
        if self._folder is None or anyio.current_time() < self._look_at:
            return
        async with self._turn:
            if anyio.current_time() < self._look_at:
                return
            stamp = await anyio.to_thread.run_sync(store_file.stamp, self._folder)
            now = anyio.current_time()
            if stamp != self._stamp or (self._ask_again_at is not None and now >= self._ask_again_at):
                self._stamp = stamp
                await self._read(self._folder)
            self._look_at = anyio.current_time() + LOOK_SECONDS

    async def save(self, name: str, stored: Stored) -> Storage:
        """Keep *stored* for *name* in the place of what was there, and return where it is kept.

        Raises: SidecarError `auth_failed` when somebody else has a hand on the place.
        """
        async with self._turn:
            storage = await self._save(name, stored)
            self._publish()
            return storage

    async def _save(self, name: str, stored: Stored) -> Storage:
        self._in_memory.pop(name, None)
        in_keychain = await self._keep(name, stored)
        storage: Storage = "keychain" if in_keychain else "file"
        kept = msgspec.structs.replace(stored, storage=storage)
        line = msgspec.structs.replace(kept, secrets=None) if in_keychain else kept
        if await self._change(lambda entries: entries | {name: line}):
            self._filed[name] = kept
            return storage
        self._in_memory[name] = msgspec.structs.replace(stored, storage="memory")
        return "memory"

    async def remove(self, name: str) -> bool:
        """Forget what is stored for *name*, wherever it is, and return whether there was something."""
        async with self._turn:
            there = self.get(name) is not None
            self._in_memory.pop(name, None)
            if name in self._filed:
                try:
                    await self._keychain.delete(name)
                except UnusableError:
                    if self._filed[name].storage == "keychain":
                        self._warn("keychain_unavailable", "The keychain did not answer and may still have the secret.")
                if not await self._change(lambda entries: {key: entries[key] for key in entries if key != name}):
                    raise SidecarError("auth_failed", "The stored credential could not be removed.", reason="store")
                self._filed.pop(name, None)
            self._publish()
            return there

    # --- the keychain ---------------------------------------------------------------------------

    async def _keep(self, name: str, stored: Stored) -> bool:
        """Put the secrets into the keychain, where the table can say so, and return whether that went well."""
        if self._folder is None or stored.secrets is None:
            return False
        try:
            await self._keychain.set(name, msgspec.json.encode(stored.secrets).decode())
        except UnusableError:
            return False
        return True

    async def _with_secrets(self, name: str, stored: Stored) -> Stored:
        """Return *stored* with what the keychain has of it.

        Raises: UnusableError.
        """
        text = await self._keychain.get(name)
        try:
            secrets = msgspec.json.decode(text or "", type=Secrets)
        except msgspec.MsgspecError:
            # Somebody has removed or changed it there.
            return stored
        return msgspec.structs.replace(stored, secrets=secrets)

    # --- the file -------------------------------------------------------------------------------

    async def _read(self, folder: Path) -> None:
        """Read the file, and what the keychain has; a file that makes no sense is set aside and counts as none."""
        self.warnings = []
        entries = await self._entries(folder)
        self._ask_again_at = None
        for name, stored in entries.items():
            if stored.storage == "keychain" and self._ask_again_at is None:
                try:
                    entries[name] = await self._with_secrets(name, stored)
                except UnusableError:
                    self._ask_again_at = anyio.current_time() + RETRY_SECONDS
                    self._warn("keychain_unavailable", "The keychain did not answer: what it has is not used.")
        self._filed = entries
        self._publish()

    async def _entries(self, folder: Path) -> dict[str, Stored]:
        try:
            content = await anyio.to_thread.run_sync(store_file.read, folder)
        except RefusedError as error:
            self._warn("store_refused", f"Stored credentials are not used: {error}.")
            return {}
        except OSError as error:
            self._warn("store_unavailable", f"Stored credentials cannot be read: {error.strerror}.")
            return {}
        if content.was_open:
            self._warn("store_was_open", "Others could read the stored credentials; now they cannot.")
        if content.data is None:
            return {}
        try:
            return _decoder.decode(content.data).entries
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._warn("store_corrupt", "The file of stored credentials makes no sense and was set aside: log in again.")
            await self._set_aside(folder)
            return {}

    async def _set_aside(self, folder: Path) -> None:
        async with self._locked(folder) as locked:
            # Whoever had the lock before may have mended it.
            if locked and await anyio.to_thread.run_sync(store_file.stamp, folder) == self._stamp:
                await anyio.to_thread.run_sync(_attempt, store_file.set_aside, folder)

    async def _change(self, change: Callable[[dict[str, Stored]], dict[str, Stored]]) -> bool:
        """Write the file anew, from what is in it now, and return whether that went well.

        Raises: SidecarError `auth_failed` when somebody else has a hand on the place.
        """
        folder = self._folder
        if folder is None:
            return False
        try:
            async with self._locked(folder) as locked:
                if not locked:
                    return False
                entries = await self._entries_now(folder)
                data = msgspec.json.format(msgspec.json.encode(_Document(1, change(entries))), indent=1)
                await anyio.to_thread.run_sync(store_file.write, folder, data)
                self._stamp = await anyio.to_thread.run_sync(store_file.stamp, folder)
        except RefusedError as error:
            raise SidecarError("auth_failed", f"The credential is not stored: {error}.", reason="store") from None
        except OSError as error:
            self._warn("store_unavailable", f"Credentials cannot be stored: {error.strerror}.")
            return False
        return True

    async def _entries_now(self, folder: Path) -> dict[str, Stored]:
        """Return what the file has, while it is locked; one that makes no sense is set aside."""
        content = await anyio.to_thread.run_sync(store_file.read, folder)
        if content.data is None:
            return {}
        try:
            return _decoder.decode(content.data).entries
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            await anyio.to_thread.run_sync(_attempt, store_file.set_aside, folder)
            return {}

    @asynccontextmanager
    async def _locked(self, folder: Path) -> AsyncIterator[bool]:
        """Hold the lock between processes, if it is to be had in time; a process that dies gives it back.

        Raises: RefusedError, OSError.
        """
        file = await anyio.to_thread.run_sync(store_file.open_lock, folder)
        try:
            locked = False
            with anyio.move_on_after(LOCK_SECONDS):
                while not (locked := await anyio.to_thread.run_sync(platforms.try_lock, file.fileno())):
                    await anyio.sleep(LOCK_LOOK_SECONDS)
            if not locked:
                self._warn("store_locked", "Another process holds the lock of the stored credentials.")
            yield locked
        finally:
            file.close()

    def _publish(self) -> None:
        """Make what is stored known to those who look for a credential."""
        entries = self._filed | self._in_memory
        self.secrets = {name: found for name, each in entries.items() if (found := _secret(each)) is not None}

    def _warn(self, code: str, message: str) -> None:
        log("warn", f"store.{code}")
        self.warnings.append(Warn(code=code, message=message))


def _secret(stored: Stored) -> Secret | None:
    if stored.secrets is None:
        return None
    try:
        found = secret(stored.secrets.value, "store", "store", stored.kind)
    except SidecarError:
        return None
    found.home = stored.home
    return found


def _attempt(action: Callable[..., Any], folder: Path) -> None:
    """Do *action*, or leave things as they are where that cannot be done."""
    try:
        action(folder)
    except OSError:
        log("warn", "store.set_aside_failed")
