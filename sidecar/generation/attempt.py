"""One attempt at one provider: encode → authorize → send → decode → sink.

Knows the order of the steps and when a request counts as delivered. Must not know any wire, scheme or provider, nor
whether there will be another attempt.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from protocol.replies import Attempt, Chunk, Done, Start, Status, Timings
from sidecar.auth import authorize
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, Response
from sidecar.core.http_bodies import drain
from sidecar.core.request_state import Progress, RequestState
from sidecar.generation import accounting, background_responses, request_limits, resume, structured_output
from sidecar.generation.recovery import ChatPlan
from sidecar.generation.request_limits import LimitWatch
from sidecar.generation.response_stream import ResponseStream
from sidecar.generation.timeouts import ChatTimeouts, choose_timeouts
from sidecar.upstream import recorder, replay
from sidecar.upstream.ask import check_status
from sidecar.upstream.context import Upstream, make_call
from sidecar.upstream.gates.gate import Turn
from sidecar.usage import attempts, pricing
from sidecar.wires import registry
from sidecar.wires.shared.reply_headers import read_request_id
from sidecar.wires.shared.types import Outcome


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


class _Attempt(NamedTuple):
    """What the steps of one attempt share."""

    state: RequestState
    plan: ChatPlan
    turn: Turn
    sink: Sink
    limits: LimitWatch | None
    timeouts: ChatTimeouts
    began: float

    @property
    def progress(self) -> Progress:
        """How far the request has come."""
        return self.state.progress


async def answer(up: Upstream, state: RequestState, plan: ChatPlan, turn: Turn, sink: Sink) -> None:
    """Ask once and give every chunk to *sink*, the last one once the provider has said its last word.

    Raises: SidecarError with whatever keeps the chat from its end.
    """
    route, chat = plan.target.route, plan.chat
    wire, is_background = registry.load(route.wire), background_responses.is_background(chat)
    encoded = background_responses.encode_request(plan) if is_background else wire.encode(chat, route)
    request = plan.reshape(encoded.request)
    limits, cautions = request_limits.watch_limits(
        chat, partial(pricing.calculate_usd, plan.target, chat.options.provider_options)
    )
    timeouts = choose_timeouts(plan.target, chat.options.timeouts)
    this = _Attempt(state, plan, turn, sink, limits, timeouts, time.monotonic())
    this.progress.tries += 1
    with attempts.record(up.ledger, state, "chat", route.provider, route.model) as recorded:
        async with await _send(up, this, request) as arrived:
            folder = up.config.record_dir
            response = arrived
            if folder:
                response = recorder.tee(folder, chat, route, request, arrived, this.progress.secrets)
            turn.learn_limits(response.headers, plan.target.row.rate_limit_headers)
            await check_status(response, wire.classify)
            turn.report_accepted()
            start = Start(
                provider=route.provider,
                model=route.model,
                request_id=read_request_id(response.headers),
                warnings=[*plan.warnings, *encoded.warnings, *cautions],
            )
            headers_ms = state.elapsed_ms
            stream = ResponseStream(wire, route, response.headers)
            read = _read_background if is_background else _read_response
            outcome = await read(up, this, stream, response, start)
            done = await _make_done(this, start, outcome, headers_ms)
            recorded.succeed(done.finish_reason, done.usage, done.cost)
            if plan.reservation is not None:
                # The cost itself counts from here on.
                plan.reservation.release()
            turn.report_tokens(accounting.count_tokens(outcome.usage))
            sink.finish(done)
            if limits is None or not limits.has_ended:
                # A stream that its request's own limits have ended goes on without us.
                await drain(response)


async def _send(up: Upstream, this: _Attempt, request: HttpRequest) -> AbstractAsyncContextManager[Response]:
    target, chat = this.plan.target, this.plan.chat
    if target.row.transport == "replay":
        return replay.send(up.config, target.route)
    call = msgspec.structs.replace(make_call(up, target), request=request, chat=chat)
    authorized = await authorize.make_headers(call)
    this.progress.secrets = authorized.list_secrets()
    return up.http.send(
        request, authorized.headers, this.timeouts.for_http, this.progress, budget=this.turn.retry_budget
    )


async def _read_response(
    up: Upstream,  # noqa: ARG001 - as for a background response
    this: _Attempt,
    stream: ResponseStream,
    response: Response,
    start: Start,
) -> Outcome:
    """Read an answer that ends with its connection."""
    try:
        return await _read_answer(this, stream, response.body, start)
    except BaseException:
        if this.progress.delivered and not this.state.is_cancelled_by_host:
            _keep_partial(this, stream)
        raise


async def _read_background(
    up: Upstream, this: _Attempt, stream: ResponseStream, response: Response, start: Start
) -> Outcome:
    """Read an answer that its provider goes on with whoever listens, over as many connections as it takes."""
    stream.skip_until = background_responses.find_last_seen(this.plan.chat)
    try:
        async with background_responses.follow(up, this.state, this.plan, stream, response) as body:
            outcome = await _read_answer(this, stream, body, start)
    except BaseException:
        if this.progress.delivered and not background_responses.is_unwanted(this.state, this.plan.chat):
            _keep_partial(this, stream)
        raise
    return outcome


def _keep_partial(this: _Attempt, stream: ResponseStream) -> None:
    """Keep what has come of an answer that broke off, and how to go on with it."""
    partial_message = stream.partial()
    this.progress.partial = partial_message
    this.progress.resume = resume.choose_resume(this.plan.target.route, this.plan.chat, partial_message, stream.cursor)


async def _read_answer(this: _Attempt, stream: ResponseStream, body: AsyncIterator[bytes], start: Start) -> Outcome:
    """Decode the body and give its chunks to the sink as they come, whatever happens."""
    out: list[Chunk] = [start]
    target, chat = this.plan.target, this.plan.chat
    try:
        reached = await _read_until_finished(this, stream, body, out)
        if reached is None:
            outcome = stream.end(out)
            this.turn.report_success()
        else:
            outcome = _make_cut_outcome(this, stream, reached, start)
    finally:
        this.progress.usage = accounting.read_usage(stream)
        this.progress.cost = accounting.price_partial(target, chat, stream)
        _deliver(this, out)
    # A start that nothing followed is still due.
    this.sink.send(out)
    return outcome


async def _read_until_finished(
    this: _Attempt, stream: ResponseStream, body: AsyncIterator[bytes], out: list[Chunk]
) -> str | None:
    """Read until the stream is finished and return None, or the option whose limit was reached before."""
    sink, limits, longest_seconds = this.sink, this.limits, this.timeouts.progress
    advanced = time.monotonic()
    async for data in body:
        stream.feed(data, out)
        reached = limits.find_reached_limit(out, stream.usage) if limits else None
        if _deliver(this, out):
            advanced = time.monotonic()
        elif time.monotonic() - advanced > longest_seconds:
            raise SidecarError("timeout", "The provider is alive but sends no content.", phase="progress")
        if stream.finished:
            return None
        if reached:
            return reached
        if sink.full:
            this.progress.held_up = True
            await sink.wait_for_room()
            advanced = time.monotonic()
    return None


def _deliver(this: _Attempt, out: list[Chunk]) -> bool:
    """Give *out* to the sink and empty it, and return whether there was anything to give.

    A start alone is held back, for it binds the host to this attempt.
    """
    if not out:
        return False
    progress = this.progress
    if not progress.delivered:
        if len(out) == 1:
            return False
        progress.delivered = True
        progress.first_chunk_ms = this.state.elapsed_ms
        this.turn.report_success()
    this.sink.send(out)
    out.clear()
    return True


def _make_cut_outcome(this: _Attempt, stream: ResponseStream, reached: str, start: Start) -> Outcome:
    """Return the outcome of a stream that goes on without us, for a limit of its request was *reached*."""
    usage = stream.usage
    if this.limits is not None:
        this.limits.has_ended = True
        usage = this.limits.drop_stale_output_count(usage)
    return Outcome(
        finish_reason="length",
        provider_finish_reason=reached,
        usage=usage,
        message=stream.partial(),
        model=start.model,
    )


async def _make_done(this: _Attempt, start: Start, outcome: Outcome, headers_ms: int) -> Done:
    plan, progress, elapsed_ms = this.plan, this.progress, this.state.elapsed_ms
    cost = accounting.price_outcome(plan.target, plan.chat, outcome, this.limits)
    succeeded = Attempt(
        provider=start.provider,
        model=start.model,
        ms=int((time.monotonic() - this.began) * 1000),
        usage=outcome.usage,
        cost=cost,
    )
    structured = await structured_output.read_structured_output(
        plan.chat.options.response_format, outcome.message, start.warnings
    )
    return Done(
        finish_reason=outcome.finish_reason,
        provider_finish_reason=outcome.provider_finish_reason,
        usage=outcome.usage,
        cost=cost,
        message=outcome.message,
        provider=start.provider,
        model=outcome.model or start.model,
        request_id=start.request_id or outcome.request_id,
        attempts=[*progress.attempts, succeeded],
        timings=Timings(headers_ms=headers_ms, first_chunk_ms=progress.first_chunk_ms, total_ms=elapsed_ms),
        warnings=start.warnings,
        structured=structured or msgspec.UNSET,
    )
