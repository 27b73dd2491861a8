"""The action `compare`: several models at once, as one stream or one line."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from protocol.compare import BranchDone, BranchError, Compared, CompareDone
from protocol.outputs import FilesOutput
from protocol.replies import Chunk, Done, Status
from protocol.requests import MAX_BRANCHES, Chat, Compare
from sidecar.branches.run import compare as compare_models
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.core.log import find_origin, log
from sidecar.generation.run import fold_answer
from sidecar.server.app import UNWRITABLE_TEXT, App, find_partial, strip_error
from sidecar.server.handlers.chat import load_stored_data, make_noted_send, make_portable_done
from sidecar.server.handlers.tasks import expand_task
from sidecar.server.open_requests import OpenRequest
from sidecar.server.write_queue import UNWRITABLE

ENDINGS = [b',"branch":%d}}' % number for number in range(MAX_BRANCHES)]
"""The end of the lines of each branch."""


MAX_ANSWERS_BYTES = 64 * 1024 * 1024
"""The longest answers together that fit into one line."""


async def compare(app: App, request: OpenRequest, params: Compare) -> None:
    """Ask several models at once."""
    params = await _expand_task(app, request, params)
    await load_stored_data(app)
    if params.stream:
        stream = BranchStream(app, request, params)

        def finish(compared: Compared) -> None:
            fields = {name: getattr(compared, name) for name in compared.__struct_fields__}
            app.finish(request, CompareDone(**fields))

        await compare_models(app.upstream, request.state, params, stream, finish)
    else:
        request.streams = False
        line = BranchLine()
        await compare_models(app.upstream, request.state, params, line, lambda compared: app.finish(request, compared))


async def _expand_task(app: App, request: OpenRequest, params: Compare) -> Compare:
    """Return *params* with the messages and the options of its task, if it names one.

    Raises: SidecarError `invalid_request`.
    """
    model = params.models[0]
    # `models` replaces the model of the task.
    named = model if isinstance(model, str) else model.model
    chat = Chat(model=named, messages=params.messages, task=params.task, input=params.input, options=params.options)
    chat = await expand_task(app, request, chat)
    # It replaces the fallbacks of the task too, which would stand in for several branches.
    options = msgspec.structs.replace(chat.options, fallbacks=params.options.fallbacks)
    return msgspec.structs.replace(params, messages=chat.messages, options=options, input={})


class BranchStream:
    """Writes the chunks of all branches to the request's lane, so that a host that reads slowly slows all of them."""

    streams = True

    def __init__(self, app: App, request: OpenRequest, params: Compare) -> None:
        self._app = app
        self._lane = request.lane
        self._max_line_bytes = app.session.max_line_bytes
        self.send: Callable[[int, Sequence[Chunk]], None] = self._send_fitted if self._max_line_bytes else self._send
        self.wait_for_room = request.lane.wait_for_room
        self._noted_sends: list[Callable[[Sequence[Chunk]], None]] = []
        """The functions that write the chunks of each branch, if any branch may have files."""
        if _may_have_files(app.upstream.config, params):
            self._noted_sends = [make_noted_send(request, ending) for ending in ENDINGS[: len(params.models)]]

    def _send(self, branch: int, chunks: Sequence[Chunk]) -> None:
        if self._noted_sends:
            self._noted_sends[branch](chunks)
        else:
            self._lane.send(chunks, ENDINGS[branch])

    def _send_fitted(self, branch: int, chunks: Sequence[Chunk]) -> None:
        from sidecar.server.line_limit import fit_chunks  # Most hosts never need it.

        self._send(branch, [*fit_chunks(chunks, self._max_line_bytes or 0)])

    @property
    def full(self) -> bool:
        """Whether the host reads more slowly than the providers write."""
        return self._lane.full

    def send_status(self, branch: int, status: Status) -> None:
        """Write *status* if the host asked for such chunks."""
        if self._app.wants_status:
            self.send(branch, [status])

    def prepare(self, done: Done) -> tuple[Done, Done]:
        """Return *done* as it can be written, and as much of it as fits into a line.

        Raises: SidecarError for an answer that cannot.
        """
        done, _ = _make_writable(done)
        if self._max_line_bytes is None:
            return done, done
        from sidecar.server.line_limit import fit_answer

        return done, cast("Done", fit_answer(done, self._max_line_bytes))

    def fold(self, done: Done) -> dict[str, Any] | None:  # noqa: ARG002 - as for one line
        """Return None: the host has the answer in chunks."""
        return None

    def end(self, chunk: BranchDone | BranchError) -> None:
        """Write the last chunk of a branch."""
        if isinstance(chunk, BranchDone):
            self._lane.send([chunk])
            return
        error = msgspec.structs.replace(chunk.error, partial_message=find_partial(chunk.error.partial_message))
        if self._max_line_bytes is not None:
            from sidecar.server.line_limit import fit_error

            error = fit_error(error, self._max_line_bytes)
        try:
            self._lane.send([BranchError(branch=chunk.branch, error=error)])
        except UNWRITABLE as failure:
            log("error", "error.unwritable", **find_origin(failure))
            self._lane.send([BranchError(branch=chunk.branch, error=strip_error(error))])


def _may_have_files(config: Config, params: Compare) -> bool:
    options = [params.options, *(each.options for each in params.models if not isinstance(each, str))]
    names = [each if isinstance(each, str) else each.model for each in params.models]
    presets = [config.models.get(name, {}).get("options", {}) for name in names]
    return any(isinstance(each.output, FilesOutput) for each in options) or any("output" in each for each in presets)


class BranchLine:
    """Drops the chunks of all branches: the one line has their answers."""

    full = False
    streams = False

    def __init__(self) -> None:
        self._size_bytes = 0
        """The size of the answers so far."""

    def send(self, branch: int, chunks: Sequence[Chunk]) -> None:
        """Drop *chunks*."""

    def send_status(self, branch: int, status: Status) -> None:
        """Drop *status*."""

    async def wait_for_room(self) -> None:
        """Return at once."""

    def prepare(self, done: Done) -> tuple[Done, Done]:
        """Return *done* as it can be written, twice: the line has all of it.

        Raises: SidecarError for an answer that cannot.
        """
        done, size_bytes = _make_writable(done)
        self._size_bytes += size_bytes
        if self._size_bytes > MAX_ANSWERS_BYTES:
            text = "The answers of all branches together are too long for one line."
            hint = "Leave `stream` out: a stream has no such limit."
            raise SidecarError("provider_error", text, reason="event_too_large", hint=hint)
        return done, done

    def fold(self, done: Done) -> dict[str, Any] | None:
        """Return the answer as `generate` has it."""
        return fold_answer(done)

    def end(self, chunk: BranchDone | BranchError) -> None:
        """Drop the last chunk of a branch: its row says the same."""


def _make_writable(done: Done) -> tuple[Done, int]:
    """Return *done* as it can be written, and its size in bytes.

    Raises: SidecarError `provider_error` for one that cannot.
    """
    done = make_portable_done(done)
    try:
        return done, len(msgspec.json.encode(done))
    except UNWRITABLE:
        raise SidecarError("provider_error", UNWRITABLE_TEXT, reason="bad_event") from None
