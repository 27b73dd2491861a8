"""Where the chunks of an answer go: to the host, or to a step that reads them on their way there.

Must not know who writes lines, or who sends chunks.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from protocol.replies import Chunk, Done, Start, Status, Warn


class Sink(Protocol):
    """Takes the chunks of an answer."""

    @property
    def full(self) -> bool:
        """Whether the producer should wait."""

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Take *chunks*."""

    def send_status(self, status: Status) -> None:
        """Take *status*, which says what the request is waiting for."""

    async def wait_for_room(self) -> None:
        """Wait until the sink is no longer full."""

    def finish(self, done: Done) -> None:
        """Take *done*, the terminal chunk."""


def warn_at_start(chunks: Sequence[Chunk], warnings: Sequence[Warn]) -> list[Chunk]:
    """Return *chunks* with *warnings* before those of `start`, if it is among them."""
    return [
        msgspec.structs.replace(each, warnings=[*warnings, *each.warnings]) if isinstance(each, Start) else each
        for each in chunks
    ]
