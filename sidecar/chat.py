"""The straight path of a chat: resolve → encode → authorize → send → decode → sink.

Knows the order of the steps and when a request counts as delivered. Must not know any wire,
scheme or provider.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from protocol.messages import ReasoningPart, TextPart, ToolCallPart, Usage
from protocol.replies import Attempt, Chunk, Done, Start, Timings
from protocol.requests import Chat
from sidecar import adapt, auth, catalogue, cost, model_lists, record, replay, resolve, settings, transport, wires
from sidecar.auth import call_of
from sidecar.errors import SidecarError
from sidecar.host import Host
from sidecar.inflight import Entry, Progress
from sidecar.reply import Reply
from sidecar.resolve import Target
from sidecar.transport import Limits, Response
from sidecar.wires import faults
from sidecar.wires.types import HttpRequest, Outcome


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


async def stream(host: Host, entry: Entry, chat: Chat, sink: Sink) -> None:
    """Ask *chat* and give every chunk to *sink*, the last one once the provider has said its last word.

    Raises: SidecarError with whatever keeps the chat from its end.
    """
    provider, chat = resolve.with_preset(host.config, entry.envelope.provider, chat)
    target = resolve.chat_target(host.config, provider, chat)
    entry.progress.provider, entry.progress.model = target.route.provider, target.route.model
    plan = adapt.Plan(target=await _led(host, entry, target, chat), origin=target, chat=chat)
    while True:
        try:
            await _attempt(host, entry, plan, sink)
        except SidecarError as error:
            changed = None if entry.progress.delivered else await adapt.after(host, entry, plan, error)
            if changed is None:
                raise _as_seen_by_host(host, auth.hide(error, plan.target), plan.target, entry.progress) from None
            plan = changed
        else:
            return


async def _led(host: Host, entry: Entry, target: Target, chat: Chat) -> Target:
    """Return *target* with what its credential says of the address and the provider's list of the endpoint."""
    target = await auth.prepare(call_of(host, target))
    if not target.row.wire_from_list or chat.options.wire:
        return target
    listed = await model_lists.find(host, target, entry.progress)
    if listed is None or listed.wire is None:
        return target
    return with_wire(target, listed.wire)


def with_wire(target: Target, wire: str) -> Target:
    """Return *target* speaking *wire*."""
    route, row = target.route, target.row
    path = settings.path(row, route.provider, wire, route.model, route.settings, has_key=True)
    return msgspec.structs.replace(target, route=msgspec.structs.replace(route, wire=wire, path=path))


async def _attempt(host: Host, entry: Entry, plan: adapt.Plan, sink: Sink) -> None:
    """Ask once."""
    route, progress = plan.target.route, entry.progress
    progress.attempts += 1
    wire = wires.load(route.wire)
    encoded = wire.encode(plan.chat, route)
    warnings = [*plan.warnings, *encoded.warnings]
    request = plan.reshape(encoded.request)
    async with await _sending(host, plan.target, request, plan.chat, progress) as response:
        if host.config.record_dir:
            response = record.tee(host.config.record_dir, plan.chat, route, request, response)
        if response.status >= 300:
            raise wire.classify(response.status, response.headers, await transport.read_error_body(response))
        headers_ms = entry.elapsed_ms
        start = Start(
            provider=route.provider,
            model=route.model,
            request_id=faults.request_id(response.headers),
            warnings=warnings,
        )
        try:
            outcome = await _receive(Reply(wire, route, response.headers), response, start, entry, sink)
        finally:
            progress.cost = _cost(plan, progress.usage) if progress.usage else None
        timings = Timings(headers_ms=headers_ms, first_chunk_ms=progress.first_chunk_ms, total_ms=entry.elapsed_ms)
        sink.end(_done(plan, start, outcome, timings))
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


async def _receive(reply: Reply, response: Response, start: Start, entry: Entry, sink: Sink) -> Outcome:
    """Decode the body and give its chunks to *sink* as they come, whatever happens."""
    out: list[Chunk] = [start]
    try:
        async for data in response.body:
            reply.feed(data, out)
            out = _deliver(out, entry, sink)
            if reply.finished:
                break
            if sink.full:
                entry.progress.held_up = True
                await sink.room()
        outcome = reply.end(out)
    finally:
        entry.progress.usage = reply.usage
        out = _deliver(out, entry, sink)
    sink.send(out)
    return outcome


def _deliver(out: list[Chunk], entry: Entry, sink: Sink) -> list[Chunk]:
    """Give *out* to *sink* and return a new list; a start alone is held back, for it binds the host to this attempt."""
    progress = entry.progress
    if not progress.delivered:
        if len(out) < 2:  # noqa: PLR2004 - the start and something
            return out
        progress.delivered = True
        progress.first_chunk_ms = entry.elapsed_ms
    sink.send(out)
    return []


def _done(plan: adapt.Plan, start: Start, outcome: Outcome, timings: Timings) -> Done:
    reported = outcome.provider_cost_usd
    return Done(
        finish_reason=outcome.finish_reason,
        provider_finish_reason=outcome.provider_finish_reason,
        usage=outcome.usage,
        cost=_cost(plan, outcome.usage) if reported is None else cost.reported(reported),
        message=outcome.message,
        provider=start.provider,
        model=outcome.model or start.model,
        request_id=start.request_id or outcome.request_id,
        attempts=[Attempt(provider=start.provider, model=start.model, ms=timings.total_ms)],
        timings=timings,
        warnings=start.warnings,
    )


def _cost(plan: adapt.Plan, usage: Usage | None) -> dict[str, Any]:
    target, passed = plan.target, plan.chat.options.provider_options
    factors = catalogue.price_factors(target.row, target.route.settings, passed)
    mode = passed.get("service_tier") or passed.get("speed")
    return cost.cost(usage, target.model_row, datetime.now(UTC), mode=mode, factors=factors)


def _as_seen_by_host(host: Host, error: SidecarError, target: Target, progress: Progress) -> SidecarError:
    """Return *error* as it reads to the host.

    Once content was delivered a connection that broke has interrupted a stream; a model that is
    not there comes with the names that are nearest to it.
    """
    body = error.body
    if progress.delivered and body.code in ("network_error", "stream_interrupted"):
        # A provider that was kept waiting hangs up, and is not to blame.
        reason = "host_backpressure" if progress.held_up else body.reason
        return error.with_(code="stream_interrupted", retryable=True, reason=reason)
    if body.code == "model_not_found" and body.hint is None and (names := model_lists.nearest(host, target)):
        return error.with_(hint=f"Nearest: {', '.join(names)}.")
    if body.code == "network_error" and body.reason == "refused" and target.row.setup_hint:
        return error.with_(hint=target.row.setup_hint)
    return error


def collect(done: Done) -> dict[str, Any]:
    """Return the answer of `generate`: `done` with its text, reasoning and tool calls pulled out of the message."""
    parts = done.message.content if isinstance(done.message.content, list) else []
    plain: dict[str, Any] = msgspec.to_builtins(done)
    del plain["type"]
    return {
        "content": "".join(part.text for part in parts if isinstance(part, TextPart)),
        "reasoning": "".join(part.content for part in parts if isinstance(part, ReasoningPart)),
        "tool_calls": [
            {"id": part.id, "name": part.name, "arguments": part.arguments, "arguments_text": part.arguments_text}
            for part in parts
            if isinstance(part, ToolCallPart)
        ],
    } | plain

