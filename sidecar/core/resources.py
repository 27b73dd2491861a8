"""The data files that come with the program: found here, whoever reads them.

`importlib.resources` would import `tempfile` and its kin, 7 ms of every first chat, to serve packages inside archives,
where the program cannot run anyway: its libraries are native.
"""

from pathlib import Path

import sidecar

_ROOT = Path(sidecar.__file__).parent


def path(name: str) -> Path:
    """Return the path of the data file or folder *name*, relative to the package: `catalogue/models.json`."""
    return _ROOT / name


def fixtures() -> Path:
    """Return the folder of recorded exchanges: inside an installed package, beside it in a checkout."""
    inside = _ROOT / "fixtures"
    return inside if inside.is_dir() else _ROOT.parent / "fixtures"
