"""The file of stored credentials: checked before it is read, written whole or not at all, open to nobody else.

Everything here blocks; call it in a worker thread. Knows files and their owners. Must not know what a credential is.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from sidecar.core import platforms, private_files
from sidecar.core.private_files import RefusedError, Stamp

NAME = "credentials.json"
LOCK_NAME = "credentials.lock"
"""A file of its own, never deleted: a lock on a file that is replaced would lock nobody out."""

MAX_BYTES = 1024 * 1024


class Content(NamedTuple):
    """What was read."""

    data: bytes | None
    """None when there is no file."""
    was_open: bool
    """Whether others could have read it; now they cannot."""


def read_stamp(folder: Path) -> Stamp:
    """Return the stamp of the file in *folder*."""
    return private_files.read_stamp(folder / NAME)


def read(folder: Path) -> Content:
    """Return the content of the file, after closing it to others.

    Raises: RefusedError, OSError.
    """
    try:
        was_open = _check_folder(folder)
        with private_files.open_file(folder / NAME, "rb") as file:
            was_open |= _check_file(file)
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Content(None, was_open=False)
    # A file that is too long is cut, which makes it invalid JSON.
    return Content(data, was_open)


def write(folder: Path, data: bytes) -> None:
    """Replace the file by *data*, atomically and durably. The caller holds the lock.

    Raises: RefusedError, OSError.
    """
    private_files.replace_locked_file(folder, NAME, data)


def set_aside(folder: Path) -> None:
    """Rename a corrupt file. The caller holds the lock."""
    private_files.set_aside(folder / NAME)


def open_lock(folder: Path) -> IO[bytes]:
    """Return the file of the lock, open; the folder is made if there is none.

    Raises: RefusedError, OSError.
    """
    private_files.make_folder(folder)
    _check_folder(folder)
    return private_files.open_file(folder / LOCK_NAME, "ab")


def _check_folder(folder: Path) -> bool:
    return _close_to_others(folder.lstat(), folder, folder.chmod, 0o700, stat.S_ISDIR)


def _check_file(file: IO[bytes]) -> bool:
    descriptor = file.fileno()
    path, status = Path(file.name), os.fstat(descriptor)
    if platforms.is_writable_by_others(status) and not platforms.is_foreign(status):
        # What stands there may be another's credential, to whose account the conversations would go.
        raise RefusedError(f"others could change {path}: read it, and close it with `chmod 600`, or delete it")
    return _close_to_others(status, path, lambda mode: os.fchmod(descriptor, mode), 0o600, stat.S_ISREG)


def _close_to_others(
    status: os.stat_result, path: Path, change: Callable[[int], None], mode: int, is_kind: Callable[[int], bool]
) -> bool:
    """Close *path* to others, and return whether it was open to them.

    Raises: RefusedError when it is not the user's own, or not what it should be.
    """
    if not is_kind(status.st_mode):
        raise RefusedError(f"{path} is not what it should be")
    if platforms.is_foreign(status):
        raise RefusedError(f"{path} belongs to another user")
    if not platforms.is_open_to_others(status):
        return False
    change(mode)
    return True
