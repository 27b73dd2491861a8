"""Asks a provider's endpoint for completions: one attempt is encode → authorize → send → read.

Knows the order of the steps. Must not know any wire or provider, or who waits for the text.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import anyio
import msgspec

from protocol.completion import Method
from protocol.messages import Usage
from sidecar.auth import authorize
from sidecar.completion import prompt, route
from sidecar.completion.flight import Flight
from sidecar.core.errors import SidecarError, clean_text
from sidecar.core.http import HttpRequest, HttpTimeouts, Response
from sidecar.core.http_bodies import DRAIN_SECONDS, push
from sidecar.generation.request_limits import CHARS_PER_TOKEN
from sidecar.providers import refusals
from sidecar.providers.model_rows import find_base_model
from sidecar.upstream import replay
from sidecar.upstream.ask import AskPolicy, check_status
from sidecar.upstream.ask import ask as upstream_ask
from sidecar.upstream.context import Upstream, make_call
from sidecar.upstream.gates.gate import Turn
from sidecar.upstream.gates.lookup import read_max_attempts
from sidecar.upstream.plan import Plan, log_target, pick_key, prepare, recover
from sidecar.usage import attempts, pricing
from sidecar.wires.completions import registry
from sidecar.wires.completions.families import find_family
from sidecar.wires.completions.stream import CompletionStream
from sidecar.wires.completions.types import Piece
from sidecar.wires.shared.options import describe_left_out
from sidecar.wires.shared.reply_headers import clean_id, read_request_id

KIND = "completion"

MAX_ATTEMPTS = 2
MAX_WAIT_MS = 1000.0
"""The longest wait for a gate or a second attempt: after that the cursor is elsewhere."""

TIMEOUTS = HttpTimeouts(first_byte_seconds=60.0, idle_seconds=30.0)

MAX_NAME_CHARS = 256


class Asked(Plan, frozen=True, kw_only=True):
    """Whom to ask, and how."""

    method: Method


@contextmanager
def _noting_cost(flight: Flight) -> Iterator[None]:
    """Note what an answer that breaks off has cost, if any of it has come."""
    try:
        yield
    except BaseException:
        if flight.items:
            progress = flight.state.progress
            progress.usage, progress.cost = flight.usage or estimate_usage(flight), price(flight)
        raise


class Request(NamedTuple):
    """An encoded request, and the recorded exchange that answers it where nobody is asked."""

    http: HttpRequest
    exchange: str


async def ask_endpoint(up: Upstream, flight: Flight, method: Method) -> None:
    """Ask the provider's endpoint by *method*, and give what comes to *flight*.

    Raises: SidecarError, the failure of the last attempt.
    """
    target = flight.target
    asked = Asked(target=target, origin=target, keys=target.keys, method=method)
    budget_ms = flight.question.params.options.budget_ms
    policy: AskPolicy[Asked, None] = AskPolicy(
        attempt=partial(_attempt, up, flight),
        find_gate=lambda each: up.gates.find(each.origin),
        max_attempts=min(MAX_ATTEMPTS, read_max_attempts(up.config.limits, target.route.provider)),
        get_model=lambda each: each.target.route.model,
        estimate_tokens=lambda _: estimate_input_tokens(flight),
        pick_key=partial(pick_key, up),
        prepare=partial(prepare, up),
        explain=partial(_explain, flight),
        recover=partial(recover, up),
        name_target=lambda each: (each.target.route.provider, each.target.route.model),
        max_wait_ms=min(MAX_WAIT_MS, budget_ms or MAX_WAIT_MS),
        retries_timeouts=False,
    )
    await upstream_ask(flight.state, policy, asked)


def _explain(flight: Flight, plan: Asked, error: SidecarError) -> SidecarError:
    """Return *error* as the host may read it, without the credential."""
    error = authorize.redact(error, plan.target, flight.state.progress.secrets)
    if hint := refusals.suggest(plan.target, error.body):
        return error.with_fields(hint=hint)
    row = plan.target.row
    if error.body.reason == "refused" and error.body.code == "network_error" and row.setup_hint:
        return error.with_fields(hint=row.setup_hint)
    return error


async def _attempt(up: Upstream, flight: Flight, plan: Asked, turn: Turn) -> None:
    """Ask once."""
    target, state = plan.target, flight.state
    to = route.make_route(target)
    wire, params = registry.load(to.wire), flight.question.params
    family = find_family(find_base_model(to.settings, to.model))
    wanted = prompt.make_prompt(params, family, plan.method, has_file_field=wire.TAKES_FILES)
    flight.cuts = prompt.list_cuts(params, family)
    flight.expected_items = wanted.n if wire.TAKES_ITEMS else 1
    if wanted.n > flight.expected_items:
        flight.warnings.append(describe_left_out("n", to))
    request = Request(wire.encode(wanted, to), f"{to.wire}/{to.model}")
    state.progress.attempts_begun += 1
    log_target(msgspec.structs.replace(target, route=to), KIND, state.progress.attempts_begun)
    ledger = None if target.row.transport == "replay" else up.ledger
    with (
        attempts.record(ledger, state, KIND, target.route.provider, target.route.model) as recorded,
        _noting_cost(flight),
    ):
        async with await _send(up, flight, plan, turn, request) as reply:
            turn.learn_limits(reply.headers, target.row.rate_limit_headers)
            await check_status(reply, wire.classify)
            turn.report_accepted()
            flight.request_id = read_request_id(reply.headers)
            flight.begin(plan.method, time.monotonic())
            stream = CompletionStream(wire, reply.headers)
            await _read(flight, turn, stream, reply)
            _settle(flight, stream)
            recorded.succeed(None, flight.usage, flight.cost)
            turn.report_tokens(_count(flight.usage))
            flight.end()


async def _send(
    up: Upstream, flight: Flight, plan: Asked, turn: Turn, request: Request
) -> AbstractAsyncContextManager[Response]:
    target, progress = plan.target, flight.state.progress
    if target.row.transport == "replay":
        options = flight.question.params.options.provider_options
        return replay.send_completion(up.config, target, request.exchange, options, progress)
    call = msgspec.structs.replace(make_call(up, target), request=request.http)
    authorized = await authorize.make_headers(call)
    progress.secrets = authorized.list_secrets()
    # A newer request of the slot may come at any moment.
    http = msgspec.structs.replace(request.http, keeps_spare=flight.question.params.slot is not None)
    return up.http.send(http, authorized.headers, TIMEOUTS, progress, budget=turn.retry_budget)


async def _read(flight: Flight, turn: Turn, stream: CompletionStream, reply: Response) -> None:
    """Read until the reply is complete, or what has come is enough."""
    out: list[Piece] = []

    def take(data: bytes) -> bool:
        try:
            stream.feed(data, out)
        finally:
            if out:
                turn.report_success()
                flight.state.progress.delivered = True
            _pass_on(flight, stream, out)
        return not (stream.finished or flight.is_enough or flight.is_full)

    with flight.read():
        if not await push(reply.body, take):
            stream.end(out)
            _pass_on(flight, stream, out)
    turn.report_success()
    if not flight.is_late:
        await _read_rest(stream, reply)


async def _read_rest(stream: CompletionStream, reply: Response) -> None:
    """Read the end of the reply if it comes soon: it has the usage, and its connection can be used again."""
    with anyio.move_on_after(DRAIN_SECONDS), suppress(SidecarError):
        ignored: list[Piece] = []
        async for data in reply.body:
            if not stream.finished:
                stream.feed(data, ignored)


def _pass_on(flight: Flight, stream: CompletionStream, out: list[Piece]) -> None:
    flight.usage = stream.usage
    if flight.model is None and stream.model:
        flight.model = clean_text(stream.model)[:MAX_NAME_CHARS]
    flight.add(out)
    out.clear()
    if stream.reasons:
        flight.end_items(stream.reasons)


def _settle(flight: Flight, stream: CompletionStream) -> None:
    """Note what the answer has used and cost."""
    flight.request_id = flight.request_id or clean_id(stream.request_id or "")
    flight.usage = stream.usage or estimate_usage(flight)
    flight.cost = price(flight)


def estimate_usage(flight: Flight) -> Usage:
    """Return what the answer has probably used so far."""
    chars = sum(item.size_chars for item in flight.items.values())
    return Usage(input_tokens=estimate_input_tokens(flight), output_tokens=-(-chars // CHARS_PER_TOKEN), estimated=True)


def estimate_input_tokens(flight: Flight) -> int:
    """Return about how many tokens the texts around the cursor have."""
    params = flight.question.params
    chars = len(params.prefix) + len(params.suffix) + sum(len(each.text) for each in params.context)
    return -(-chars // CHARS_PER_TOKEN)


def price(flight: Flight) -> dict[str, Any]:
    """Return the `cost` object of the answer so far."""
    usage = flight.usage or estimate_usage(flight)
    cost = pricing.price_attempt(flight.target, flight.question.params.options.provider_options, usage)
    return cost | {"source": "estimate"} if usage.estimated is True and cost["usd"] is not None else cost


def _count(usage: Usage | None) -> int:
    return (usage.input_tokens or 0) + (usage.output_tokens or 0) if usage else 0
