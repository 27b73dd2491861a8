"""The private folder of one run of a scenario: the executable that a host spawns, and the logs of what it spawned."""

import os
import shlex
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec

import sidecar
from sidecar.core import platforms
from sidecar.kit.scenario import Scenario

_ROOT = Path(sidecar.__file__).parent.parent


class Entry(msgspec.Struct, frozen=True):
    """A line of the log of a played sidecar."""

    at_ms: float
    """Milliseconds of the monotonic clock, which all processes share."""
    event: str
    pid: int = 0
    text: str = ""
    number: int = 0
    names: dict[str, Any] = {}
    code: int = 0


class Start(msgspec.Struct, frozen=True):
    """One process that the host has spawned."""

    number: int
    entries: list[Entry]
    running: bool


def prepare(folder: Path, scenario: Scenario, limit_ms: int) -> Path:
    """Write into *folder* what a played sidecar needs, and return the executable that a host spawns."""
    play = {"steps": scenario.script, "limit_ms": limit_ms}
    (folder / "play.json").write_bytes(msgspec.json.encode(play))
    # -I and -S: no variable of the host and no package changes what runs, and it starts twice as fast.
    code = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from sidecar.kit.played import main; main()"
    command = [sys.executable, "-I", "-S", "-c", code, str(folder)]
    if platforms.WINDOWS:
        launcher = folder / "sidecar.cmd"
        quoted = " ".join(f'"{each}"' for each in command)
        launcher.write_text(f"@{quoted}\r\n@exit /b %ERRORLEVEL%\r\n", encoding="utf-8")
        return launcher
    launcher = folder / "sidecar"
    launcher.write_text(f"#!/bin/sh\nexec {shlex.join(command)}\n", encoding="utf-8")
    launcher.chmod(stat.S_IRWXU)
    return launcher


def read_starts(folder: Path) -> list[Start]:
    """Return the processes that were started in *folder*, in order."""
    starts = []
    for number in range(1, len([*folder.glob("start-*.lock")]) + 1):
        log = folder / f"start-{number}.ndjson"
        # A process that was killed may have left half a line.
        whole = log.read_bytes().rpartition(b"\n")[0] if log.exists() else b""
        entries = msgspec.json.Decoder(Entry).decode_lines(whole)
        starts.append(Start(number=number, entries=entries, running=_is_locked(folder / f"start-{number}.lock")))
    return starts


def end_all(folder: Path) -> None:
    """Kill every process of *folder* that still runs."""
    for start in read_starts(folder):
        pid = start.entries[0].pid if start.entries else 0
        if start.running and pid:
            # It holds its lock, so the number is still its own.
            try:
                os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
            except ProcessLookupError:
                continue


def _is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        return not platforms.try_lock(fd)
    finally:
        os.close(fd)
