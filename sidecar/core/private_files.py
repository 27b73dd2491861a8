"""Files of the user's alone: opened through no link, made open to nobody else, replaced whole or not at all.

Everything here blocks, and is called in a worker thread. Must not know what the files are for.
"""

import os
from pathlib import Path
from typing import IO

from sidecar.core import platforms


class RefusedError(ValueError):
    """A file or folder that somebody else may have put there, or that is not fit to be kept; its text says why."""


def make_folder(folder: Path) -> None:
    """Make *folder*, and those that it is in, where they are not there."""
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def opened(path: Path, mode: str) -> IO[bytes]:
    """Return the file *path*, open; one that is made is 0600 from its first moment.

    Raises: RefusedError for a link, OSError.
    """
    try:
        return open(path, mode, opener=_private)
    except OSError:
        if path.is_symlink():
            raise RefusedError(f"{path} is a link") from None
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | platforms.PRIVATE_OPEN, 0o600)


def under_way(name: str) -> str:
    """Return the pattern of the files that `replace` makes on its way, and leaves when its process is killed."""
    return f"{name}.*.tmp"


def replace(folder: Path, name: str, data: bytes) -> None:
    """Put *data* in the place of the file *name* at once; it is on the disk before.

    Raises: RefusedError, OSError.
    """
    new = folder / under_way(name).replace("*", os.urandom(8).hex())
    try:
        with opened(new, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / name)
    except OSError:
        new.unlink(missing_ok=True)
        raise
