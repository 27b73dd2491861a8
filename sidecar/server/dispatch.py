"""Lines → actions: the single boundary where an exception becomes a line.

Knows ids, the task and the cancel scope of a request. Must not know what an action does.
"""

import msgspec

from protocol.replies import ReplyId
from protocol.requests import Envelope
from sidecar.core.errors import SidecarError, invalid
from sidecar.core.log import log, origin
from sidecar.server import framing, heartbeat
from sidecar.server.actions import ACTIONS, AtOnce, Task
from sidecar.server.app import App
from sidecar.server.framing import TooLong
from sidecar.server.open_requests import OpenRequest, duplicate

MAX_OPEN = 4096
"""Requests that may be open at once."""


def accept(app: App, line: bytes | TooLong) -> None:
    """Answer *line* at once, or open its request as a task. Never raises and never waits."""
    if isinstance(line, TooLong):
        app.refuse(framing.sniff_id(line.head), _too_long(line))
        return
    try:
        envelope = framing.decode_envelope(line)
    except SidecarError as error:
        app.refuse(_id_of(line) if error.body.code != "parse_error" else None, error)
        return
    except MemoryError as error:
        app.refuse(framing.sniff_id(line[: framing.SNIFF_BYTES]), _internal(error))
        return
    try:
        _start(app, envelope, line)
    except SidecarError as error:
        app.refuse(None if error.body.code == "parse_error" else envelope.id, error)
    except Exception as error:  # noqa: BLE001 - nothing on stdin may end the process
        app.refuse(envelope.id, _internal(error))


def _too_long(line: TooLong) -> SidecarError:
    if line.no_memory:
        return SidecarError("internal_error", "There is not enough memory for a line so long.", reason="no_memory")
    text = f"The line is longer than {framing.MAX_LINE_BYTES} bytes; the rest of it was skipped."
    return invalid(text, reason="line_too_long")


def _id_of(line: bytes) -> ReplyId:
    """Return the id of a request whose envelope is wrong somewhere else; null where there is no telling."""
    raw = msgspec.json.decode(line)
    if not isinstance(raw, dict):
        return None
    try:
        found: ReplyId = msgspec.convert(raw["id"], framing.ID_TYPE) if "id" in raw else msgspec.UNSET
    except msgspec.ValidationError:
        return None
    return found


def _start(app: App, envelope: Envelope, line: bytes) -> None:
    action = ACTIONS.get(envelope.action)
    if action is None:
        raise invalid(f"`action` must be one of: {', '.join(ACTIONS)}.", "action")
    if app.leaving and envelope.action != "shutdown":
        raise SidecarError("shutting_down", "The process is leaving and takes no new work.")
    if envelope.id in app.requests and (envelope.id is not msgspec.UNSET or isinstance(action, Task)):
        raise duplicate(envelope.id)
    params = framing.decode_params(envelope.params, action.params)
    if app.session.strict:
        _refuse_unknown(line, msgspec.structs.replace(envelope, params=params))
    if isinstance(action, AtOnce):
        app.reply(envelope.id, action.run(app, params))
        return
    if len(app.requests) >= MAX_OPEN:
        raise SidecarError("queue_full", "Too many requests are open.", retry_after_ms=1000)
    entry = OpenRequest(envelope, app.write_queue.open_lane(envelope.id), streams=action.streams)
    app.requests.register(entry)
    if envelope.timeout is not None:
        entry.state.limit(envelope.timeout)
    else:
        entry.state.grant(action.total_ms)
    if entry.streams:
        heartbeat.watch(app)
    app.tasks.start_soon(_run, app, entry, action, params)


def _refuse_unknown(line: bytes, known: Envelope) -> None:
    unknown = next(framing.unknown_fields(msgspec.json.decode(line), known), None)
    if unknown:
        raise invalid(f"`{unknown}` is not a field of {known.action}.", unknown)


async def _run(app: App, entry: OpenRequest, action: Task, params: msgspec.Struct) -> None:
    with entry.state.scope:
        try:
            await action.run(app, entry, params)
        except SidecarError as error:
            app.fail(entry, error)
        except Exception as error:  # noqa: BLE001 - the one place where any failure of ours becomes a line
            app.fail(entry, _unwrapped(error))
    # Left without a terminal line: the scope was cancelled, whatever the task made of it.
    if not entry.lane.closed:
        app.fail(entry, _cancelled(entry))


def _cancelled(entry: OpenRequest) -> SidecarError:
    if entry.state.reason == "timeout":
        text = f"The request took longer than the {entry.state.limit_ms} ms that it was given."
        return SidecarError("timeout", text, phase=entry.state.progress.phase or "total", reason="deadline")
    if entry.state.reason == "shutting_down":
        return SidecarError("shutting_down", "The process is leaving.")
    return SidecarError("cancelled", "The request was cancelled.")


def _unwrapped(error: Exception) -> SidecarError:
    """Return the one SidecarError in a group of exceptions, or an internal error."""
    found: BaseException = error
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found if isinstance(found, SidecarError) else _internal(error)


def _internal(error: Exception) -> SidecarError:
    found = origin(error)
    log("error", "internal_error", **found)
    return SidecarError(
        "internal_error",
        "The sidecar failed to handle the request.",
        hint=f"Report {found['type']} at {found['where']}.",
    )
