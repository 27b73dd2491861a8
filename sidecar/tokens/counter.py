"""Counting in worker threads, with vocabularies that are loaded once and kept.

Knows threads and what is loaded. Must not know what a prompt is made of (`estimates`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from sidecar.core.single_flight import SingleFlight

if TYPE_CHECKING:
    from tiktoken import Encoding

    from sidecar.tokens.texts import Count

T = TypeVar("T")

THREADS = 2
"""How many counts run at once: more would slow each other down."""


class Counter:
    """The vocabularies of the process, and the threads that count."""

    def __init__(self, single_flight: SingleFlight) -> None:
        self._single_flight = single_flight
        self._encodings: dict[str, Encoding] = {}
        """By the name of the vocabulary, of which there is a handful."""
        self._limiter = anyio.CapacityLimiter(THREADS)

    async def count_tokens(self, estimate: "Callable[[Count], T]", vocabulary: str) -> T:
        """Return what *estimate* makes of a function that counts a text by *vocabulary*.

        Counting stops between two pieces of a text when the request is cancelled.

        Raises: VocabularyError when the vocabulary cannot be loaded.
        """
        encoding = await self._load(vocabulary)
        return await self._run(estimate, _count_in_pieces(encoding.encode_ordinary))

    async def count_bytes(self, estimate: "Callable[[Count], T]") -> T:
        """Return what *estimate* makes of a function that guesses the tokens of a text by its bytes."""
        from sidecar.tokens.texts import count_by_bytes

        return await self._run(estimate, count_by_bytes)

    async def _load(self, vocabulary: str) -> "Encoding":
        from sidecar.tokens import vocabularies  # Only a count needs it.

        name = vocabularies.resolve_name(vocabulary)

        async def load() -> None:
            self._encodings[name] = await anyio.to_thread.run_sync(vocabularies.load, name, abandon_on_cancel=True)

        if name not in self._encodings:
            await self._single_flight.run_once((__name__, name), load)
        return self._encodings[name]

    async def _run(self, estimate: "Callable[[Count], T]", count: "Count") -> T:
        return await anyio.to_thread.run_sync(estimate, count, abandon_on_cancel=True, limiter=self._limiter)


def _count_in_pieces(encode: Callable[[str], list[int]]) -> "Count":
    from anyio import from_thread  # Only a count needs it.

    from sidecar.tokens.texts import cut_pieces

    def count(text: str) -> int:
        total = 0
        for piece in cut_pieces(text):
            from_thread.check_cancelled()
            total += len(encode(piece))
        return total

    return count
