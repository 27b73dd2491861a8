"""The command behind `make peers`: install the mock where Node is at hand, and run its tests."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PLACE = HERE.parent.parent / "build/peers"

HAS_CRC32 = "process.exit(require('node:zlib').crc32 ? 0 : 1)"
"""Asks Node whether it is new enough: the mock makes frames of AWS's with it."""

PING = ("ping", "--fetch-retries=0", "--fetch-timeout=5000")
INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def main(arguments: list[str]) -> int:
    """Run the tests and return the exit code; where they cannot be run, say why and return 0."""
    if why := lacking():
        sys.stderr.write(f"peers: NOTHING WAS TESTED: {why}\n")
        return 0
    if not installed():
        PLACE.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, PLACE)
        if npm(*INSTALL) != 0:
            sys.stderr.write("peers: npm could not install what tests/peers/package-lock.json pins\n")
            return 1
        # Written last, and so a sign that all of it is there.
        shutil.copy(HERE / "package-lock.json", PLACE / "installed.json")
    os.environ["SIDECAR_PEERS"] = str(PLACE)
    return pytest.main(["-q", str(HERE), *arguments])


def lacking() -> str | None:
    """Return what is missing for the tests, or None."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "node and npm are not installed"
    if subprocess.run(["node", "-e", HAS_CRC32], check=False).returncode != 0:
        return "Node is older than 20.15"
    if not installed() and npm(*PING, quiet=True) != 0:
        return "npm does not reach its registry"
    return None


def installed() -> bool:
    """Return whether what is pinned is installed."""
    stamp = PLACE / "installed.json"
    return stamp.exists() and filecmp.cmp(HERE / "package-lock.json", stamp, shallow=False)


def npm(*arguments: str, quiet: bool = False) -> int:
    """Run npm where the mock is installed and return its exit code."""
    where = PLACE if PLACE.exists() else HERE
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(["npm", *arguments], cwd=where, stdout=output, stderr=output, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
