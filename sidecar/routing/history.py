"""Past answers of models, from the ledger: how long they are, how much of a prompt is cached, when they begin.

They are kept for a while and read anew beside the next choice, so that only the first choice waits for the file.
"""

from collections.abc import Sequence

import anyio
import msgspec

from sidecar.upstream.caches import KnownAnswers, ModelKey
from sidecar.upstream.context import Upstream
from sidecar.usage.ledger_row import PastAnswer

MAX_ANSWERS = 200
"""How many of a model's last answers count."""

FRESH_SECONDS = 30.0
"""How long the answers that were read count as fresh."""

READ_SECONDS = 1.0
"""The longest that a choice waits for the file."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of a model's last answers. None: unknown."""

    output_tokens: int | None = None
    """The mean of the answers to the same task or, if there are none, of all."""
    cached_share: float = 0.0
    """The share of the prompts that was read from the provider's cache, 0 to 1."""
    first_chunk_ms: int | None = None
    """The median of the time to the first content."""


def summarize(answers: Sequence[PastAnswer], task: str | None) -> History:
    """Return the summary of *answers* for a chat that does *task*."""
    of_task = [each for each in answers if each.task == task]
    tokens = [each.output_tokens for each in of_task or answers if each.output_tokens is not None]
    counted = [each for each in answers if each.input_tokens]
    prompt_tokens = sum(each.input_tokens or 0 for each in counted)
    cached_tokens = sum(min(each.cache_read_tokens or 0, each.input_tokens or 0) for each in counted)
    delays = [each.first_chunk_ms for each in answers if each.first_chunk_ms is not None]
    return History(
        output_tokens=round(sum(tokens) / len(tokens)) if tokens else None,
        cached_share=cached_tokens / prompt_tokens if prompt_tokens else 0.0,
        first_chunk_ms=sorted(delays)[len(delays) // 2] if delays else None,
    )


async def read_histories(up: Upstream, models: Sequence[ModelKey], task: str | None) -> dict[ModelKey, History]:
    """Return the summary of the last answers of each of *models*."""
    now = anyio.current_time()
    known = {model: up.known_answers.get(model) for model in models}
    missing = [model for model, each in known.items() if each is None]
    stale = [model for model, each in known.items() if each is not None and now >= each.read_at + FRESH_SECONDS]
    if stale:
        # They are used once more. Calling them fresh keeps concurrent choices from reading them too.
        for model in stale:
            each = up.known_answers.get(model)
            if each is not None:
                up.known_answers.put(model, KnownAnswers(now, each.answers))
        up.tasks.start_soon(_read, up, stale)
    if missing:
        with anyio.move_on_after(READ_SECONDS):
            await _read(up, missing)
        for model in missing:
            if up.known_answers.get(model) is None:
                # The file is slow. A later choice reads it again.
                up.known_answers.put(model, KnownAnswers(now, []))
    found = {model: up.known_answers.get(model) for model in models}
    return {model: summarize(each.answers if each else [], task) for model, each in found.items()}


async def _read(up: Upstream, models: Sequence[ModelKey]) -> None:
    answers = await up.ledger.read_answers(models, MAX_ANSWERS)
    now = anyio.current_time()
    for model in models:
        up.known_answers.put(model, KnownAnswers(now, answers.get(model, [])))
