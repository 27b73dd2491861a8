"""One try at one provider: encode → authorize → send → decode → sink.

Knows the order of the steps and when a request counts as delivered. Must not know any wire,
scheme or provider, nor whether there will be another try.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from protocol.messages import Usage
from protocol.replies import Attempt, Chunk, Done, Start, Timings
from protocol.requests import Chat
from sidecar import account, allowance, auth, background, cost, pricing, record, replay, structured, transport, wires
from sidecar.adapt import Plan
from sidecar.allowance import Allowance
from sidecar.auth import call_of
from sidecar.errors import SidecarError
from sidecar.host import Host
from sidecar.inflight import Entry, Progress
from sidecar.limits import Turn
from sidecar.reply import Reply
from sidecar.resolve import Target
from sidecar.transport import Limits, Response
from sidecar.wires import faults
from sidecar.wires.types import HttpRequest, Outcome

PROGRESS_SECONDS = 300.0
"""Longest time without content from a provider that shows only that it is alive."""


class Sink(Protocol):
    """Where a chat goes."""

    @property
    def full(self) -> bool:
        """Whether the producer should wait."""

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Take *chunks*."""

    async def room(self) -> None:
        """Wait until the sink is no longer full."""

    def end(self, done: Done) -> None:
        """Take the terminal chunk."""


async def ask(host: Host, entry: Entry, plan: Plan, turn: Turn, sink: Sink) -> None:
    """Ask once and give every chunk to *sink*, the last one once the provider has said its last word.

    Raises: SidecarError with whatever keeps the chat from its end.
    """
    route, progress, began = plan.target.route, entry.progress, time.monotonic()
    wire = wires.load(route.wire)
    encoded = background.encoded(plan)
    request = plan.reshape(encoded.request)
    allowed, cautions = allowance.of(plan.chat, lambda used: _usd(plan, used))
    with account.noted(host, entry, plan) as note:
        async with await _sending(host, plan.target, request, plan.chat, progress) as arrived:
            folder = host.config.record_dir
            response = record.tee(folder, plan.chat, route, request, arrived) if folder else arrived
            turn.learn(response.headers)
            if response.status >= 300:
                raise wire.classify(response.status, response.headers, await transport.read_error_body(response))
            headers_ms = entry.elapsed_ms
            start = Start(
                provider=route.provider,
                model=route.model,
                request_id=faults.request_id(response.headers),
                warnings=[*plan.warnings, *encoded.warnings, *cautions],
            )
            try:
                reply = Reply(wire, route, response.headers)
                reply.known_until = background.known_until(plan.chat)
                async with background.body(host, entry, plan, reply, response, _limits(plan.chat)) as body:
                    outcome = await _receive(
                        reply, body, start, entry, turn, sink, _progress_seconds(plan.chat), allowed
                    )
            finally:
                progress.cost = _cost(plan, progress.usage) if progress.usage else None
            timings = Timings(headers_ms=headers_ms, first_chunk_ms=progress.first_chunk_ms, total_ms=entry.elapsed_ms)
            estimate = allowed.usage if allowed and allowed.has_ended else None
            done = _done(plan, start, outcome, timings, progress, began, estimate)
            note.done(done)
            sink.end(done)
            if estimate is None:
                await transport.drain(response)


async def _sending(
    host: Host, target: Target, request: HttpRequest, chat: Chat, progress: Progress
) -> AbstractAsyncContextManager[Response]:
    if target.row.transport == "replay":
        return replay.send(host.config, target.route)
    call = msgspec.structs.replace(call_of(host, target), request=request, chat=chat)
    return host.http.send(request, await auth.headers(call), _limits(chat), progress)


def _limits(chat: Chat) -> Limits:
    wanted = chat.options.timeouts
    if wanted is None:
        return Limits()
    given = {"connect": wanted.connect_ms, "first_byte": wanted.first_byte_ms, "idle": wanted.idle_ms}
    return Limits(**{name: ms / 1000 for name, ms in given.items() if ms is not None})


def _progress_seconds(chat: Chat) -> float:
    wanted = chat.options.timeouts
    return wanted.progress_ms / 1000 if wanted and wanted.progress_ms else PROGRESS_SECONDS


async def _receive(  # noqa: PLR0913 - one loop over everything that one attempt has
    reply: Reply,
    body: AsyncIterator[bytes],
    start: Start,
    entry: Entry,
    turn: Turn,
    sink: Sink,
    progress_seconds: float,
    allowed: Allowance | None,
) -> Outcome:
    """Decode the body and give its chunks to *sink* as they come, whatever happens."""
    out: list[Chunk] = [start]
    advanced, used_up = time.monotonic(), None
    try:
        async for data in body:
            reply.feed(data, out)
            used_up = allowed.used_up(out, reply.usage) if allowed else None
            left = _deliver(out, entry, sink)
            if left is not out:
                out, advanced = left, time.monotonic()
                turn.succeeded()
            elif time.monotonic() - advanced > progress_seconds:
                raise SidecarError("timeout", "The provider is alive but sends no content.", phase="progress")
            if reply.finished or used_up:
                break
            if sink.full:
                entry.progress.held_up = True
                await sink.room()
                advanced = time.monotonic()
        cut = _cut(reply, allowed, used_up, start) if allowed and used_up and not reply.finished else None
        outcome = cut or reply.end(out)
        turn.succeeded()
    finally:
        entry.progress.usage = reply.usage
        out = _deliver(out, entry, sink)
    sink.send(out)
    return outcome


def _cut(reply: Reply, allowed: Allowance, used_up: str, start: Start) -> Outcome:
    """Return the outcome of a stream that goes on without us."""
    allowed.has_ended = True
    return Outcome(
        finish_reason="length",
        provider_finish_reason=used_up,
        usage=allowed.reported(reply.usage),
        message=reply.partial(),
        model=start.model,
    )


def _deliver(out: list[Chunk], entry: Entry, sink: Sink) -> list[Chunk]:
    """Give *out* to *sink* and return a new list, or *out* itself when there was nothing to give.

    A start alone is held back, for it binds the host to this attempt.
    """
    progress = entry.progress
    if not out:
        return out
    if not progress.delivered:
        if len(out) < 2:
            return out
        progress.delivered = True
        progress.first_chunk_ms = entry.elapsed_ms
    sink.send(out)
    return []


def _done(  # noqa: PLR0913 - the fields of the chunk
    plan: Plan,
    start: Start,
    outcome: Outcome,
    timings: Timings,
    progress: Progress,
    began: float,
    estimate: Usage | None,
) -> Done:
    reported = outcome.provider_cost_usd
    price = cost.reported(reported) if reported is not None else _cost(plan, estimate or outcome.usage)
    if estimate and price["usd"] is not None:
        price["source"] = "estimate"
    this = Attempt(
        provider=start.provider,
        model=start.model,
        ms=int((time.monotonic() - began) * 1000),
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
        attempts=[*progress.attempts, this],
        timings=timings,
        warnings=start.warnings,
        structured=structured.of(plan.chat.options.response_format, outcome.message, start.warnings) or msgspec.UNSET,
    )


def _usd(plan: Plan, usage: Usage) -> Decimal | None:
    price = _cost(plan, usage)["usd"]
    return None if price is None else Decimal(price)


def _cost(plan: Plan, usage: Usage | None) -> dict[str, Any]:
    return pricing.spent(plan.target, usage, plan.chat.options.provider_options)
