"""One attempt at one provider: encode → authorize → send → decode → sink.

Knows the order of the steps. Must not know any wire, scheme or provider, or whether there will be another attempt.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial

import anyio.to_thread
import msgspec

from protocol.replies import Attempt, Done, Start, Structured, Timings
from sidecar.auth import authorize
from sidecar.core.errors import SidecarError, clean_text, remove_secret
from sidecar.core.http import HttpRequest, Response
from sidecar.core.http_bodies import drain
from sidecar.core.message_content import has_many_parts
from sidecar.core.request_state import RequestState
from sidecar.generation import accounting, background_responses, request_limits
from sidecar.generation.answer_reader import RunningAttempt, read_background, read_response
from sidecar.generation.recovery import ChatPlan
from sidecar.generation.response_stream import ResponseStream
from sidecar.generation.timeouts import choose_timeouts
from sidecar.outputs.sink import Sink
from sidecar.upstream import recorder, replay
from sidecar.upstream.ask import check_status
from sidecar.upstream.context import Upstream, make_call
from sidecar.upstream.gates.gate import Turn
from sidecar.upstream.plan import log_target
from sidecar.usage import attempts, pricing
from sidecar.usage.ledger import Ledger
from sidecar.wires import registry
from sidecar.wires.shared.reply_headers import clean_id, read_request_id
from sidecar.wires.shared.types import Encoded, Outcome, Route
from sidecar.wires.shared.undeclared_calls import list_tool_names, make_warnings

MAX_NAME_CHARS = 256
"""The longest model or finish reason that is passed on."""


async def answer(up: Upstream, state: RequestState, plan: ChatPlan, turn: Turn, sink: Sink) -> None:
    """Ask once and send every chunk to *sink*, the last one after the provider's terminal marker.

    Raises: SidecarError if the answer does not become complete.
    """
    route, chat = plan.target.route, plan.chat
    wire, is_background = registry.load(route.wire), background_responses.is_background(chat)
    encode = partial(encode_request, plan)
    is_long = has_many_parts(chat.messages)
    encoded = await anyio.to_thread.run_sync(encode, abandon_on_cancel=True) if is_long else encode()
    request = plan.adapt_request(encoded.request)
    limits, limit_warnings = request_limits.watch_limits(
        chat, partial(pricing.calculate_usd, plan.target, chat.options.provider_options), state.budget
    )
    timeouts = choose_timeouts(plan.target, chat.options.timeouts)
    attempt = RunningAttempt(state, plan, turn, sink, limits, timeouts, time.monotonic())
    attempt.progress.attempts_begun += 1
    log_target(plan.target, state.kind, attempt.progress.attempts_begun)
    with (
        attempts.record(choose_ledger(up, plan), state, state.kind, route.provider, route.model) as recorded,
        _settle(attempt, recorded),
    ):
        async with await _send(up, attempt, request) as reply:
            response = await _check_reply(up, attempt, request, reply)
            start = Start(
                provider=route.provider,
                model=route.model,
                request_id=read_request_id(response.headers),
                warnings=[*plan.warnings, *encoded.warnings, *limit_warnings],
                route=plan.route or msgspec.UNSET,
            )
            headers_ms = state.elapsed_ms
            stream = ResponseStream(wire, await _declare_tools(up, attempt), response.headers)
            read = read_background if is_background else read_response
            outcome = await read(up, attempt, stream, response, start)
            done = await _make_done(attempt, start, outcome, headers_ms)
            recorded.succeed(done.finish_reason, done.usage, done.cost)
            if plan.reservation is not None:
                # From here on the ledger has the cost.
                plan.reservation.release()
            turn.report_tokens(accounting.count_tokens(outcome.usage))
            sink.finish(done)
            if limits is None or not limits.has_ended_stream:
                # A stream that was cut at a limit could go on for long.
                await drain(response)


def choose_ledger(up: Upstream, plan: ChatPlan) -> Ledger | None:
    """Return the ledger; None for recorded answers, which cost nothing."""
    return None if plan.target.row.transport == "replay" else up.ledger


def encode_request(plan: ChatPlan) -> Encoded:
    """Return the request of *plan*. One that was encoded for a lookup is used again, unless the plan has changed."""
    target, chat = plan.target, plan.chat
    if plan.recording is not None and (encoded := plan.recording.take_request(target, chat)) is not None:
        return encoded
    if background_responses.is_background(chat):
        return background_responses.encode_request(plan)
    return registry.load(target.route.wire).encode(chat, target.route)


async def _declare_tools(up: Upstream, attempt: RunningAttempt) -> Route:
    """Return the route with the names of the tools that were declared to the provider."""
    target, options = attempt.plan.target, attempt.plan.chat.options
    if target.row.transport == "replay":
        tools = await anyio.to_thread.run_sync(replay.list_tool_names, up.config, target, attempt.plan.chat)
    else:
        tools = list_tool_names(options)
    return msgspec.structs.replace(target.route, tools=tools)


@contextmanager
def _settle(attempt: RunningAttempt, recorded: attempts.Attempt) -> Iterator[None]:
    """Record the cost of an attempt that is cancelled as a part of its request.

    A refused attempt gives back the expected cost that it has taken from a shared budget.
    """
    progress = attempt.progress
    try:
        yield
    except SidecarError:
        if attempt.limits is not None and progress.cost is None:
            attempt.limits.give_back()
        raise
    except BaseException:
        if attempt.state.parent is not None and not recorded.is_written:
            if progress.usage is None and progress.phase in ("headers", "idle"):
                _estimate_unanswered(attempt)
            progress.attempts.append(_make_cut_attempt(attempt))
        raise


def _estimate_unanswered(attempt: RunningAttempt) -> None:
    usage = accounting.estimate_unanswered_usage(attempt.plan.chat)
    attempt.progress.usage = usage
    attempt.progress.cost = accounting.price_known(attempt.plan.target, attempt.plan.chat, usage)


def _make_cut_attempt(attempt: RunningAttempt) -> Attempt:
    route, progress = attempt.plan.target.route, attempt.progress
    return Attempt(
        provider=route.provider,
        model=route.model,
        code="timeout" if attempt.state.ended_by == "timeout" else "cancelled",
        ms=_count_ms(attempt),
        usage=progress.usage,
        cost=progress.cost,
    )


def _count_ms(attempt: RunningAttempt) -> int:
    return int((time.monotonic() - attempt.began_at) * 1000)


async def _send(up: Upstream, attempt: RunningAttempt, request: HttpRequest) -> AbstractAsyncContextManager[Response]:
    target, chat = attempt.plan.target, attempt.plan.chat
    if target.row.transport == "replay":
        return replay.send(up.config, target, chat, attempt.progress, attempt.timeouts.for_http.idle_seconds)
    call = msgspec.structs.replace(make_call(up, target), request=request, chat=chat)
    authorized = await authorize.make_headers(call)
    attempt.progress.secrets = authorized.list_secrets()
    return up.http.send(
        request, authorized.headers, attempt.timeouts.for_http, attempt.progress, budget=attempt.turn.retry_budget
    )


async def _check_reply(up: Upstream, attempt: RunningAttempt, request: HttpRequest, reply: Response) -> Response:
    """Return *reply*, which is recorded as it is read if the user has enabled that.

    Raises: SidecarError if the provider has refused the request.
    """
    target, directory = attempt.plan.target, up.config.record_dir
    if directory:
        secrets = attempt.progress.secrets
        reply = recorder.record_response(directory, attempt.plan.chat, target.route, request, reply, secrets)
    attempt.turn.learn_limits(reply.headers, target.row.rate_limit_headers)
    await check_status(reply, registry.load(target.route.wire).classify)
    attempt.turn.report_accepted()
    return reply


async def _make_done(attempt: RunningAttempt, start: Start, outcome: Outcome, headers_ms: int) -> Done:
    plan, progress, elapsed_ms = attempt.plan, attempt.progress, attempt.state.elapsed_ms
    cost = accounting.price_outcome(plan.target, plan.chat, outcome, attempt.limits)
    succeeded = Attempt(
        provider=start.provider,
        model=start.model,
        ms=_count_ms(attempt),
        usage=outcome.usage,
        cost=cost,
    )
    structured: Structured | None = None
    if plan.chat.options.response_format is not None:
        # Most chats have none.
        from sidecar.outputs.structured_output import read_structured_output

        structured = await read_structured_output(plan.chat.options.response_format, outcome.message, start.warnings)
    return Done(
        finish_reason=outcome.finish_reason,
        provider_finish_reason=_clean(attempt, outcome.provider_finish_reason),
        usage=outcome.usage,
        cost=cost,
        message=outcome.message,
        provider=start.provider,
        model=_clean(attempt, outcome.model) or start.model,
        request_id=_clean(attempt, start.request_id or clean_id(outcome.request_id or "")),
        attempts=[*progress.attempts, succeeded],
        timings=Timings(headers_ms=headers_ms, first_chunk_ms=progress.first_chunk_ms, total_ms=elapsed_ms),
        warnings=[*start.warnings, *make_warnings(outcome.message)],
        structured=structured or msgspec.UNSET,
        route=start.route,
    )


def _clean(attempt: RunningAttempt, text: str | None) -> str | None:
    """Return a provider's *text* about its answer as one short line, without the credentials of the request."""
    if not text:
        return None
    credential = attempt.plan.target.credential
    for secret in (*([credential.reveal()] if credential else []), *attempt.progress.secrets):
        text = remove_secret(text, secret)
    return clean_text(text)[:MAX_NAME_CHARS]
