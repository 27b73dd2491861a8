"""What hosts have set for their user by `set_task`: a file in the user's data directory, replaced whole or not at all.

Other processes may change it, so it is read again whenever it has changed. Must not know what a task is.
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

_SENSELESS = Warn(
    code="tasks_unusable", message="The file of what was set for tasks makes no sense, and counts as empty."
)


class Override(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is set for one task. None: nothing is, and what lies below applies."""

    model: str | None = None
    fallbacks: list[str] | None = None
    options: dict[str, Any] = {}


Change = Callable[[Override], Override]


class _File(msgspec.Struct):
    tasks: dict[str, msgspec.Raw] = {}
    """An entry that this version cannot read stays as it is, for the version that wrote it."""


class Overrides:
    """What is set for all tasks."""

    def __init__(self, folder: str | None) -> None:
        """*folder* is the user's; None: there is none, and nothing outlives the process."""
        self._folder = None if folder is None else Path(folder)
        self._stamp: Stamp | Literal["unread"] = "unread"
        self._read: dict[str, Override] = {}
        self._unwritten: dict[str, Override] = {}
        """What could not be written, for this process alone."""
        self.warnings: list[Warn] = []
        """What is wrong with the file."""

    async def load(self) -> dict[str, Override]:
        """Return what is set now, by the name of the task."""
        if self._folder is not None:
            path = self._folder / NAME
            stamp = await to_thread(private_files.read_stamp, path)
            if stamp != self._stamp:
                # Read first: a change meanwhile shows in the next stamp.
                self._stamp, self.warnings = stamp, []
                self._read = await self._read_all(path)
        return self._read | self._unwritten

    async def _read_all(self, path: Path) -> dict[str, Override]:
        try:
            entries = _decode(await to_thread(private_files.read_file, path, MAX_BYTES))
        except (RefusedError, OSError) as error:
            # What is wrong may be so for a moment only.
            self._stamp = "unread"
            self.warnings.append(Warn(code="tasks_unusable", message=f"What was set for tasks is not used: {error}."))
            return {}
        if entries is None:
            self.warnings.append(_SENSELESS)
            return {}
        read = {name: override for name, raw in entries.items() if (override := _decode_entry(raw)) is not None}
        if unreadable := [name for name in entries if name not in read]:
            text = f"What was set for {len(unreadable)} tasks cannot be read by this version, and is not used."
            self.warnings.append(Warn(code="tasks_unusable", message=text))
        return read

    async def change(self, task: str, change: Change) -> list[Warn]:
        """Replace what is set for *task* by what *change* makes of it.

        Returns a warning if it could not be written: then it holds for this process alone.

        Raises: SidecarError `invalid_request` if there is no room for it.
        """
        try:
            async with self._lock() as folder:
                # Another process may have written meanwhile.
                entries = await self._read_for_change(folder)
                override = change(self._unwritten.get(task) or _decode_entry(entries.get(task)) or Override())
                entries.pop(task, None)
                if override != Override():
                    entries[task] = msgspec.Raw(msgspec.json.encode(override))
                await to_thread(_write, folder, msgspec.json.encode(_File(tasks=entries)))
        except (RefusedError, OSError) as error:
            self._unwritten[task] = change((await self.load()).get(task) or Override())
            text = f"What was set holds for this process alone, as it cannot be written: {error}."
            return [Warn(code="tasks_not_kept", message=text)]
        self._unwritten.pop(task, None)
        return []

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[Path]:
        """Hold the lock between processes; one that dies gives it back.

        Raises: RefusedError, OSError.
        """
        if self._folder is None:
            raise RefusedError("there is no folder for it")
        await to_thread(private_files.make_folder, self._folder)
        file = await to_thread(private_files.open_file, self._folder / LOCK_NAME, "ab")
        try:
            if not await private_files.wait_for_lock(file, LOCK_SECONDS):
                raise RefusedError("another process does not let go of it")
            yield self._folder
        finally:
            file.close()

    async def _read_for_change(self, folder: Path) -> dict[str, msgspec.Raw]:
        entries = _decode(await to_thread(private_files.read_file, folder / NAME, MAX_BYTES))
        if entries is None:
            await to_thread(private_files.set_aside, folder / NAME)
        return entries or {}


def _decode(data: bytes | None) -> dict[str, msgspec.Raw] | None:
    """Return the entries in *data*, or None if it makes no sense."""
    try:
        return {} if data is None else msgspec.json.decode(data, type=_File).tasks
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _decode_entry(raw: msgspec.Raw | None) -> Override | None:
    """Return the entry, or None if there is none that this version can read."""
    if raw is None:
        return None
    try:
        override = msgspec.json.decode(raw, type=Override)
        msgspec.convert(override.options, Options)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return override


def _write(folder: Path, data: bytes) -> None:
    """Replace the file by one with *data*, at once and for good. The lock is held.

    Raises: SidecarError `invalid_request`, RefusedError, OSError.
    """
    if len(data) > MAX_BYTES:
        text = f"There is no room: what is set for all tasks may have {MAX_BYTES} bytes. Reset some."
        raise invalid_request(text, "params.options")
    if platforms.is_foreign(folder.stat()):
        raise RefusedError(f"{folder} belongs to another user")
    for left in folder.glob(private_files.temporary_pattern(NAME)):
        # Of a process that was killed while it wrote.
        left.unlink(missing_ok=True)
    private_files.replace_file(folder, NAME, data)
    platforms.sync_folder(str(folder))
