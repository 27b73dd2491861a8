"""What silent streams wait for, told to a host that asked to hear it.

Knows how long each open request has had no line: by one timer for all of them, and none while no stream is open.
Must not know what a request asks, or of whom.
"""

import time
from typing import Literal

from protocol.replies import Status
from sidecar.core import event_loop
from sidecar.core.request_state import Progress
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest

LOOKS = 5
"""How often a stream is looked at within the time that it may be silent: a chunk has only to be counted, not timed."""


def watch(app: App) -> None:
    """Look after the open streams from now on, for a host that asked for `status`. Twice is once."""
    if not app.heartbeat_is_due and _is_wanted(app):
        app.heartbeat_is_due = True
        event_loop.call_later(app.session.heartbeat_ms / 1000 / LOOKS, _look, app)


def _is_wanted(app: App) -> bool:
    return "status" in app.session.events and any(entry.streams for entry in app.requests)


def _look(app: App) -> None:
    app.heartbeat_is_due = False
    if _is_wanted(app):
        now = time.monotonic()
        for entry in app.requests:
            if entry.streams:
                _look_at(entry, now, app.session.heartbeat_ms)
        watch(app)


def _look_at(entry: OpenRequest, now: float, heartbeat_ms: int) -> None:
    lane = entry.lane
    if lane.next_seq != entry.heard_seq:
        entry.heard_seq, entry.silent_since, entry.told_at = lane.next_seq, now, now
    # What the host has not read yet is no silence, and a host that does not read needs no more of it.
    elif (now - entry.told_at) * 1000 >= heartbeat_ms and lane.empty:
        lane.send([status(entry.state.progress, int((now - entry.silent_since) * 1000), now)])
        entry.heard_seq, entry.told_at = lane.next_seq, now


def status(progress: Progress, silent_ms: int, now: float) -> Status:
    """Return what a request that is *silent_ms* without a chunk waits for; *now* is on the monotonic clock."""
    phase = progress.phase
    if phase == "queue" and progress.again_at > now:
        wait_ms = int((progress.again_at - now) * 1000)
        return Status(state="retrying", wait_ms=wait_ms, phase=phase, silent_ms=silent_ms)
    if phase == "queue":
        return Status(state="queued", phase=phase, silent_ms=silent_ms)
    state: Literal["connecting", "waiting"] = "connecting" if phase == "connect" else "waiting"
    return Status(state=state, phase=phase, silent_ms=silent_ms)
