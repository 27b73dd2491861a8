"""The actions `complete` and `stream_complete`."""

from collections.abc import Sequence

from protocol.completion import Complete, Completed, CompletionDone, ItemDelta
from protocol.replies import Start
from sidecar.completion import run
from sidecar.completion.slots import Slots
from sidecar.outputs.sink import warn_at_start
from sidecar.server.app import App
from sidecar.server.open_requests import OpenRequest
from sidecar.server.write_queue import Lane


async def complete(app: App, request: OpenRequest, params: Complete) -> Completed:
    """Complete the text at the cursor, in one line."""
    return await run.complete(_make_asker(app, request), request.envelope.provider, params, Silence())


async def stream_complete(app: App, request: OpenRequest, params: Complete) -> CompletionDone:
    """Complete the text at the cursor, in pieces."""
    done = await run.complete(_make_asker(app, request), request.envelope.provider, params, Pieces(request))
    return CompletionDone(**{name: getattr(done, name) for name in done.__struct_fields__})


def _make_asker(app: App, request: OpenRequest) -> run.Asker:
    if app.completion_slots is None:
        app.completion_slots = Slots()
    return run.Asker(app.upstream, app.completion_slots, request.state)


class Silence:
    """Takes no pieces."""

    wants_pieces = False

    def start(self, start: Start) -> None:
        """Do nothing."""

    def send(self, pieces: Sequence[ItemDelta]) -> None:
        """Do nothing."""

    async def wait_for_room(self) -> None:
        """Return at once."""


class Pieces:
    """Writes pieces to the request's lane."""

    wants_pieces = True

    def __init__(self, request: OpenRequest) -> None:
        self._lane: Lane = request.lane
        self._warnings = request.warnings
        self.wait_for_room = request.lane.wait_for_room

    def start(self, start: Start) -> None:
        """Write the first chunk."""
        for chunk in warn_at_start([start], self._warnings):
            self._lane.send([chunk])

    def send(self, pieces: Sequence[ItemDelta]) -> None:
        """Write *pieces*."""
        self._lane.send(pieces)
