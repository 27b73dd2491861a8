"""The file of the refreshed catalogue: replaced whole, private to the user, and used only if nobody else can write it.

Everything here blocks and is called in a worker thread. Knows files and their owners. Must not know the content.
"""

import os
import stat
import time
from pathlib import Path

from sidecar.core import platforms, private_files
from sidecar.core.private_files import RefusedError

FILE_NAME = "models.dev.json"

MAX_BYTES = 16 * 1024 * 1024

ABANDONED_SECONDS = 3600.0
"""A temporary file of this age was abandoned by its writer."""


def read(folder: Path) -> bytes | None:
    """Return the content of the file, or None if there is none.

    Raises: RefusedError, OSError.
    """
    path = folder / FILE_NAME
    try:
        with private_files.open_file(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise RefusedError(f"{path} is not a file")
            if platforms.is_foreign(status) or platforms.is_open_to_others(status):
                raise RefusedError(f"{path} belongs to another user, or others have access to it")
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_BYTES:
        raise RefusedError(f"{path} is too large")
    return data


def write(folder: Path, data: bytes) -> None:
    """Replace the file by *data* in one step, and make the folder if it does not exist.

    Raises: RefusedError, OSError.
    """
    if len(data) > MAX_BYTES:
        raise RefusedError("it is too large to be stored")
    private_files.make_folder(folder)
    if platforms.is_foreign(folder.stat()):
        raise RefusedError(f"{folder} belongs to another user")
    _remove_abandoned(folder)
    private_files.replace_file(folder, FILE_NAME, data)


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of processes that ended while they wrote."""
    for left in folder.glob(private_files.temporary_pattern(FILE_NAME)):
        try:
            if time.time() - left.lstat().st_mtime > ABANDONED_SECONDS:
                left.unlink()
        except FileNotFoundError:
            # Another process was quicker.
            continue
