"""Reads the reply to one attempt: decodes its body, and sends the chunks to the sink as they come.

Knows when an answer counts as delivered, and what is kept of one that breaks off. Must not know how the request was
made, or whether there will be another attempt.
"""

import time
from collections.abc import AsyncIterator
from typing import NamedTuple

from protocol.messages import Usage
from protocol.replies import Chunk, Start
from sidecar.core.errors import SidecarError
from sidecar.core.http import Response
from sidecar.core.http_bodies import push
from sidecar.core.request_state import Progress, RequestState
from sidecar.generation import accounting, background_responses, resume
from sidecar.generation.recovery import ChatPlan
from sidecar.generation.request_limits import LimitWatch
from sidecar.generation.response_stream import ResponseStream
from sidecar.generation.timeouts import ChatTimeouts
from sidecar.outputs.sink import Sink
from sidecar.upstream.context import Upstream
from sidecar.upstream.gates.gate import Turn
from sidecar.wires.shared.types import Outcome


class RunningAttempt(NamedTuple):
    """What the steps of one attempt share."""

    state: RequestState
    plan: ChatPlan
    turn: Turn
    sink: Sink
    limits: LimitWatch | None
    timeouts: ChatTimeouts
    began_at: float

    @property
    def progress(self) -> Progress:
        """The progress of the request."""
        return self.state.progress


async def read_response(
    up: Upstream,  # noqa: ARG001 - as for a background response
    attempt: RunningAttempt,
    stream: ResponseStream,
    response: Response,
    start: Start,
) -> Outcome:
    """Read an answer that ends with its connection."""
    try:
        return await _read_answer(attempt, stream, response.body, start)
    except BaseException:
        if attempt.progress.delivered and not attempt.state.is_cancelled_by_host:
            _keep_partial(attempt, stream)
        raise


async def read_background(
    up: Upstream, attempt: RunningAttempt, stream: ResponseStream, response: Response, start: Start
) -> Outcome:
    """Read an answer that its provider continues even if nobody listens, over several connections if necessary."""
    stream.skip_until = background_responses.find_last_seen(attempt.plan.chat)
    try:
        async with background_responses.open_body(up, attempt.state, attempt.plan, stream, response) as body:
            outcome = await _read_answer(attempt, stream, body, start)
    except BaseException:
        if attempt.progress.delivered and not background_responses.is_abandoned(attempt.state, attempt.plan.chat):
            _keep_partial(attempt, stream)
        raise
    return outcome


def _keep_partial(attempt: RunningAttempt, stream: ResponseStream) -> None:
    """Keep the received part of an interrupted answer, and how to resume it."""
    partial_message = stream.build_partial()
    attempt.progress.partial = partial_message
    attempt.progress.resume = resume.choose_resume(
        attempt.plan.target.route, attempt.plan.chat, partial_message, stream.cursor
    )


async def _read_answer(
    attempt: RunningAttempt, stream: ResponseStream, body: AsyncIterator[bytes], start: Start
) -> Outcome:
    """Decode the body and send its chunks to the sink as they come, even those before a failure."""
    out: list[Chunk] = [start]
    try:
        reached = await _read_until_finished(attempt, stream, body, out)
        if reached is None:
            outcome = stream.end(out)
            attempt.turn.report_success()
        else:
            outcome = _make_cut_outcome(attempt, stream, reached, start)
    except BaseException:
        _note_usage(attempt, stream, accounting.read_partial_usage(attempt.plan.chat, stream))
        raise
    finally:
        _deliver(attempt, out)
    _note_usage(attempt, stream, stream.usage)
    # A `start` that no content has followed is still held back.
    attempt.sink.send(out)
    return outcome


def _note_usage(attempt: RunningAttempt, stream: ResponseStream, usage: Usage | None) -> None:
    attempt.progress.usage = usage
    attempt.progress.cost = accounting.price_partial(attempt.plan.target, attempt.plan.chat, stream, usage)


async def _read_until_finished(
    attempt: RunningAttempt, stream: ResponseStream, body: AsyncIterator[bytes], out: list[Chunk]
) -> str | None:
    """Read until the stream is finished and return None, or return the option whose limit was reached before that."""
    sink, limits, timeout_seconds = attempt.sink, attempt.limits, attempt.timeouts.progress_seconds
    progress, progressed_at, reached = attempt.progress, time.monotonic(), None

    def take(data: bytes) -> bool:
        """Return whether to go on at once."""
        nonlocal progressed_at, reached
        stream.feed(data, out)
        if limits is not None:
            reached = limits.find_reached_limit(out, stream.usage)
        if out and progress.delivered:
            # As `_deliver` does, without its cost for each event.
            sink.send(out)
            out.clear()
            progressed_at = time.monotonic()
        elif _deliver(attempt, out):
            progressed_at = time.monotonic()
        elif time.monotonic() - progressed_at > timeout_seconds:
            raise SidecarError("timeout", "The provider is alive but sends no content.", phase="progress")
        return not (stream.finished or reached or sink.full)

    while await push(body, take):
        if stream.finished:
            return None
        if reached:
            return reached
        attempt.progress.waited_for_host = True
        await sink.wait_for_room()
        progressed_at = time.monotonic()
    return None


def _deliver(attempt: RunningAttempt, out: list[Chunk]) -> bool:
    """Send *out* to the sink, empty it, and return whether anything was sent.

    A `start` alone is held back, because no other attempt may be made after it.
    """
    if not out:
        return False
    progress = attempt.progress
    if not progress.delivered:
        if len(out) == 1:
            return False
        progress.delivered = True
        progress.first_chunk_ms = attempt.state.elapsed_ms
        attempt.turn.report_success()
    attempt.sink.send(out)
    out.clear()
    return True


def _make_cut_outcome(attempt: RunningAttempt, stream: ResponseStream, reached: str, start: Start) -> Outcome:
    """Return the outcome of a stream that is cut because the option *reached* limits it."""
    usage = stream.usage
    if attempt.limits is not None:
        attempt.limits.has_ended_stream = True
        usage = attempt.limits.drop_stale_output_count(usage)
    return Outcome(
        finish_reason="length",
        provider_finish_reason=reached,
        usage=usage,
        message=stream.build_partial(),
        model=start.model,
    )
