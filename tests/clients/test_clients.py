"""Each client passes the conformance kit, and the host over it in `examples/` works with the real program."""

import os
import re
import subprocess
import sys

import pytest

from protocol.emitters.python import PATH as PYTHON_TYPES
from tests.clients import bench
from tests.clients.languages import CLIENTS, LANGUAGES, ROOT, Language, find_lack, runs_all

pytestmark = [pytest.mark.spawns, pytest.mark.longest]

KIT_SECONDS = 240
HOST_SECONDS = 60

MOST_LINES = 40
"""Of a host in `examples/`."""


def test_the_client_passes_the_kit(client: Language) -> None:
    chosen = [] if runs_all() else ["--only", "cancel"]
    kit = [sys.executable, "-m", "sidecar.kit", "--jobs", "4", "--patience", "4", *chosen, *client.driver]
    done = subprocess.run(kit, cwd=ROOT, capture_output=True, text=True, check=False, timeout=KIT_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b[1-9]\d* passed, 0 failed", done.stdout)


def test_a_host_over_the_client_streams_cancels_runs_a_tool_and_restarts(client: Language) -> None:
    """Ours: the same words whatever the language; only the order of what ends at once is free."""
    env = os.environ | {"SIDECAR": str(ROOT / ".venv/bin/sidecar")}
    done = subprocess.run(
        client.host, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=HOST_SECONDS
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "I will look.I have the result: bring an umbrella."
    assert lines[1] == "[stop, rounds: 2]"
    assert lines[2] == "[cancelled]"
    assert sorted(line.lower() for line in lines[3:5]) == ["[ended, restarting: true]", "[sidecar_exited]"]
    assert "pong" in lines[5]
    assert [line.lower() for line in lines[6:]] == ["[ended, restarting: false]"]


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_a_host_over_a_client_is_short(language: Language) -> None:
    assert len((ROOT / "examples" / language.source).read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_the_types_in_python_can_be_imported() -> None:
    """A checker reads them; this shows that no alias comes before what it needs."""
    code = compile((CLIENTS.parent / PYTHON_TYPES).read_bytes(), PYTHON_TYPES, "exec")
    names: dict[str, object] = {"__name__": "types"}
    exec(code, names)  # noqa: S102 - a file of our own
    assert {"Chunk", "Done", "Options", "PROTOCOL_VERSION"} <= names.keys()


@pytest.mark.parametrize("name", sorted(bench.COMMANDS))
def test_a_stream_costs_little_more_than_its_json(name: str) -> None:
    """Ours: `python -m tests.clients.bench` does the same with a million chunks."""
    if lack := find_lack(name):
        pytest.skip(f"{name}: {lack}")
    next(each for each in LANGUAGES if each.name == name).build()
    assert bench.measure(name, 200_000) >= bench.LEAST_PERCENT
