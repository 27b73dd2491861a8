"""Asks a model in words, through the same steps as any chat.

Must not know how a chat is asked, or who waits for the text.
"""

import time
from collections.abc import Sequence

from protocol.replies import Chunk, Content, Done, Start, Status
from sidecar.completion.chat_prompt import TagReader, make_chat
from sidecar.completion.flight import Flight
from sidecar.completion.prompt import make_place
from sidecar.generation import run
from sidecar.upstream.context import Upstream
from sidecar.wires.completions.types import Piece
from sidecar.wires.shared.options import describe_left_out


async def ask_chat(up: Upstream, flight: Flight) -> None:
    """Ask in a chat, and give what comes to *flight*.

    Raises: SidecarError, the failure of the last attempt.
    """
    params, route = flight.question.params, flight.target.route
    if params.options.n > 1:
        flight.warnings.append(describe_left_out("n", route))
    flight.method = "chat"
    await run.stream_chat(up, flight.state, make_chat(params, route.facts), _Collector(flight))


class _Collector:
    """Gives the text inside of a chat's answer to a flight."""

    full = False

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._reader = TagReader(make_place(flight.question.params))

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Take *chunks*."""
        for chunk in chunks:
            if isinstance(chunk, Start):
                self._flight.request_id = chunk.request_id
                self._flight.warnings += chunk.warnings
                self._flight.begin("chat", time.monotonic())
            elif isinstance(chunk, Content):
                if text := self._reader.feed(chunk.content):
                    self._flight.add([Piece(0, text)])
                if self._reader.has_ended:
                    self._flight.end_items({0: "stop"})

    def send_status(self, status: Status) -> None:
        """Do nothing: a host waits for a completion in silence."""

    async def wait_for_room(self) -> None:
        """Return at once."""

    def finish(self, done: Done) -> None:
        """Take the end of the answer."""
        flight = self._flight
        flight.usage, flight.cost, flight.model = done.usage, done.cost, done.model
        flight.end_items({0: done.finish_reason})
        flight.end()
