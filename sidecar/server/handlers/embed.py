"""The action `embed`: vectors for texts, as a stream."""

from protocol.embeddings import Embed, Embedded, Vectors
from sidecar.retrieval.embed import embed as embed_texts
from sidecar.server.app import App
from sidecar.server.handlers.chat import load_stored_data
from sidecar.server.open_requests import OpenRequest


async def embed(app: App, request: OpenRequest, params: Embed) -> Embedded:
    """Make a vector of each text."""
    await load_stored_data(app)
    return await embed_texts(app.upstream, request.state, params, request.envelope.provider, VectorStream(app, request))


class VectorStream:
    """Writes the vectors to the request's lane."""

    def __init__(self, app: App, request: OpenRequest) -> None:
        self._lane = request.lane
        self._progress = request.state.progress
        self.max_line_bytes = app.session.max_line_bytes

    def send(self, vectors: Vectors) -> None:
        """Queue one line."""
        lane, progress = self._lane, self._progress
        before = lane.next_seq
        lane.send([vectors])
        if lane.next_seq == before:
            # The host has cancelled the request.
            return
        progress.delivered = True
        progress.note_delivery(lane.next_seq - 1, vectors.offset + vectors.count, lane.sent_seq)

    async def wait_for_room(self) -> None:
        """Wait while the host reads more slowly than the vectors come."""
        await self._lane.wait_for_room()
