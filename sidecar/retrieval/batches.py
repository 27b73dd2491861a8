"""The texts of a request, cut into batches: by their number, by their tokens, and by the size of the reply. [pure]

Tokens are guessed by bytes: a vocabulary would take longer than the provider's answer. A provider that refuses a batch
as too large is asked for its halves (`sidecar.retrieval.asking`), so a guess need not be safe.
"""

import math
from collections.abc import Iterator, Sequence

import msgspec

from protocol.embeddings import VectorEncoding
from sidecar.tokens.texts import BYTES_BAND_PCT, count_by_bytes

REPLY_BYTES = 2 * 1024 * 1024
"""The size of a reply that a batch aims at. It bounds memory, and how long decoding delays other requests."""

BATCH_TOKENS = 300_000
"""The most tokens of a batch where the provider has set no limit: a megabyte of text."""

NUMBER_BYTES = {"float": 12.0, "f32_base64": 16 / 3}
"""The size of one number of a vector in a reply."""

USUAL_DIMENSIONS = 1536
"""The length of vectors where nothing is known of the model."""


PARALLEL = 8
"""The most batches of one request that are asked, or wait to be delivered, at once."""

WAITING_BYTES = 4 * REPLY_BYTES
"""The size of their replies together."""


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch may hold, and how many there may be."""

    inputs: int
    parallel: int = PARALLEL
    """How many batches are asked, or wait to be delivered, at once."""
    tokens: int = BATCH_TOKENS
    text_tokens: int | None = None
    """The most tokens that the model reads of one text. None: not known."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Texts that follow each other, and are sent together."""

    first: int
    """The number of the first text."""
    texts: list[str]
    tokens: int
    """A guess at their sum."""
    is_long: bool = False
    """It is one text, which may be longer than the model reads."""


def make_limits(
    max_inputs: int, max_tokens: int | None, text_tokens: int | None, dimensions: int | None, packing: VectorEncoding
) -> BatchLimits:
    """Return the limits of a batch whose vectors have *dimensions* numbers, in the *packing* of the reply."""
    vector_bytes = (dimensions or USUAL_DIMENSIONS) * NUMBER_BYTES[packing]
    inputs = max(1, min(max_inputs, int(REPLY_BYTES / vector_bytes)))
    return BatchLimits(
        inputs=inputs,
        parallel=max(2, min(PARALLEL, int(WAITING_BYTES / (inputs * vector_bytes)))),
        tokens=min(max_tokens or BATCH_TOKENS, BATCH_TOKENS),
        text_tokens=text_tokens,
    )


def cut_batches(inputs: Sequence[str], start: int, limits: BatchLimits) -> Iterator[Batch]:
    """Yield the texts from number *start* on, in order. A text that may be too long is a batch of its own."""
    texts: list[str] = []
    total, first = 0, start
    most_tokens = limits.tokens * 100 / (100 + BYTES_BAND_PCT)
    for number in range(start, len(inputs)):
        text = inputs[number]
        tokens = count_by_bytes(text)
        is_long = limits.text_tokens is not None and tokens > limits.text_tokens
        if texts and (is_long or len(texts) >= limits.inputs or total + tokens > most_tokens):
            yield Batch(first=first, texts=texts, tokens=total)
            texts, total, first = [], 0, number
        texts.append(text)
        total += tokens
        if is_long:
            yield Batch(first=first, texts=texts, tokens=total, is_long=True)
            texts, total, first = [], 0, number + 1
    if texts:
        yield Batch(first=first, texts=texts, tokens=total)


def halve(batch: Batch) -> tuple[Batch, Batch]:
    """Return the halves of *batch*, which has two texts at least."""
    middle = len(batch.texts) // 2
    tokens = math.ceil(batch.tokens / 2)
    return (
        Batch(first=batch.first, texts=batch.texts[:middle], tokens=tokens),
        Batch(first=batch.first + middle, texts=batch.texts[middle:], tokens=tokens),
    )
