"""The lock files: packages pinned by hash, each for the machines that its marker names."""

import re
from pathlib import Path

import msgspec
from packaging.markers import Marker
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

_PIN = re.compile(
    r"(?P<name>[\w.-]+)==(?P<version>[\w.]+)(?: ; (?P<marker>[^\\]+?))?(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)"
)


class Pin(msgspec.Struct, frozen=True):
    """One package of a lock, for the machines that *marker* names."""

    version: str
    marker: str | None

    def applies(self, environment: dict[str, str]) -> bool:
        """Return whether it is installed in *environment*."""
        return self.marker is None or Marker(self.marker).evaluate(environment)


def read_pins(lock: str) -> dict[str, list[Pin]]:
    """Return the packages of *lock* by name; fails on a line that is no pin with hashes."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace(" \\\n   ", "")
    found: dict[str, list[Pin]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = _PIN.fullmatch(line)
            assert match, f"{lock}: no pin with hashes: {line[:80]!r}"
            found.setdefault(canonicalize_name(match["name"]), []).append(Pin(match["version"], match["marker"]))
    return found
