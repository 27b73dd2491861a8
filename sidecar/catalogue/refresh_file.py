"""The file of a refreshed catalogue: replaced whole, open to nobody else, believed only where nobody else can write it.

Everything here blocks, and is called in a worker thread. Knows files and their owners. Must not know what is
in it.
"""

import os
import stat
import time
from pathlib import Path

from sidecar.core import platforms, private_files
from sidecar.core.private_files import RefusedError

NAME = "models.dev.json"

MAX_BYTES = 16 * 1024 * 1024

LEFT_SECONDS = 3600.0
"""How old a file under way is when whoever wrote it has surely left."""


def read(folder: Path) -> bytes | None:
    """Return the content of the file, None where there is none.

    Raises: RefusedError, OSError.
    """
    path = folder / NAME
    try:
        with private_files.open_file(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise RefusedError(f"{path} is no file")
            if platforms.is_foreign(status) or platforms.is_open_to_others(status):
                raise RefusedError(f"{path} belongs to another user, or is open to one")
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_BYTES:
        raise RefusedError(f"{path} is too large")
    return data


def write(folder: Path, data: bytes) -> None:
    """Put *data* in the place of the file, at once; the folder is made if it is not there.

    Raises: RefusedError, OSError.
    """
    if len(data) > MAX_BYTES:
        raise RefusedError("it is too large to be kept")
    private_files.make_folder(folder)
    if platforms.is_foreign(folder.stat()):
        raise RefusedError(f"{folder} belongs to another user")
    _tidy(folder)
    private_files.replace_file(folder, NAME, data)


def _tidy(folder: Path) -> None:
    """Remove what a process left that was ended while it wrote."""
    for left in folder.glob(private_files.temporary_pattern(NAME)):
        try:
            if time.time() - left.lstat().st_mtime > LEFT_SECONDS:
                left.unlink()
        except FileNotFoundError:
            # Another process was quicker.
            continue
