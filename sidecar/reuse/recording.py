"""An answer on its way to the host, recorded until it is known whether it can be stored.

Must not know where it is stored, or who asks.
"""

from collections.abc import Sequence
from typing import NamedTuple

from protocol.replies import Chunk, Content, Done, Reasoning, Start
from protocol.requests import Chat
from sidecar.outputs.sink import Sink
from sidecar.providers.values import Target
from sidecar.reuse.answers import encode, make_answer
from sidecar.reuse.question import Question
from sidecar.reuse.rules import is_storable
from sidecar.upstream.caches import AnswerStore
from sidecar.wires.shared.types import Encoded

CHUNK_BYTES = 64
"""The size of a chunk besides its text, about."""


class Place(NamedTuple):
    """Where an answer is stored."""

    store: AnswerStore
    question: Question
    ttl_seconds: float
    epoch: int
    """As the store gave it when the answer was looked up."""
    max_bytes: int
    """The longest answer that is stored, about."""


class Recording:
    """Passes the chunks of an answer on to *sink*, and stores the answer if it can be used again.

    *encoded* is the request that was looked up: how *chat* is sent to *target*. Without a *place* nothing is stored.
    """

    def __init__(self, place: Place | None, encoded: Encoded, target: Target, chat: Chat, sink: Sink) -> None:
        self._place = place
        self._encoded = encoded
        self._target = target
        self._chat = chat
        self._sink = sink
        self._chunks: list[Chunk] = []
        self._bytes = 0
        self._is_exact = False
        """Whether the last attempt sent exactly the request that was looked up."""
        self.wait_for_room = sink.wait_for_room
        self.send_status = sink.send_status

    def take_request(self, target: Target, chat: Chat) -> Encoded | None:
        """Return the request for *chat* to *target*, or None if an attempt has changed one of them since the lookup."""
        self._is_exact = target is self._target and chat is self._chat
        return self._encoded if self._is_exact else None

    @property
    def full(self) -> bool:
        """Whether the producer should wait."""
        return self._sink.full

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Keep *chunks* and pass them on."""
        if self._place is not None and self._bytes <= self._place.max_bytes:
            for chunk in chunks:
                if isinstance(chunk, Start):
                    continue
                text = chunk.content if isinstance(chunk, Content | Reasoning) else ""
                self._bytes += CHUNK_BYTES + len(text)
                self._chunks.append(chunk)
            if self._bytes > self._place.max_bytes:
                self._chunks.clear()
        self._sink.send(chunks)

    def finish(self, done: Done) -> None:
        """Pass *done* on. Store the answer if it is complete and belongs to the request that was looked up."""
        self._sink.finish(done)
        place = self._place
        if place is None or not self._is_exact or self._bytes > place.max_bytes or not is_storable(done):
            return
        data = encode(make_answer(self._chunks, done))
        if data is not None:
            place.store.keep(place.question, data, place.ttl_seconds, place.epoch)
