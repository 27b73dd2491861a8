"""The file of the refreshed catalogue: replaced whole, private to the user, and used only if nobody else can write it.

Everything here blocks and is called in a worker thread. Knows files and their owners. Must not know the content.
"""

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
    return private_files.read_file(folder / FILE_NAME, MAX_BYTES)


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
    for left in folder.glob(private_files.make_temporary_pattern(FILE_NAME)):
        try:
            if time.time() - left.lstat().st_mtime > ABANDONED_SECONDS:
                left.unlink()
        except FileNotFoundError:
            # Another process was quicker.
            continue
