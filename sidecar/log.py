"""Log lines on stderr: one JSON object each, fields and no prose, never content, headers or secrets.

Knows levels and escaping. Must not know what is logged. Writing never blocks (see `stdio.Stderr`).
"""

import sys
import time
from typing import Literal

Level = Literal["debug", "info", "warn", "error", "off"]

_RANKS: dict[str, int] = {"debug": 10, "info": 20, "warn": 30, "error": 40, "off": 100}
_threshold = _RANKS["warn"]


def set_level(level: Level) -> None:
    """Write nothing below *level* from now on."""
    global _threshold  # noqa: PLW0603 - the one setting of the module
    _threshold = _RANKS[level]


def log(level: Level, event: str, **fields: object) -> None:
    """Write one line: the time, *level*, the dotted name of the *event* and its *fields*."""
    if _RANKS[level] < _threshold:
        return
    import json  # Only a process that has something to say pays for it.

    line = {"time": round(time.time(), 3), "level": level, "event": event} | fields
    sys.stderr.write(json.dumps(line, default=repr) + "\n")
