"""Files that only the user may read: never opened through a link, replaced as a whole or not at all.

Everything here blocks; call it in a worker thread. Must not know what the files are for.
"""

import os
from pathlib import Path
from typing import IO

from sidecar.core import platforms


class RefusedError(ValueError):
    """A file or folder that is not safe to use, because someone else may have made it. Its text says why."""


def make_folder(folder: Path) -> None:
    """Make *folder* and its parents if they do not exist, open to nobody else."""
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


def temporary_pattern(name: str) -> str:
    """Return the glob pattern of the temporary files of `replace_file`, which a killed process leaves behind."""
    return f"{name}.*.tmp"


def replace_file(folder: Path, name: str, data: bytes) -> None:
    """Replace the file *name* by one with *data*, at once and only when *data* is on the disk.

    Raises: RefusedError, OSError.
    """
    new = folder / temporary_pattern(name).replace("*", os.urandom(8).hex())
    try:
        with open_file(new, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / name)
    except OSError:
        new.unlink(missing_ok=True)
        raise
