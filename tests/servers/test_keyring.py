"""gnome-keyring under a message bus of its own: keys that the desktop keeps."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.running import Object
from tests.support.environment import environment

KEY = "sk-CANARY-of-the-keyring"

SCRIPT = """
set -eu
printf secret | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null
for lines in "$@"; do
  printf '%s' "$lines" | "$PYTHON" -m sidecar
done
"""


def talk(home: Path, *runs: list[Object]) -> list[Object]:
    """Return the lines of processes that run one after another on a desktop of their own."""
    for program in ("dbus-run-session", "gnome-keyring-daemon"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    lines = ["".join(json.dumps(request) + "\n" for request in run) for run in runs]
    runtime = home / "run"
    runtime.mkdir(mode=0o700)
    env = environment(home, SIDECAR_LOG="error", XDG_RUNTIME_DIR=str(runtime), PYTHON=sys.executable)
    done = subprocess.run(
        ["dbus-run-session", "--", "bash", "-c", SCRIPT, "bash", *lines],
        cwd=home,
        env=env,
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def login(op: str, **more: object) -> Object:
    return {"id": op, "action": "authenticate", "provider": "groq", "params": {"op": op} | more}


def test_a_key_is_kept_by_the_keyring_read_by_another_process_and_removed(tmp_path: Path) -> None:
    lines = talk(tmp_path, [login("login", api_key=KEY)], [login("status")], [login("logout")], [login("status")])
    stored, kept, removed, gone = (line["data"] for line in lines)
    assert stored["storage"] == "keychain"
    assert kept["ready"]
    assert removed
    assert not gone["ready"]
    assert KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
