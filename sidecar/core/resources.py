"""Where the data files of the program are.

`importlib.resources` would add 7 ms of imports to the first chat, to support packages inside archives. The program
cannot run from one anyway, because its libraries are native.
"""

from pathlib import Path

import sidecar

_ROOT = Path(sidecar.__file__).parent


def find(name: str) -> Path:
    """Return the path of a data file or folder; *name* is relative to the package, such as `catalogue/models.json`."""
    return _ROOT / name


def find_fixtures() -> Path:
    """Return the folder of recorded exchanges: inside an installed package, beside the package in a checkout."""
    inside = _ROOT / "fixtures"
    return inside if inside.is_dir() else _ROOT.parent / "fixtures"
