"""Files that only the user may read: never opened through a link, and replaced atomically.

Everything here but `wait_for_lock` blocks and belongs in a worker thread. Must not know what the files are for.
"""

import os
import stat
import time
from pathlib import Path
from typing import IO

import anyio
import anyio.to_thread

from sidecar.core import platforms

LOCK_POLL_SECONDS = 0.02

Stamp = tuple[int, int, int] | None
"""Time, inode and size of a file, one of which changes when the file does; None: there is no file."""


class RefusedError(ValueError):
    """A file or folder that is not safe to use, because someone else may have made it. Its text says why."""


def make_folder(folder: Path) -> None:
    """Make *folder* and its parents if they do not exist, for this user only."""
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def open_file(path: Path, mode: str) -> IO[bytes]:
    """Open the file *path*. A new file has the mode 0600 from the start.

    Raises: RefusedError if *path* is a link, OSError.
    """
    try:
        return open(path, mode, opener=_open_private)
    except OSError:
        if path.is_symlink():
            raise RefusedError(f"{path} is a link") from None
        raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | platforms.PRIVATE_OPEN, 0o600)


def read_file(path: Path, max_bytes: int) -> bytes | None:
    """Return the content of a file that nobody else can read or write, or None if there is none.

    Raises: RefusedError, OSError.
    """
    try:
        with open_file(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise RefusedError(f"{path} is not a file")
            if platforms.is_foreign(status) or platforms.is_open_to_others(status):
                raise RefusedError(f"{path} belongs to another user, or others have access to it")
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        return None
    if len(data) > max_bytes:
        raise RefusedError(f"{path} is too large")
    return data


def read_stamp(path: Path) -> Stamp:
    """Return the stamp of the file *path*."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def set_aside(path: Path) -> None:
    """Rename a corrupt file. The caller holds its lock."""
    path.replace(path.with_name(f"{path.name}.corrupt-{int(time.time())}-{os.urandom(2).hex()}"))


async def wait_for_lock(file: IO[bytes], seconds: float) -> bool:
    """Lock *file* against other processes, and return whether it was free in time. Closing it unlocks it."""
    with anyio.move_on_after(seconds):
        while not await anyio.to_thread.run_sync(platforms.try_lock, file.fileno()):  # noqa: ASYNC110 - a lock tells nobody
            await anyio.sleep(LOCK_POLL_SECONDS)
        return True
    return False


def make_private(path: Path) -> None:
    """Make the folder of *path* and an empty file there, both for this user only. Close an existing file to others.

    Raises: RefusedError for a link, which may lead to a file that somebody else has chosen; OSError.
    """
    make_folder(path.parent)
    try:
        status = path.lstat()
    except FileNotFoundError:
        path.touch(mode=0o600)
        return
    # An existing file is not opened here: closing it would drop the POSIX locks of a connection that is still open.
    if stat.S_ISLNK(status.st_mode):
        raise RefusedError(f"{path} is a link")
    if stat.S_ISREG(status.st_mode) and platforms.is_open_to_others(status):
        path.chmod(0o600)


def make_temporary_pattern(name: str) -> str:
    """Return the glob pattern of the temporary files of `replace_file`, which a killed process leaves behind."""
    return f"{name}.*.tmp"


def replace_file(folder: Path, name: str, data: bytes) -> None:
    """Replace the file *name* by *data* atomically, once *data* is on the disk.

    Raises: RefusedError, OSError.
    """
    new = folder / make_temporary_pattern(name).replace("*", os.urandom(8).hex())
    try:
        with open_file(new, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / name)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def replace_locked_file(folder: Path, name: str, data: bytes) -> None:
    """Replace the file *name* durably, and delete what killed processes have left. The caller holds its lock.

    Raises: RefusedError, OSError.
    """
    for left in folder.glob(make_temporary_pattern(name)):
        left.unlink(missing_ok=True)
    replace_file(folder, name, data)
    platforms.sync_folder(str(folder))
