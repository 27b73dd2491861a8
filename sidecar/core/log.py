"""Log lines on stderr: one JSON object each, with fields instead of prose, and never content, headers or secrets.

Knows levels and escaping. Must not know what is logged. Writing never blocks, see `sidecar.server.stdio`.
"""

import sys
import time
from contextvars import ContextVar
from typing import Literal

from sidecar.core.errors import SidecarError

Level = Literal["debug", "info", "warn", "error", "off"]

_RANKS: dict[str, int] = {"debug": 10, "info": 20, "warn": 30, "error": 40, "off": 100}
_threshold = _RANKS["warn"]

_request_id: ContextVar[object] = ContextVar("request_id", default=None)
"""The id of the request that the current task works for."""


def name_request(request_id: object) -> None:
    """Name the request in the log lines of this task and of the tasks that it starts."""
    _request_id.set(request_id)


def set_level(level: str) -> None:
    """Log nothing below *level*, one of `Level`, from now on."""
    global _threshold  # noqa: PLW0603 - the one setting of the module
    _threshold = _RANKS[level]


def log(level: Level, event: str, **fields: object) -> None:
    """Write one line with the time, *level*, the dotted name of the *event* and its *fields*."""
    if _RANKS[level] < _threshold:
        return
    import json  # Many processes never log anything.

    line: dict[str, object] = {"time": round(time.time(), 3), "level": level, "event": event}
    if (request_id := _request_id.get()) is not None:
        line["request"] = request_id
    line |= fields
    sys.stderr.write(json.dumps(line, default=repr) + "\n")


def find_origin(error: BaseException) -> dict[str, str]:
    """Return the type of *error*, or of the first in a group, and where it was raised: its text may hold content."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    where, step = "unknown", error.__traceback__
    # `traceback` would take a tenth of the time of a start, and may crash the process when memory is short.
    while step is not None:
        where = f"{step.tb_frame.f_code.co_name}:{step.tb_lineno}"
        step = step.tb_next
    return {"type": type(error).__name__, "where": where}


def find_failure(error: Exception) -> SidecarError:
    """Return the only SidecarError in a group of exceptions, or an internal error, which is logged."""
    inner: BaseException = error
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, SidecarError) else make_internal_error(error)


def make_internal_error(error: Exception) -> SidecarError:
    """Return the error for a defect of ours, and log where it is."""
    origin = find_origin(error)
    log("error", "internal_error", **origin)
    if isinstance(error, MemoryError):
        return SidecarError("internal_error", "There is not enough memory for the request.", reason="no_memory")
    return SidecarError(
        "internal_error",
        "The sidecar failed to handle the request.",
        hint=f"Report {origin['type']} at {origin['where']}.",
    )
