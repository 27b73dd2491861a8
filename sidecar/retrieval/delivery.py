"""Answers cut into lines, in the order of the inputs; the vectors of a request all have one length.

Must not know providers. A host that reads slowly makes `deliver` wait.
"""

from collections.abc import Iterator
from typing import Protocol

import anyio.lowlevel
import msgspec

from protocol.embeddings import VectorEncoding, Vectors
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.retrieval.asking import Answer
from sidecar.retrieval.texts import name_input
from sidecar.retrieval.vectors import Vector

LINE_BYTES = 48 * 1024
"""The size of a line: hosts can read it that stop at 64 KiB. A long vector alone may take more."""

FRAME_BYTES = 1024
"""Room for everything beside the vectors."""


class VectorSink(Protocol):
    """Where the lines go."""

    max_line_bytes: int | None
    """The longest line that the host can read; None: any."""

    def send(self, vectors: Vectors) -> None:
        """Queue one line."""

    async def wait_for_room(self) -> None:
        """Wait while the host reads more slowly than the vectors come."""


class Delivery:
    """What was delivered of one request."""

    def __init__(self, encoding: VectorEncoding, dimensions: int | None, sink: VectorSink) -> None:
        """Write in that *encoding*; *dimensions* is the length that was asked for, if any."""
        self._encoding: VectorEncoding = encoding
        self._asked_dimensions = dimensions
        self._sink = sink
        self.dimensions: int | None = None
        """The length of the vectors; None: there were none yet."""

    async def deliver(self, answer: Answer) -> None:
        """Send the vectors of *answer*, which follow those delivered so far.

        Raises: SidecarError `provider_error` for a vector of another length, `invalid_request` if one does not fit
        into the host's lines. The vectors before it are sent.
        """
        wrong = self._find_other_length(answer.vectors)
        vectors = answer.vectors if wrong is None else answer.vectors[:wrong]
        for start, count in _cut_lines(vectors, self._sink.max_line_bytes):
            await anyio.lowlevel.checkpoint()
            await self._sink.wait_for_room()
            self._sink.send(self._make_line(answer, start, count))
        if wrong is not None:
            raise self._make_length_error(answer.first + wrong, answer.vectors[wrong].dimensions)

    def _find_other_length(self, vectors: list[Vector]) -> int | None:
        """Return the number of the first of *vectors* that has another length than those before it."""
        if self.dimensions is None and vectors:
            self.dimensions = self._asked_dimensions or vectors[0].dimensions
        return next((number for number, each in enumerate(vectors) if each.dimensions != self.dimensions), None)

    def _make_line(self, answer: Answer, start: int, count: int) -> Vectors:
        first = answer.first + start
        return Vectors(
            offset=first,
            count=count,
            dimensions=self.dimensions or 0,
            encoding=self._encoding,
            vectors=[msgspec.Raw(each.text) for each in answer.vectors[start : start + count]],
            truncated=[number for number in answer.truncated if first <= number < first + count],
        )

    def _make_length_error(self, number: int, dimensions: int) -> SidecarError:
        param = name_input(number)
        text = f"The provider's vector has {dimensions} dimensions instead of {self.dimensions}: `{param}`."
        hint = None
        if self._asked_dimensions is not None:
            hint = "Leave `dimensions` out, or choose a model that has vectors of this length."
        return SidecarError("provider_error", text, retryable=False, param=param, reason="other_dimensions", hint=hint)


def _cut_lines(vectors: list[Vector], max_line_bytes: int | None) -> Iterator[tuple[int, int]]:
    """Yield the first and the count of the *vectors* of each line.

    Raises: SidecarError `invalid_request` if one vector alone is longer than *max_line_bytes*.
    """
    room = LINE_BYTES if max_line_bytes is None else min(LINE_BYTES, max_line_bytes - FRAME_BYTES)
    start = size_bytes = 0
    for number, vector in enumerate(vectors):
        vector_bytes = len(vector.text) + 1
        if max_line_bytes is not None and vector_bytes > max_line_bytes - FRAME_BYTES:
            yield from _cut_rest(start, number)
            text = f"A vector does not fit into `max_line_bytes`, {max_line_bytes} bytes."
            hint = "Send `initialize` with a larger `max_line_bytes`, or ask for `f32_base64` or fewer `dimensions`."
            raise invalid_request(text, reason="reply_too_long", hint=hint)
        if number > start and size_bytes + vector_bytes > room:
            yield start, number - start
            start, size_bytes = number, 0
        size_bytes += vector_bytes
    yield from _cut_rest(start, len(vectors))


def _cut_rest(start: int, end: int) -> Iterator[tuple[int, int]]:
    if end > start:
        yield start, end - start
