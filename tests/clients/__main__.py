"""The command behind `make clients`: installs what npm has, and tests the client of every language that is here.

What cannot be installed, or is not here, is said, and its tests are skipped with that reason.
"""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.languages import PLACE, ZIG

HERE = Path(__file__).parent

PINNED = ("package.json", "package-lock.json")
PING = ("ping", "--fetch-retries=0", "--fetch-timeout=5000")
INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


ZIG_PINNED = "ziglang==0.17.1"


def main(arguments: list[str]) -> int:
    """Run the tests and return the exit code."""
    if why := install():
        sys.stderr.write(f"clients: NOTHING OF TypeScript WAS TESTED: {why}\n")
    if why := install_zig():
        sys.stderr.write(f"clients: NOTHING OF Zig WAS TESTED: {why}\n")
    os.environ["SIDECAR_CLIENTS"] = str(PLACE)
    return pytest.main(["-q", "-rs", str(HERE), *arguments])


def install() -> str | None:
    """Install what is pinned unless it is there, and return why that cannot be done."""
    stamp = PLACE / "installed.json"
    if stamp.exists() and filecmp.cmp(HERE / "package-lock.json", stamp, shallow=False):
        return None
    if not shutil.which("node") or not shutil.which("npm"):
        return "node and npm are not installed"
    PLACE.mkdir(parents=True, exist_ok=True)
    if npm(*PING, quiet=True) != 0:
        return "npm does not reach its registry"
    for name in PINNED:
        shutil.copy(HERE / name, PLACE)
    if npm(*INSTALL) != 0:
        return "npm could not install what tests/clients/package-lock.json pins"
    # Written last, and so a sign that all of it is there.
    shutil.copy(HERE / "package-lock.json", stamp)
    return None


def install_zig() -> str | None:
    """Install Zig from the Python index unless it is there, and return why that cannot be done."""
    stamp = ZIG / "installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == ZIG_PINNED:
        return None
    steps = (
        [sys.executable, "-m", "venv", "--clear", str(ZIG)],
        [str(ZIG / "bin/python"), "-m", "pip", "install", "-q", "--retries=0", "--timeout=10", ZIG_PINNED],
    )
    for step in steps:
        if subprocess.run(step, capture_output=True, check=False).returncode != 0:
            return f"{ZIG_PINNED} could not be installed"
    # Written last, and so a sign that all of it is there.
    stamp.write_text(ZIG_PINNED, encoding="utf-8")
    return None


def npm(*arguments: str, quiet: bool = False) -> int:
    """Run npm where the tools are installed and return its exit code."""
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(["npm", *arguments], cwd=PLACE, stdout=output, stderr=output, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
