"""What the user has logged in to: credentials by provider, in the system's keychain or in a file of the user's alone.

The file has the table of them all, and each secret that no keychain holds: without a login there
is no file, and no keychain is ever asked. It is read when first needed and again when it has
changed, so that a login of another process counts here too. Must not know providers or HTTP.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import anyio
import msgspec
from anyio.to_thread import run_sync as to_thread

from protocol.replies import Method, Storage, Warn
from sidecar.auth.logins import store_file
from sidecar.auth.logins.store_file import Stamp
from sidecar.auth.logins.store_keychain import Keychain, UnusableError
from sidecar.core import platforms
from sidecar.core.errors import SidecarError
from sidecar.core.log import log
from sidecar.core.private_files import RefusedError
from sidecar.core.secret import Kind, Secret, parse_secret

LOOK_SECONDS = 2.0
"""How often it is looked whether the file has changed."""

RETRY_SECONDS = 30.0
"""How long a keychain that did not answer is left alone."""

LOCK_SECONDS = 5.0
LOCK_LOOK_SECONDS = 0.02


KEYCHAIN_SILENT = Warn(code="keychain_unavailable", message="The keychain did not answer: what it has is not used.")
KEYCHAIN_KEEPS = Warn(code="keychain_unavailable", message="The keychain did not answer, and may keep the secret.")
WAS_OPEN = Warn(code="store_was_open", message="Others could read the stored credentials; now they cannot.")
CORRUPT = Warn(code="store_corrupt", message="The file of stored credentials made no sense and was set aside.")
LOCKED = Warn(code="store_locked", message="Another process does not let go of the stored credentials.")

_LASTING = (CORRUPT, WAS_OPEN)
"""What has been mended, and stands until something is stored anew."""


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
    server: str = msgspec.field(name="home")
    """To which it belongs, as `sidecar.providers.credential_rules.describe_server` says it: it goes nowhere else."""
    saved_at: str
    account: str | None = None
    expires_at: str | None = None
    storage: Storage = "file"
    secrets: Secrets | None = None
    """In the file, None where the keychain has them; in memory, None where they could not be had."""


Entries = dict[str, Stored]


class Store:
    """The credentials, as they were when last looked at. *folder* None: they live as long as the process."""

    def __init__(self, folder: str | None) -> None:
        self._folder = Path(folder) if folder else None
        self._keychain = Keychain()
        self._turn = anyio.Lock()
        self._stamp: Stamp | Literal["changed"] = None
        self._look_at = 0.0
        self._ask_again_at: float | None = None
        """When the keychain is asked once more; None while it answers."""
        self._filed: Entries = {}
        self._in_memory: Entries = {}
        self._warnings: dict[str, Warn] = {}
        self.secrets: dict[str, Secret] = {}
        """The credentials themselves, by provider; replaced, never changed."""

    @property
    def warnings(self) -> list[Warn]:
        """What is wrong with where they are kept."""
        return [*self._warnings.values()]

    def get(self, name: str) -> Stored | None:
        """Return what is stored for *name*."""
        return self._in_memory.get(name) or self._filed.get(name)

    @property
    def due(self) -> bool:
        """Whether it is time for a look."""
        return self._folder is not None and anyio.current_time() >= self._look_at

    async def look(self) -> None:
        """Read what has changed since the last look; while something is stored or renewed, what is known will do."""
        if self._look_at and self._turn.locked():
            return
        async with self._turn:
            if self._folder is None or not self.due:
                return
            stamp, now = await to_thread(store_file.stamp, self._folder), anyio.current_time()
            if stamp != self._stamp or (self._ask_again_at is not None and now >= self._ask_again_at):
                self._stamp = stamp
                await self._read(self._folder)
            self._look_at = anyio.current_time() + LOOK_SECONDS

    async def save(self, name: str, stored: Stored) -> Storage:
        """Keep *stored* for *name* in the place of what was there, and return where it is kept.

        Raises: SidecarError `auth_failed` when somebody else has a hand on the place.
        """

        async def with_it(entries: Entries) -> Entries:
            return entries | {name: await self._line(name, stored)}

        async with self._turn:
            self._in_memory.pop(name, None)
            kept = stored
            if not await self._change(with_it):
                kept = self._in_memory[name] = msgspec.structs.replace(stored, storage="memory")
            self._publish()
            return self._filed[name].storage if kept is stored else "memory"

    async def renew(self, name: str, ask: Callable[[Stored], Awaitable[Stored]]) -> Stored | None:
        """Return what is stored for *name*, renewed by *ask* unless another process has done that.

        None when nothing is stored. Raises: SidecarError as *ask* does, `provider_error` when another process hangs.
        """

        async def renewed(entries: Entries) -> Entries:
            if name not in entries:
                self._filed.pop(name, None)
                return entries
            if known is None or entries[name].saved_at != known.saved_at:
                self._filed[name] = await self._completed(name, entries[name])
                return entries
            answers.append(await ask(known))
            return entries | {name: await self._line(name, answers[0])}

        answers = list[Stored]()
        async with self._turn:
            known = self.get(name)
            if known is not None and known.storage == "memory":
                self._in_memory[name] = msgspec.structs.replace(await ask(known), storage="memory")
            elif known is not None and not await self._change(renewed):
                if not answers:
                    raise SidecarError("provider_error", "The stored login could not be renewed.", reason="store")
                # What it was renewed for is spent, so that nobody gets another.
                self._in_memory[name] = msgspec.structs.replace(answers[0], storage="memory")
            self._publish()
            return self.get(name)

    async def remove(self, name: str, only: Stored | None = None) -> bool:
        """Forget what is stored for *name*, wherever it is, and return whether there was something.

        Of several logins after each other *only* that one: another process may have stored anew meanwhile.

        Raises: SidecarError `auth_failed` when it cannot be removed.
        """

        async def without_it(entries: Entries) -> Entries:
            if _is_another(entries.get(name), only):
                self._filed[name] = await self._completed(name, entries[name])
                return entries
            return {key: entries[key] for key in entries if key != name}

        async with self._turn:
            await self._read_again()
            there = self.get(name)
            if name in self._filed:
                if not await self._change(without_it):
                    raise SidecarError("auth_failed", "The stored credential could not be removed.", reason="store")
                if not _is_another(self._filed[name], only):
                    await self._from_keychain(name)
                    del self._filed[name]
            if not _is_another(self._in_memory.get(name), only):
                self._in_memory.pop(name, None)
            self._publish()
            return there is not None

    async def _read_again(self) -> None:
        """Read what another process has written since the last look."""
        if self._folder is not None:
            stamp = await to_thread(store_file.stamp, self._folder)
            if stamp != self._stamp:
                self._stamp = stamp
                await self._read(self._folder)

    def _publish(self) -> None:
        """Make what is stored known to those who look for a credential."""
        entries = self._filed | self._in_memory
        self.secrets = {name: found for name, each in entries.items() if (found := _secret(each)) is not None}

    def _warn(self, warning: Warn) -> None:
        if warning.code not in self._warnings:
            log("warn", warning.code)
        self._warnings[warning.code] = warning

    # --- the keychain ---------------------------------------------------------------------------

    async def _line(self, name: str, stored: Stored) -> Stored:
        """Return what the file has of *stored*, once the keychain has its secrets, where there is one."""
        try:
            await self._keychain.set(name, msgspec.json.encode(stored.secrets).decode())
        except UnusableError:
            line = self._filed[name] = msgspec.structs.replace(stored, storage="file")
            return line
        self._filed[name] = msgspec.structs.replace(stored, storage="keychain")
        return msgspec.structs.replace(self._filed[name], secrets=None)

    async def _from_keychain(self, name: str) -> None:
        try:
            await self._keychain.delete(name)
        except UnusableError:
            # One that has answered neither then nor now has nothing.
            if self._filed[name].storage == "keychain":
                self._warn(KEYCHAIN_KEEPS)

    async def _completed(self, name: str, stored: Stored) -> Stored:
        """Return *stored* with what the keychain has of it, if that answers."""
        if stored.storage != "keychain" or self._ask_again_at is not None:
            return stored
        try:
            text = await self._keychain.get(name)
            secrets = msgspec.json.decode(text or "", type=Secrets)
        except UnusableError:
            self._ask_again_at = anyio.current_time() + RETRY_SECONDS
            self._warn(KEYCHAIN_SILENT)
            return stored
        except msgspec.MsgspecError:
            # Somebody has removed or changed it there.
            return stored
        return msgspec.structs.replace(stored, secrets=secrets)

    # --- the file -------------------------------------------------------------------------------

    async def _read(self, folder: Path) -> None:
        self._warnings = {code: warning for code, warning in self._warnings.items() if warning in _LASTING}
        self._ask_again_at = None
        self._filed = {}
        try:
            entries = _parsed(await self._content(folder))
            if entries is None:
                async with self._locked(folder) as locked:
                    # Whoever had the lock before may have mended it.
                    if locked and await to_thread(store_file.stamp, folder) == self._stamp:
                        await self._set_aside(folder)
            self._filed = {name: await self._completed(name, each) for name, each in (entries or {}).items()}
        except RefusedError as error:
            self._warn(Warn(code="store_refused", message=f"Stored credentials are not used: {error}."))
        except OSError as error:
            self._warn(Warn(code="store_unavailable", message=f"Stored credentials cannot be read: {error.strerror}."))
        self._publish()

    async def _change(self, change: Callable[[Entries], Awaitable[Entries]]) -> bool:
        """Write the file anew, from what is in it now, and return whether that went well.

        Raises: SidecarError `auth_failed` when somebody else has a hand on the place.
        """
        if self._folder is None:
            return False
        self._warnings.clear()
        try:
            async with self._locked(self._folder) as locked:
                if not locked:
                    return False
                entries = _parsed(await self._content(self._folder))
                if entries is None:
                    await self._set_aside(self._folder)
                document = _Document(1, await change(entries or {}))
                data = msgspec.json.format(msgspec.json.encode(document), indent=1)
                await to_thread(store_file.write, self._folder, data)
        except RefusedError as error:
            raise SidecarError("auth_failed", f"Stored credentials are not used: {error}.", reason="store") from None
        except OSError as error:
            self._warn(Warn(code="store_unavailable", message=f"Credentials cannot be stored: {error.strerror}."))
            return False
        # Others may have written too: the next look reads it all.
        self._stamp, self._look_at = "changed", min(self._look_at, anyio.current_time())
        return True

    async def _content(self, folder: Path) -> bytes | None:
        content = await to_thread(store_file.read, folder)
        if content.was_open:
            self._warn(WAS_OPEN)
        return content.data

    async def _set_aside(self, folder: Path) -> None:
        self._warn(CORRUPT)
        await to_thread(store_file.set_aside, folder)

    @asynccontextmanager
    async def _locked(self, folder: Path) -> AsyncIterator[bool]:
        """Hold the lock between processes, if it is to be had in time; a process that dies gives it back.

        Raises: RefusedError, OSError.
        """
        file = await to_thread(store_file.open_lock, folder)
        try:
            locked = False
            with anyio.move_on_after(LOCK_SECONDS):
                while not (locked := await to_thread(platforms.try_lock, file.fileno())):  # noqa: ASYNC110 - a lock tells nobody
                    await anyio.sleep(LOCK_LOOK_SECONDS)
            if not locked:
                self._warn(LOCKED)
            yield locked
        finally:
            file.close()


def _is_another(stored: Stored | None, only: Stored | None) -> bool:
    return stored is not None and only is not None and stored.saved_at != only.saved_at


class _Document(msgspec.Struct, frozen=True):
    """The file."""

    version: Literal[1]
    entries: Entries


_decoder = msgspec.json.Decoder(_Document)


def _parsed(data: bytes | None) -> Entries | None:
    """Return the entries of a file, none of one that is not there, and None of one that makes no sense."""
    if data is None:
        return {}
    try:
        return _decoder.decode(data).entries
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _secret(stored: Stored) -> Secret | None:
    if stored.secrets is None:
        return None
    try:
        found = parse_secret(stored.secrets.value, "store", "store", stored.kind)
    except SidecarError:
        return None
    return Secret(found.reveal(), "store", stored.kind, stored.server)
