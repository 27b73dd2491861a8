"""The actions that answer a conversation: `stream_chat`, `generate` and `resume`."""

from collections.abc import Callable, Sequence

import msgspec

from protocol.outputs import FilesOutput, Output
from protocol.replies import Chunk, Done, Start, Status
from protocol.requests import Chat, ResumeChat
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.core.message_content import make_portable
from sidecar.generation import pipeline, run
from sidecar.generation import resume as resumption
from sidecar.outputs.sink import warn_at_start
from sidecar.server.app import UNWRITABLE_TEXT, App
from sidecar.server.handlers.tasks import expand_task
from sidecar.server.open_requests import OpenRequest
from sidecar.server.write_queue import UNWRITABLE
from sidecar.upstream import catalogue_refresh


async def stream_chat(app: App, request: OpenRequest, params: Chat) -> None:
    """Answer a conversation as a stream.

    Raises: SidecarError `invalid_request` for a tool loop in a request without an id, which results could not name.
    """
    chat = pipeline.take_steps(app.upstream.config, await expand_task(app, request, params))
    if chat.options.tool_loop is not None and request.envelope.id is msgspec.UNSET:
        raise invalid_request("`id` is required with `params.options.tool_loop`: `tool_result` names it.", "id")
    await load_stored_data(app)
    await pipeline.answer_chat(app.upstream, request.state, chat, StreamSink(app, request, chat.options.output))


async def generate(app: App, request: OpenRequest, params: Chat) -> None:
    """Answer a conversation in one line."""
    chat = await expand_task(app, request, params)
    await load_stored_data(app)
    await pipeline.answer_chat(app.upstream, request.state, chat, SingleLineSink(app, request))


async def resume(app: App, request: OpenRequest, params: ResumeChat) -> None:
    """Continue an answer that broke off, as a stream that ends with the whole message."""

    def complete(done: Done) -> Done:
        return msgspec.structs.replace(done, message=resumption.join_messages(params, done.message))

    chat = resumption.continue_chat(await expand_task(app, request, params))
    output = pipeline.take_steps(app.upstream.config, chat).options.output
    await load_stored_data(app)
    await pipeline.answer_chat(app.upstream, request.state, chat, StreamSink(app, request, output, complete))


async def load_stored_data(app: App) -> None:
    """Load stored credentials and the refreshed catalogue, which are read when a request first needs them."""
    await app.upstream.load_credentials()
    await catalogue_refresh.load_stored(app.upstream)


def make_portable_done(done: Done) -> Done:
    """Return *done* with messages that every language can hold.

    Raises: SidecarError `provider_error` for one that cannot be written.
    """
    try:
        if done.messages is not msgspec.UNSET:
            done = msgspec.structs.replace(done, messages=[make_portable(each) for each in done.messages])
        return msgspec.structs.replace(done, message=make_portable(done.message))
    except UNWRITABLE:
        raise SidecarError("provider_error", UNWRITABLE_TEXT, reason="bad_event") from None


def make_fitted_send(app: App, request: OpenRequest, output: Output | None) -> Callable[[Sequence[Chunk]], None]:
    """Return a function that writes the chunks of an *output* in lines that the host can read."""
    send = make_noted_send(request) if isinstance(output, FilesOutput) else request.lane.send
    max_line_bytes = app.session.max_line_bytes
    if max_line_bytes is None:
        return send
    # Most hosts never need it.
    from sidecar.server.line_limit import fit_chunks

    return lambda chunks: send([*fit_chunks(chunks, max_line_bytes)])


def make_noted_send(request: OpenRequest, ending: bytes = b"") -> Callable[[Sequence[Chunk]], None]:
    """Return a function that writes chunks, and have a cancellation end the files that have begun.

    *ending* is how the lines end, as in `Lane.send`.
    """
    from sidecar.outputs.open_files import OpenFiles

    files, lane = OpenFiles(), request.lane

    def send(chunks: Sequence[Chunk]) -> None:
        first_seq = lane.next_seq
        lane.send(chunks, ending)
        if lane.next_seq > first_seq:
            files.note(chunks, first_seq, lane.sent_seq)

    request.last_words.append(lambda: lane.send_last(files.make_ends(lane.sent_seq), ending))
    return send


class StreamSink:
    """Writes the chunks of an answer to the request's lane."""

    def __init__(
        self,
        app: App,
        request: OpenRequest,
        output: Output | None,
        complete: Callable[[Done], Done] | None = None,
    ) -> None:
        """Write the chunks of an answer with this *output*.

        *complete* turns the terminal chunk of the answer into that for the host; None: it stays as it is.
        """
        self._app = app
        self._request = request
        self._complete = complete
        self._send_fitted = make_fitted_send(app, request, output)
        self.send: Callable[[Sequence[Chunk]], None] = self._send_first if request.warnings else self._send_fitted
        self.wait_for_room = request.lane.wait_for_room

    def _send_first(self, chunks: Sequence[Chunk]) -> None:
        """Add the warnings about the request to `start`. The chunks after it are sent as they are."""
        if any(isinstance(each, Start) for each in chunks):
            self.send = self._send_fitted
        self._send_fitted(warn_at_start(chunks, self._request.warnings))

    @property
    def full(self) -> bool:
        """Whether the host reads more slowly than the provider writes."""
        return self._request.lane.full

    def send_status(self, status: Status) -> None:
        """Write *status* if the host asked for such chunks."""
        if self._app.wants_status:
            self.send([status])

    def finish(self, done: Done) -> None:
        """Write the terminal line."""
        self._app.finish(self._request, make_portable_done(self._complete(done) if self._complete else done))


class SingleLineSink:
    """Drops the chunks of an answer: the terminal one has the whole message."""

    full = False

    def __init__(self, app: App, request: OpenRequest) -> None:
        self._app = app
        self._request = request

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Drop *chunks*."""

    def send_status(self, status: Status) -> None:
        """Drop *status*."""

    async def wait_for_room(self) -> None:
        """Return at once."""

    def finish(self, done: Done) -> None:
        """Write the one line."""
        self._app.finish(self._request, run.fold_answer(make_portable_done(done)))
