"""Where the data files of the program are.

`importlib.resources` would add 7 ms of imports to the first chat, to support packages inside archives. The program
cannot run from one anyway, because its libraries are native.
"""

import binascii
from pathlib import Path

import msgspec

import sidecar

_ROOT = Path(sidecar.__file__).parent


def find(name: str) -> Path:
    """Return the path of a data file or folder; *name* is relative to the package, such as `catalogue/models.json`."""
    return _ROOT / name


class ParsedTable(msgspec.Struct, frozen=True):
    """The content of a TOML file as JSON, and the checksum of the file."""

    source_crc32: int
    table: msgspec.Raw


def read_table(name: str) -> bytes:
    """Return the TOML file *name* as JSON.

    Parsing the table of providers takes a tenth of the time until the first content of a first chat. So `make` and the
    build of a wheel leave the result beside the file. It is taken if the file has not changed since.
    """
    file = find(name)
    source = file.read_bytes()
    try:
        parsed = msgspec.json.decode(file.with_suffix(".parsed.json").read_bytes(), type=ParsedTable)
    except (OSError, msgspec.DecodeError):
        parsed = None
    if parsed is not None and parsed.source_crc32 == binascii.crc32(source):
        return bytes(parsed.table)
    import tomllib

    return msgspec.json.encode(tomllib.loads(source.decode()))


def find_fixtures() -> Path:
    """Return the folder of recorded exchanges: inside an installed package, beside the package in a checkout."""
    inside = _ROOT / "fixtures"
    return inside if inside.is_dir() else _ROOT.parent / "fixtures"
