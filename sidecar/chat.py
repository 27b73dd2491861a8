"""The straight path of a chat: resolve → encode → authorize → send → decode → lane.

Knows the order of the steps and when a request counts as delivered. Must not know any wire,
scheme or provider.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import msgspec

from protocol.messages import ReasoningPart, TextPart, ToolCallPart
from protocol.replies import Attempt, Chunk, Done, Start, Timings
from protocol.requests import Chat
from sidecar import auth, record, replay, resolve, transport, wires
from sidecar.config import Config
from sidecar.errors import SidecarError
from sidecar.inflight import Entry, Progress
from sidecar.reply import Reply
from sidecar.resolve import Target
from sidecar.transport import Limits, Response, Transport
from sidecar.wires import faults
from sidecar.wires.types import HttpRequest, Outcome


class Sink(Protocol):
    """Where the chunks of a chat go."""

    @property
    def full(self) -> bool:
        """Whether the producer should wait."""

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Take *chunks*."""

    async def room(self) -> None:
        """Wait until the sink is no longer full."""


class Answer(msgspec.Struct, frozen=True):
    """A finished chat, while its connection is still open."""

    done: Done
    response: Response

    async def settle(self) -> None:
        """Let the connection come to its end, so that it can serve the next request."""
        await transport.drain(self.response)


@asynccontextmanager
async def stream(config: Config, http: Transport, entry: Entry, chat: Chat, sink: Sink) -> AsyncIterator[Answer]:
    """Ask *chat* and give every chunk to *sink*; the answer comes once the provider has said its last word.

    Raises: SidecarError with whatever keeps the chat from its end.
    """
    target = resolve.chat_target(config, entry.envelope.provider, chat)
    route, progress = target.route, entry.progress
    progress.provider, progress.model, progress.attempts = route.provider, route.model, 1
    wire = wires.load(route.wire)
    encoded = wire.encode(chat, route)
    try:
        async with await _sending(config, http, target, encoded.request, chat, progress) as response:
            if config.record_dir:
                response = record.tee(config.record_dir, chat, route, encoded.request, response)
            if response.status >= 300:
                raise wire.classify(response.status, response.headers, await transport.read_error_body(response))
            start = Start(
                provider=route.provider,
                model=route.model,
                request_id=faults.request_id(response.headers),
                warnings=encoded.warnings,
            )
            headers_ms = entry.elapsed_ms
            outcome = await _receive(Reply(wire, route, response.headers), response, start, entry, sink)
            timings = Timings(
                headers_ms=headers_ms, first_chunk_ms=progress.first_chunk_ms, total_ms=entry.elapsed_ms
            )
            yield Answer(_done(start, outcome, timings), response)
    except SidecarError as error:
        raise _as_seen_by_host(error, progress) from None


async def _sending(  # noqa: PLR0913 - everything that one attempt needs
    config: Config, http: Transport, target: Target, request: HttpRequest, chat: Chat, progress: Progress
) -> AbstractAsyncContextManager[Response]:
    if target.row.transport == "replay":
        return replay.send(config, target.route)
    return http.send(request, await auth.headers(target, request), _limits(chat), progress)


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


def _done(start: Start, outcome: Outcome, timings: Timings) -> Done:
    return Done(
        finish_reason=outcome.finish_reason,
        provider_finish_reason=outcome.provider_finish_reason,
        usage=outcome.usage,
        cost=_cost(outcome),
        message=outcome.message,
        provider=start.provider,
        model=outcome.model or start.model,
        request_id=start.request_id or outcome.request_id,
        attempts=[Attempt(provider=start.provider, model=start.model, ms=timings.total_ms)],
        timings=timings,
        warnings=start.warnings,
    )


def _cost(outcome: Outcome) -> dict[str, Any]:
    if outcome.provider_cost_usd is not None:
        return {"usd": outcome.provider_cost_usd, "parts": {}, "source": "provider"}
    return {"usd": None, "reason": "no_price"}


def _as_seen_by_host(error: SidecarError, progress: Progress) -> SidecarError:
    """Return *error* as it reads once content was delivered: a connection that broke has interrupted a stream."""
    if progress.delivered and error.body.code == "network_error":
        return SidecarError("stream_interrupted", error.body.message, reason=error.body.reason)
    return error


class Fold:
    """A sink for an answer that is wanted whole: `done.message` has it all."""

    full = False

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Take *chunks*."""

    async def room(self) -> None:
        """Return at once."""


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
