"""The settings that hosts have made with `set_task`, in one file of the user's data directory.

The file is replaced atomically. Other processes may change it, so it is read again after each change. Must not know
what a task is.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
from anyio.to_thread import run_sync as to_thread

from protocol.options import Options
from protocol.replies import Warn
from sidecar.core import platforms, private_files
from sidecar.core.errors import invalid_request
from sidecar.core.private_files import RefusedError, Stamp

NAME = "tasks.json"
LOCK_NAME = "tasks.lock"
"""A file of its own, never deleted: a lock on a file that is replaced would lock nobody out."""

MAX_BYTES = 1024 * 1024

LOCK_SECONDS = 5.0
"""How long to wait for another process that holds the lock."""

_UNREADABLE = Warn(code="tasks_unusable", message="The file of task settings is corrupt, and counts as empty.")


class Override(msgspec.Struct, frozen=True, omit_defaults=True):
    """The settings of one task. None: not set, so that the configuration or the built-in row applies."""

    model: str | None = None
    fallbacks: list[str] | None = None
    options: dict[str, Any] = {}


Change = Callable[[Override], Override]


class _File(msgspec.Struct):
    tasks: dict[str, msgspec.Raw] = {}
    """An entry that this version cannot read stays as it is, for the version that wrote it."""


class Overrides:
    """The settings of all tasks."""

    def __init__(self, folder: str | None) -> None:
        """Keep the settings in *folder*, the user's data directory; None: in this process only."""
        self._folder = None if folder is None else Path(folder)
        self._stamp: Stamp | Literal["unread"] = "unread"
        self._stored: dict[str, Override] = {}
        self._unwritten: dict[str, Override] = {}
        """The settings that could not be written. They apply in this process only."""
        self.warnings: list[Warn] = []
        """The problems with the file."""

    async def load(self) -> dict[str, Override]:
        """Return the current settings, by the name of the task."""
        if self._folder is not None:
            path = self._folder / NAME
            stamp = await to_thread(private_files.read_stamp, path)
            if stamp != self._stamp:
                # The stamp was read before the file, so a change in between shows in the next stamp.
                self._stamp, self.warnings = stamp, []
                self._stored = await self._read_all(path)
        return self._stored | self._unwritten

    async def _read_all(self, path: Path) -> dict[str, Override]:
        try:
            entries = _decode(await to_thread(private_files.read_file, path, MAX_BYTES))
        except (RefusedError, OSError) as error:
            # The cause may be temporary, so the file is read again next time.
            self._stamp = "unread"
            self.warnings.append(Warn(code="tasks_unusable", message=f"The task settings are not used: {error}."))
            return {}
        if entries is None:
            self.warnings.append(_UNREADABLE)
            return {}
        read = {name: override for name, raw in entries.items() if (override := _decode_entry(raw)) is not None}
        if unreadable := [name for name in entries if name not in read]:
            text = f"The settings of {len(unreadable)} tasks are not used: this version cannot read them."
            self.warnings.append(Warn(code="tasks_unusable", message=text))
        return read

    async def change(self, task: str, change: Change) -> list[Warn]:
        """Apply *change* to the settings of *task*, and write the file.

        Returns a warning if the file could not be written. The change then applies in this process only.

        Raises: SidecarError `invalid_request` if the file would become too long.
        """
        try:
            async with self._lock() as folder:
                # Another process may have changed the file.
                entries = await self._read_for_change(folder)
                override = change(self._unwritten.get(task) or _decode_entry(entries.get(task)) or Override())
                entries.pop(task, None)
                if override != Override():
                    entries[task] = msgspec.Raw(msgspec.json.encode(override))
                await to_thread(_write, folder, msgspec.json.encode(_File(tasks=entries)))
        except (RefusedError, OSError) as error:
            self._unwritten[task] = change((await self.load()).get(task) or Override())
            text = f"The settings apply in this process only, because they cannot be written: {error}."
            return [Warn(code="tasks_not_kept", message=text)]
        self._unwritten.pop(task, None)
        return []

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[Path]:
        """Hold the lock that processes share. The system releases the lock of a process that dies.

        Raises: RefusedError, OSError.
        """
        if self._folder is None:
            raise RefusedError("there is no data directory")
        await to_thread(private_files.make_folder, self._folder)
        file = await to_thread(private_files.open_file, self._folder / LOCK_NAME, "ab")
        try:
            if not await private_files.wait_for_lock(file, LOCK_SECONDS):
                raise RefusedError("another process holds the lock")
            yield self._folder
        finally:
            file.close()

    async def _read_for_change(self, folder: Path) -> dict[str, msgspec.Raw]:
        entries = _decode(await to_thread(private_files.read_file, folder / NAME, MAX_BYTES))
        if entries is None:
            await to_thread(private_files.set_aside, folder / NAME)
        return entries or {}


def _decode(data: bytes | None) -> dict[str, msgspec.Raw] | None:
    """Return the entries in *data*, or None if it is corrupt."""
    try:
        return {} if data is None else msgspec.json.decode(data, type=_File).tasks
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _decode_entry(raw: msgspec.Raw | None) -> Override | None:
    """Return the settings in *raw*, or None if they are absent or this version cannot read them."""
    if raw is None:
        return None
    try:
        override = msgspec.json.decode(raw, type=Override)
        msgspec.convert(override.options, Options)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return override


def _write(folder: Path, data: bytes) -> None:
    """Replace the file by *data*, atomically and durably. The caller holds the lock.

    Raises: SidecarError `invalid_request`, RefusedError, OSError.
    """
    if len(data) > MAX_BYTES:
        text = f"The settings of all tasks may take {MAX_BYTES} bytes together. Reset some of them."
        raise invalid_request(text, "params.options")
    if platforms.is_foreign(folder.stat()):
        raise RefusedError(f"{folder} belongs to another user")
    private_files.replace_locked_file(folder, NAME, data)
