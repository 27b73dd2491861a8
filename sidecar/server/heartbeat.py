"""`status` chunks for silent streams: they say what a request is waiting for, if the host asked for them.

Knows how long each stream has been silent, by one timer for all of them, which runs only while a stream is open.
Must not know what a request asks for.
"""

import time
from typing import Literal

from protocol.replies import Status
from sidecar.core import event_loop
from sidecar.core.request_state import Progress
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest

CHECKS_PER_HEARTBEAT = 5
"""How often a stream is checked within the time that it may be silent. Checks cost less than timing every chunk."""


def start(app: App) -> None:
    """Start the timer, unless it runs already, no stream is open or the host wants no `status`."""
    if not app.heartbeat_is_due and _is_wanted(app):
        app.heartbeat_is_due = True
        event_loop.call_later(app.session.heartbeat_ms / 1000 / CHECKS_PER_HEARTBEAT, _check_all, app)


def _is_wanted(app: App) -> bool:
    return app.wants_status and any(request.streams for request in app.requests)


def _check_all(app: App) -> None:
    app.heartbeat_is_due = False
    if _is_wanted(app):
        now = time.monotonic()
        for request in app.requests:
            if request.streams:
                _check(request, now, app.session.heartbeat_ms)
        start(app)


def _check(request: OpenRequest, now: float, heartbeat_ms: int) -> None:
    lane = request.lane
    if lane.next_seq != request.checked_seq:
        request.checked_seq, request.silent_since, request.status_at = lane.next_seq, now, now
    # A stream with unread chunks is not silent, and a host that does not read needs no heartbeats.
    elif (now - request.status_at) * 1000 >= heartbeat_ms and lane.empty:
        lane.send([make_status(request.state.progress, int((now - request.silent_since) * 1000), now)])
        request.checked_seq, request.status_at = lane.next_seq, now


def make_status(progress: Progress, silent_ms: int, now: float) -> Status:
    """Return what a request is waiting for that had no chunk for *silent_ms*; *now* is on the monotonic clock."""
    phase = progress.phase
    if phase == "queue" and progress.retry_at > now:
        wait_ms = int((progress.retry_at - now) * 1000)
        return Status(state="retrying", wait_ms=wait_ms, phase=phase, silent_ms=silent_ms)
    if phase == "queue":
        return Status(state="queued", phase=phase, silent_ms=silent_ms)
    state: Literal["connecting", "waiting"] = "connecting" if phase == "connect" else "waiting"
    return Status(state=state, phase=phase, silent_ms=silent_ms)
