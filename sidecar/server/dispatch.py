"""Request lines to actions: the boundary at which an exception becomes an error line.

Knows ids, and the task and cancel scope of a request. Must not know what an action does.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import anyio.to_thread
import msgspec

from protocol.replies import ReplyId, Warn
from protocol.requests import PARAMS, Chat, Envelope
from sidecar.core import event_loop
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.log import find_failure, log, make_internal_error, name_request
from sidecar.core.request_state import make_cancelled_error
from sidecar.server import framing, heartbeat
from sidecar.server.actions import ACTIONS, ImmediateAction, TaskAction
from sidecar.server.app import App
from sidecar.server.framing import TooLong
from sidecar.server.open_requests import OpenRequest, make_duplicate_error

LONG_PARAMS_BYTES = 256 * 1024
"""Longer parameters are decoded by the request's own task."""

LINES_PER_TURN = 32
"""How many lines are accepted in one turn of the loop: the first step of a request takes parts of a millisecond."""

MAX_OPEN = 4096
"""How many requests may be open at once."""


def accept(app: App, line: bytes | TooLong) -> None:
    """Answer *line*, or start the task of its request. Never raises and never waits."""
    if isinstance(line, TooLong):
        app.refuse(framing.sniff_id(line.head), _make_too_long_error(line))
        return
    unknown: list[str] = []
    try:
        envelope = framing.decode_envelope(line, unknown)
    except SidecarError as error:
        app.refuse(_find_id(line) if error.body.code != "parse_error" else None, error)
        return
    except MemoryError as error:
        app.refuse(framing.sniff_id(line[: framing.SNIFF_BYTES]), make_internal_error(error))
        return
    try:
        _start(app, envelope, unknown)
    except SidecarError as error:
        app.refuse(None if error.body.code == "parse_error" else envelope.id, error)
    except Exception as error:  # noqa: BLE001 - nothing on stdin may end the process
        app.refuse(envelope.id, make_internal_error(error))


async def accept_all(accept_line: Callable[[bytes | TooLong], None], lines: Iterable[bytes | TooLong]) -> None:
    """Accept *lines*, only some in each turn of the loop: their tasks have all their first steps in the next one."""
    for number, line in enumerate(lines, 1):
        accept_line(line)
        if number % LINES_PER_TURN == 0:
            await event_loop.sleep(0)


def _make_too_long_error(line: TooLong) -> SidecarError:
    if line.no_memory:
        return SidecarError(
            "internal_error", "There is not enough memory for a line of this length.", reason="no_memory"
        )
    text = f"The line is longer than {framing.MAX_LINE_BYTES} bytes and was skipped."
    return invalid_request(text, reason="line_too_long")


def _make_configuration_error(mistakes: Sequence[str]) -> SidecarError:
    text = f"The configuration cannot be used: {'; '.join(mistakes)}"
    hint = "Correct the configuration and start the sidecar again. stderr has every mistake."
    return invalid_request(text, reason="configuration").with_fields(hint=hint)


def _find_id(line: bytes) -> ReplyId:
    """Return the id of a request whose envelope is wrong in another field; null if the id is unusable too."""
    raw = msgspec.json.decode(line)
    if not isinstance(raw, dict):
        return None
    try:
        request_id: ReplyId = msgspec.convert(raw["id"], framing.ID_TYPE) if "id" in raw else msgspec.UNSET
    except msgspec.ValidationError:
        return None
    return request_id


def _start(app: App, envelope: Envelope, unknown: list[str]) -> None:
    action = ACTIONS.get(envelope.action)
    if action is None:
        raise invalid_request(f"`action` must be one of: {', '.join(ACTIONS)}.", "action")
    if app.leaving and envelope.action != "shutdown":
        raise SidecarError("shutting_down", "The sidecar is shutting down and takes no new requests.")
    if app.config_mistakes and envelope.action != "shutdown":
        raise _make_configuration_error(app.config_mistakes)
    if envelope.id in app.requests and (envelope.id is not msgspec.UNSET or isinstance(action, TaskAction)):
        raise make_duplicate_error(envelope.id)
    params = None
    if isinstance(action, ImmediateAction) or len(memoryview(envelope.params)) <= LONG_PARAMS_BYTES:
        params = framing.decode_params(envelope.params, PARAMS[envelope.action], unknown)
    warnings = _find_warnings(app, envelope.action, unknown) if unknown else []
    if isinstance(action, ImmediateAction):
        app.reply(envelope.id, action.handler(app, params))
        for warning in warnings:
            app.warn(warning)
        return
    _check_room(app)
    request = OpenRequest(envelope, app.write_queue.open_lane(envelope.id), streams=action.streams)
    request.warnings = warnings
    app.requests.register(request)
    if envelope.timeout is not None:
        request.state.limit(envelope.timeout)
    else:
        request.state.grant(action.total_ms)
    if request.streams:
        heartbeat.start(app)
    app.tasks.start_soon(_run, app, request, action, params, unknown)


def _check_room(app: App) -> None:
    """Refuse a request for which there is no room.

    Raises: SidecarError `queue_full`.
    """
    if app.write_queue.is_overfull:
        text = "Too many replies wait to be read. Read them before you send more requests."
        raise SidecarError("queue_full", text, retry_after_ms=1000)
    if len(app.requests) >= MAX_OPEN:
        raise SidecarError(
            "queue_full", f"{MAX_OPEN} requests are open. Wait until one of them ends.", retry_after_ms=1000
        )


def _find_warnings(app: App, action: str, unknown: list[str]) -> list[Warn]:
    """Return warnings about *unknown* fields.

    Raises: SidecarError `invalid_request` if the host has asked for strict checks.
    """
    from sidecar.server import unknown_fields

    if app.session.strict:
        raise invalid_request(f"`{unknown[0]}` is not a field of {action}.", unknown[0])
    return unknown_fields.make_warnings(action, unknown)


async def _decode_long(app: App, request: OpenRequest, unknown: list[str]) -> msgspec.Struct:
    """Return the parameters of a long request, decoded in a worker thread so that no other request waits.

    Raises: SidecarError as `framing.decode_params` does.
    """
    envelope = request.envelope
    work = partial(framing.decode_params, envelope.params, PARAMS[envelope.action], unknown)
    params = await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    # Only the struct is needed from here on. A large request would be held twice.
    request.envelope = msgspec.structs.replace(envelope, params=msgspec.Raw(b"{}"))
    if unknown:
        request.warnings = _find_warnings(app, envelope.action, unknown)
    return params


async def _run(
    app: App, request: OpenRequest, action: TaskAction, params: msgspec.Struct | None, unknown: list[str]
) -> None:
    name_request(None if request.envelope.id is msgspec.UNSET else request.envelope.id)
    log("debug", "request.began", action=request.envelope.action)
    with request.state.scope:
        try:
            if params is None:
                params = await _decode_long(app, request, unknown)
            request.offset = getattr(params, "offset", 0)
            if isinstance(params, Chat):
                app.prepare_tls(request.envelope.provider, params.base_url)
            data = await action.load_handler()(app, request, params)
            if data is not None:
                app.finish(request, data)
        except SidecarError as error:
            log("debug", "request.failed", code=error.body.code, reason=error.body.reason, param=error.body.param)
            app.fail(request, error)
        except Exception as error:  # noqa: BLE001 - any other failure is a defect of ours: the host gets a line for it
            if isinstance(error, MemoryError):
                app.memory_reserve.release()
            app.fail(request, find_failure(error))
    # Without a terminal line the scope was cancelled, however the task has ended.
    if not request.lane.closed:
        app.fail(request, make_cancelled_error(request.state))
    log("debug", "request.ended", ms=request.state.elapsed_ms, attempts=request.state.progress.attempts_begun)
