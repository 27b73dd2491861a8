"""One try at one provider: encode → authorize → send → decode → sink.

Knows the order of the steps and when a request counts as delivered. Must not know any wire,
scheme or provider, nor whether there will be another try.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

import msgspec

from protocol.messages import Usage
from protocol.replies import Attempt, Chunk, Done, Start, Status, Timings
from sidecar.auth import authorize
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, Response
from sidecar.core.http_bodies import drain, read_error_body
from sidecar.core.request_state import Progress, RequestState
from sidecar.generation import background_responses, request_limits, structured_output
from sidecar.generation.recovery import ChatPlan
from sidecar.generation.request_limits import Allowance
from sidecar.generation.response_stream import Reply
from sidecar.generation.timeouts import Patience, patience_with
from sidecar.upstream import recorder, replay
from sidecar.upstream.context import Upstream, call_for
from sidecar.upstream.gates.gate import Turn
from sidecar.usage import attempts, pricing
from sidecar.wires import registry
from sidecar.wires.shared.reply_headers import read_request_id
from sidecar.wires.shared.types import Outcome


class Sink(Protocol):
    """Where a chat goes."""

    @property
    def full(self) -> bool:
        """Whether the producer should wait."""

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Take *chunks*."""

    def tell(self, status: Status) -> None:
        """Tell a host that wants to know what the request waits for."""

    async def wait_for_room(self) -> None:
        """Wait until the sink is no longer full."""

    def end(self, done: Done) -> None:
        """Take the terminal chunk."""


class _Try(NamedTuple):
    """What the steps of one attempt share."""

    state: RequestState
    plan: ChatPlan
    turn: Turn
    sink: Sink
    allowed: Allowance | None
    began: float
    patience: Patience

    @property
    def progress(self) -> Progress:
        """What is known of the request so far."""
        return self.state.progress


async def ask(up: Upstream, state: RequestState, plan: ChatPlan, turn: Turn, sink: Sink) -> None:
    """Ask once and give every chunk to *sink*, the last one once the provider has said its last word.

    Raises: SidecarError with whatever keeps the chat from its end.
    """
    route, chat = plan.target.route, plan.chat
    wire = registry.load(route.wire)
    encoded = background_responses.encoded(plan)
    request = plan.reshape(encoded.request)
    allowed, cautions = request_limits.of(chat, partial(pricing.usd, plan.target, chat.options.provider_options))
    patience = patience_with(plan.target, chat.options.timeouts)
    this = _Try(state, plan, turn, sink, allowed, time.monotonic(), patience)
    this.progress.tries += 1
    with attempts.record(up.ledger, state, "chat", route.provider, route.model) as recorded:
        async with await _sending(up, this, request) as arrived:
            folder = up.config.record_dir
            response = recorder.tee(folder, chat, route, request, arrived) if folder else arrived
            turn.learn(response.headers, plan.target.row.rate_headers)
            if response.status >= 300:
                raise wire.classify(response.status, response.headers, await read_error_body(response))
            turn.accepted()
            start = Start(
                provider=route.provider,
                model=route.model,
                request_id=read_request_id(response.headers),
                warnings=[*plan.warnings, *encoded.warnings, *cautions],
            )
            headers_ms = state.elapsed_ms
            reply = Reply(wire, route, response.headers)
            reply.known_until = background_responses.known_until(chat)
            async with background_responses.body(up, state, plan, reply, response, this.patience.of_attempt) as body:
                outcome = await _receive(this, reply, body, start)
            done = _done(this, start, outcome, headers_ms)
            recorded.succeed(done)
            if plan.reservation is not None:
                # The cost itself counts from here on.
                plan.reservation.release()
            turn.used(_tokens(outcome.usage))
            sink.end(done)
            if not _was_cut(this):
                await drain(response)


def _tokens(usage: Usage | None) -> int:
    return (usage.input_tokens or 0) + (usage.output_tokens or 0) if usage else 0


def _was_cut(this: _Try) -> bool:
    """Return whether the stream was ended by the request's own limits, and goes on without us."""
    return this.allowed is not None and this.allowed.has_ended


async def _sending(up: Upstream, this: _Try, request: HttpRequest) -> AbstractAsyncContextManager[Response]:
    target, chat = this.plan.target, this.plan.chat
    if target.row.transport == "replay":
        return replay.send(up.config, target.route)
    call = msgspec.structs.replace(call_for(up, target), request=request, chat=chat)
    authorized, budget = await authorize.headers(call), this.turn.budget
    this.progress.authorized = authorized
    return up.http.send(request, authorized, this.patience.of_attempt, this.progress, budget=budget)


async def _receive(this: _Try, reply: Reply, body: AsyncIterator[bytes], start: Start) -> Outcome:
    """Decode the body and give its chunks to the sink as they come, whatever happens."""
    out: list[Chunk] = [start]
    try:
        used_up = await _pump(this, reply, body, out)
        if used_up is None:
            outcome = reply.end(out)
            this.turn.succeeded()
        else:
            outcome = _cut(this, reply, used_up, start)
    finally:
        this.progress.usage = _known(reply)
        this.progress.cost = _spent(this.plan, reply)
        _deliver(this, out)
    # A start that nothing followed is still due.
    this.sink.send(out)
    return outcome


async def _pump(this: _Try, reply: Reply, body: AsyncIterator[bytes], out: list[Chunk]) -> str | None:
    """Read until the reply is finished, and return None, or the option whose limit was reached before."""
    sink, allowed, limit_seconds = this.sink, this.allowed, this.patience.progress
    advanced = time.monotonic()
    async for data in body:
        reply.feed(data, out)
        used_up = allowed.used_up(out, reply.usage) if allowed else None
        if _deliver(this, out):
            advanced = time.monotonic()
        elif time.monotonic() - advanced > limit_seconds:
            raise SidecarError("timeout", "The provider is alive but sends no content.", phase="progress")
        if reply.finished:
            return None
        if used_up:
            return used_up
        if sink.full:
            this.progress.held_up = True
            await sink.wait_for_room()
            advanced = time.monotonic()
    return None


def _deliver(this: _Try, out: list[Chunk]) -> bool:
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
        this.turn.succeeded()
    this.sink.send(out)
    out.clear()
    return True


def _cut(this: _Try, reply: Reply, used_up: str, start: Start) -> Outcome:
    """Return the outcome of a stream that goes on without us."""
    allowed = cast("Allowance", this.allowed)
    allowed.has_ended = True
    return Outcome(
        finish_reason="length",
        provider_finish_reason=used_up,
        usage=allowed.reported(reply.usage),
        message=reply.partial(),
        model=start.model,
    )


def _done(this: _Try, start: Start, outcome: Outcome, headers_ms: int) -> Done:
    plan, progress, elapsed_ms = this.plan, this.progress, this.state.elapsed_ms
    price = _price(this, outcome)
    succeeded = Attempt(
        provider=start.provider,
        model=start.model,
        ms=int((time.monotonic() - this.began) * 1000),
        usage=outcome.usage,
        cost=price,
    )
    return Done(
        finish_reason=outcome.finish_reason,
        provider_finish_reason=outcome.provider_finish_reason,
        usage=outcome.usage,
        cost=price,
        message=outcome.message,
        provider=start.provider,
        model=outcome.model or start.model,
        request_id=start.request_id or outcome.request_id,
        attempts=[*progress.attempts, succeeded],
        timings=Timings(headers_ms=headers_ms, first_chunk_ms=progress.first_chunk_ms, total_ms=elapsed_ms),
        warnings=start.warnings,
        structured=structured_output.of(plan.chat.options.response_format, outcome.message, start.warnings)
        or msgspec.UNSET,
    )


def _price(this: _Try, outcome: Outcome) -> dict[str, Any]:
    """Return what the answer has cost: by the provider's word, else by its usage, else by an estimate of that."""
    if outcome.provider_cost_usd is not None:
        return pricing.reported(this.plan.target, outcome.provider_cost_usd)
    if this.allowed is None or not this.allowed.has_ended:
        return _cost(this.plan, outcome.usage)
    return _estimated(_cost(this.plan, this.allowed.usage))


def _estimated(price: dict[str, Any]) -> dict[str, Any]:
    return price if price["usd"] is None else price | {"source": "estimate"}


def _spent(plan: ChatPlan, reply: Reply) -> dict[str, Any] | None:
    """Return what a reply has cost that may not have ended: by the provider's word, else by its usage so far."""
    if reply.provider_cost_usd is not None:
        return pricing.reported(plan.target, reply.provider_cost_usd)
    usage, uncounted = reply.usage, reply.uncounted_chars
    if usage is None or not uncounted:
        return _cost(plan, usage) if usage else None
    written = max(uncounted // request_limits.CHARS_A_TOKEN, usage.output_tokens or 0)
    return _estimated(_cost(plan, msgspec.structs.replace(usage, output_tokens=written)))


def _known(reply: Reply) -> Usage | None:
    """Return the usage so far, without a count of the output that is older than the output."""
    usage = reply.usage
    return msgspec.structs.replace(usage, output_tokens=None) if usage and reply.uncounted_chars else usage


def _cost(plan: ChatPlan, usage: Usage | None) -> dict[str, Any]:
    return pricing.spent(plan.target, plan.chat.options.provider_options, usage)
