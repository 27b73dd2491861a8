"""The command behind `make servers`: installs the software that is a package, and runs the tests against it.

What cannot be installed, or is no Python package and not here, is said, and its tests are skipped with that reason.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.building import BuildError, build

HERE = Path(__file__).parent
PLACE = HERE.parent.parent / "build/servers"

PACKAGES = {"litellm": "litellm[proxy]==1.106.2", "moto": "moto[server]==5.2.5"}
"""Name → what is installed, each in an environment of its own: what they need does not fit together."""

INSTALL_SECONDS = 600


def main(arguments: list[str]) -> int:
    """Run the tests and return the exit code."""
    for name, package in PACKAGES.items():
        if why := install(name, package):
            sys.stderr.write(f"servers: {name}: NOTHING WAS TESTED: {why}\n")
    try:
        build(PLACE / "llama")
    except BuildError as error:
        sys.stderr.write(f"servers: llama.cpp: NOTHING WAS TESTED: {error}\n")
    os.environ["SIDECAR_SERVERS"] = str(PLACE)
    return pytest.main(["-q", "-rs", str(HERE), *arguments])


def install(name: str, package: str) -> str:
    """Install *package* unless it is there, and return why that cannot be done."""
    stamp = PLACE / name / "installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == package:
        return ""
    PLACE.mkdir(parents=True, exist_ok=True)
    commands = (
        [sys.executable, "-m", "venv", "--clear", str(PLACE / name)],
        [str(PLACE / name / "bin/python"), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", package],
    )
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
        except subprocess.TimeoutExpired:
            return f"{command[1:3]} takes too long"
        if done.returncode != 0:
            return (done.stderr.strip().splitlines() or ["it failed"])[-1]
    stamp.write_text(package, encoding="utf-8")
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
