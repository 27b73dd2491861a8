"""Log lines on stderr: one JSON object each, fields and no prose, never content, headers or secrets.

Knows levels and escaping. Must not know what is logged. Writing never blocks (see `stdio.Stderr`).
"""

import sys
import time
import traceback
from typing import Literal

Level = Literal["debug", "info", "warn", "error", "off"]

_RANKS: dict[str, int] = {"debug": 10, "info": 20, "warn": 30, "error": 40, "off": 100}
_threshold = _RANKS["warn"]


def set_level(level: str) -> None:
    """Write nothing below *level*, one of `Level`, from now on."""
    global _threshold  # noqa: PLW0603 - the one setting of the module
    _threshold = _RANKS[level]


def log(level: Level, event: str, **fields: object) -> None:
    """Write one line: the time, *level*, the dotted name of the *event* and its *fields*."""
    if _RANKS[level] < _threshold:
        return
    import json  # Only a process that has something to say pays for it.

    line = {"time": round(time.time(), 3), "level": level, "event": event} | fields
    sys.stderr.write(json.dumps(line, default=repr) + "\n")


def find_origin(error: BaseException) -> dict[str, str]:
    """Return the type of *error*, of the first one in a group, and where it was raised: its text may hold content."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    place = traceback.extract_tb(error.__traceback__)[-1:]
    return {"type": type(error).__name__, "where": f"{place[0].name}:{place[0].lineno}" if place else "unknown"}
