"""What the program is made of: checks the licences and hashes of its packages, and lists what a wheel holds.

    python -m tests.audit SBOM

`make audit` first makes the SBOM, in CycloneDX's JSON, of `requirements.lock`. The licences of the packages that are
installed here are added to it. The command fails if a package has no hash, has a licence that is not in `ALLOWED`, or
is in one of the two files alone, and if the wheel holds what it should not.
"""

# ruff: noqa: T201 - a command that reports on a terminal

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from packaging.utils import NormalizedName, canonicalize_name

from tests.support.locks import ROOT, read_pins

ALLOWED = frozenset(
    {
        *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CNRI-Python", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"),
        *("Unlicense", "0BSD"),
    }
)
"""Licences under which a package may be shipped beside an MIT-licensed program. MPL-2.0 binds its own files alone."""

NAMES = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What packages without an SPDX expression write → the licence."""

WHEEL_FOLDERS = ("sidecar_stdio/", "sidecar_stdio-")
"""The beginnings of the names in a wheel."""


class AuditError(Exception):
    """Something is not as it should be."""


def read_licence(distribution: str) -> str:
    """Return the SPDX expression of an installed *distribution*; several classifiers are alternatives.

    Raises: AuditError if it names no licence that is known.
    """
    metadata = importlib.metadata.metadata(distribution)
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    classifiers = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier") or () if "License ::" in each]
    field = "".join(metadata.get_all("License") or ()).strip().split("\n")[0].strip()
    known = [NAMES.get(name, name) for name in (*classifiers, field) if NAMES.get(name, name) in ALLOWED]
    if not known:
        raise AuditError(f"{distribution}: no licence is known by {[*classifiers, field]}")
    return " OR ".join(dict.fromkeys(known))


def is_allowed(expression: str) -> bool:
    """Return whether one alternative of an SPDX *expression* without brackets is allowed in all its parts."""
    return any(
        all(part.strip() in ALLOWED for part in alternative.split(" AND ")) for alternative in expression.split(" OR ")
    )


def check_components(sbom: dict[str, Any]) -> list[str]:
    """Add licences to the components of *sbom*, and return a line for each.

    Raises: AuditError.
    """
    pins = {(name, pin.version) for name, found in read_pins("requirements.lock").items() for pin in found}
    listed = {(canonicalize_name(each["name"]), each["version"]) for each in sbom["components"]}
    if pins != listed:
        raise AuditError(f"the lock and the SBOM differ: {sorted(pins ^ listed)}")
    installed = {canonicalize_name(each.name): each.version for each in importlib.metadata.distributions()}
    return [_check_component(each, installed) for each in sbom["components"]]


def _check_component(component: dict[str, Any], installed: dict[NormalizedName, str]) -> str:
    name, version = canonicalize_name(component["name"]), component["version"]
    hashes = [each for place in component.get("externalReferences", ()) for each in place.get("hashes", ())]
    if not hashes or any(each["alg"] != "SHA-256" for each in hashes):
        raise AuditError(f"{name}: no hash, or a weak one")
    if installed.get(name) != version:
        return f"{name} {version}: {len(hashes)} hashes; for other machines, not installed here"
    licence = read_licence(name)
    if not is_allowed(licence):
        raise AuditError(f"{name}: {licence} is not allowed")
    component["licenses"] = [{"expression": licence}]
    return f"{name} {version}: {len(hashes)} hashes, {licence}"


def list_wheel(folder: Path) -> list[str]:
    """Build a wheel in *folder*, and return a line for each folder that it has.

    Raises: AuditError for a file that does not belong there.
    """
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    if strangers := [name for name in names if not name.startswith(WHEEL_FOLDERS) or _is_generated(name)]:
        raise AuditError(f"the wheel holds {strangers[:5]}")
    counts = Counter("/".join(name.split("/")[1:3]) for name in names)
    return [f"{folder}: {count} files" for folder, count in sorted(counts.items())]


def _is_generated(name: str) -> bool:
    return re.search(r"(?:^|/)(?:\.|__pycache__|tests?/)|\.py[co]$|\.log$|\.env", name) is not None


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    if len(arguments) != 1:
        print(__doc__)
        return 2
    path = Path(arguments[0])
    sbom = json.loads(path.read_text(encoding="utf-8"))
    try:
        lines = check_components(sbom)
        with tempfile.TemporaryDirectory() as folder:
            lines += list_wheel(Path(folder))
    except AuditError as error:
        print(error, file=sys.stderr)
        return 1
    path.write_text(json.dumps(sbom, indent=2) + "\n", encoding="utf-8")
    print("\n".join([*lines, f"The SBOM of {len(sbom['components'])} packages is {path}."]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
