"""Replays a stored answer: the same chunks, and an end that says that no provider was asked.

Must not know where it was stored.
"""

from datetime import timedelta

import anyio.lowlevel
import msgspec

from protocol.messages import Usage
from protocol.replies import Done, Start, Timings, Warn
from protocol.reuse import Reused
from sidecar.core.request_state import RequestState
from sidecar.outputs.sink import Sink
from sidecar.reuse.answers import StoredAnswer, make_original

CHUNKS_AT_ONCE = 64
"""How many chunks are sent before the sink is asked again whether it is full."""

NOTHING_USED = Usage(
    input_tokens=0,
    output_tokens=0,
    cache_read_tokens=0,
    cache_write_tokens=0,
    cache_write_1h_tokens=0,
    reasoning_tokens=0,
)


def describe(answer: StoredAnswer, age_seconds: float) -> Reused:
    """Return the `reused` object of *answer*, which is *age_seconds* old."""
    return Reused(age_s=int(timedelta(seconds=age_seconds).total_seconds()), saved_usd=answer.cost.get("usd"))


async def replay(state: RequestState, answer: StoredAnswer, start: Start, sink: Sink) -> Done:
    """Send *start* and the chunks of *answer* to *sink*, and return the terminal chunk, which is not sent yet."""
    progress, out = state.progress, [start, *answer.chunks]
    progress.delivered = True
    progress.first_chunk_ms = state.elapsed_ms
    for index in range(0, len(out), CHUNKS_AT_ONCE):
        if index:
            await anyio.lowlevel.checkpoint()
        if sink.full:
            progress.waited_for_host = True
            await sink.wait_for_room()
        sink.send(out[index : index + CHUNKS_AT_ONCE])
    warnings: list[Warn] = start.warnings
    return Done(
        finish_reason=answer.finish_reason,
        provider_finish_reason=answer.provider_finish_reason,
        usage=NOTHING_USED,
        cost={"usd": "0", "parts": {}, "source": "reuse", "priced_at": None},
        message=answer.message,
        provider=start.provider,
        model=answer.model,
        request_id=None,
        attempts=[*progress.attempts],
        timings=Timings(first_chunk_ms=progress.first_chunk_ms, total_ms=state.elapsed_ms),
        warnings=warnings,
        structured=answer.structured or msgspec.UNSET,
        route=start.route,
        reused=start.reused,
        original=make_original(answer),
    )
