"""A chat from its request to its last word: resolve, ask, ask again, ask another.

The one place of retries, changes after a refusal, and fallbacks, all of them only while nothing
was delivered. Must not know any wire, scheme or provider.
"""

import time
from typing import Any

import anyio
import msgspec

from protocol.messages import ReasoningPart, TextPart, ToolCallPart
from protocol.replies import Attempt, Done, Status
from protocol.requests import Chat
from sidecar.auth import authorize
from sidecar.core.errors import SidecarError
from sidecar.core.request_state import Progress, RequestState
from sidecar.generation import attempt, fallbacks, recovery, request_limits
from sidecar.generation.attempt import Sink
from sidecar.generation.fallbacks import Candidate
from sidecar.generation.recovery import Plan
from sidecar.generation.timeouts import limit_time
from sidecar.providers import resolve, settings
from sidecar.providers.resolve import Target
from sidecar.upstream import model_lists, retry
from sidecar.upstream.context import Upstream, call_for
from sidecar.upstream.gates import CONCURRENCY, QUEUE_LENGTH, Gate
from sidecar.upstream.settings_discovery import informed
from sidecar.usage import budgets

FALLBACK_CODES = frozenset(
    {
        "provider_overloaded",
        "rate_limited",
        "quota_exceeded",
        "provider_error",
        "network_error",
        "timeout",
        "stream_interrupted",
        "queue_full",
        "model_not_found",
        "auth_required",
    }
)
"""Failures after which another model may do better; a request that is wrong is wrong everywhere."""


FALLBACK_MS = 5000
"""The longest wait for a model that has another to fall back on; and it is not asked again when it was silent."""


MAX_GATES = 1000
"""Providers and credentials that are remembered though nobody asks them and nothing keeps anybody from it."""


async def stream(up: Upstream, state: RequestState, chat: Chat, sink: Sink) -> None:
    """Ask *chat*, then its fallbacks in turn, and give every chunk to *sink*.

    Raises: SidecarError with whatever kept the last of them that was asked from its end.
    """
    everybody = fallbacks.of(up.setup, state.provider, chat)
    failure: SidecarError | None = None
    for number, candidate in enumerate(everybody, 1):
        last, tries = number == len(everybody), state.progress.tries
        try:
            await _ask_one(up, state, candidate, sink, has_alternative=not last)
        except SidecarError as error:
            if failure is None or state.progress.tries > tries:
                # A fallback that could not even be asked says nothing of what is wrong.
                failure = error.with_(provider=state.progress.provider, model=state.progress.model)
            if last or state.progress.delivered or error.body.code not in FALLBACK_CODES:
                raise failure from None
            sink.tell(Status(state="falling_back", attempt=number, code=error.body.code))
        else:
            return


async def _ask_one(
    up: Upstream, state: RequestState, candidate: Candidate, sink: Sink, *, has_alternative: bool
) -> None:
    """Ask one model until it answers or there is no sense in asking again."""
    plan = await _planned(up, state, candidate, has_alternative=has_alternative)
    progress, tried, paid, payer = state.progress, 1, 0, None
    most = max_attempts(up, plan.origin, plan.chat)
    while True:
        plan = _with_free_key(up, plan)
        gate, began, tries = gate_of(up, plan.origin), time.monotonic(), progress.tries
        try:
            plan = await _led(up, state, plan)
            await _take_turn(up, state, plan, sink, last=tried >= most, has_alternative=has_alternative)
        except SidecarError as error:
            seen = _as_seen_by_host(up, authorize.hide(error, plan.target, progress.authorized), plan.target, progress)
            asked = progress.tries > tries
            changed = await recovery.after(up, state, plan, error) if asked and not progress.delivered else None
            wait_ms = None
            if changed is None:
                wait_ms, paid = _wait(state, gate, seen, tried, most, has_alternative=has_alternative)
                payer = gate.budget
            progress.attempts.append(_failed(plan, seen, began, wait_ms, progress if asked else None))
            if changed is not None:
                plan = changed
                continue
            if wait_ms is None:
                raise seen from None
        else:
            (payer or gate.budget).give_back(paid)
            return
        sink.tell(Status(state="retrying", attempt=tried, wait_ms=wait_ms, code=seen.body.code))
        progress.phase, progress.again_at = "queue", time.monotonic() + wait_ms / 1000
        await anyio.sleep(wait_ms / 1000)
        tried += 1


async def _planned(up: Upstream, state: RequestState, candidate: Candidate, *, has_alternative: bool) -> Plan:
    """Return what to ask a candidate.

    Raises: SidecarError whatever is wrong before anybody is asked, or `provider_overloaded` where a provider that has
    been failing has an alternative.
    """
    provider, chat = resolve.with_preset(up.config, candidate.provider, candidate.chat)
    target = resolve.chat_target(await informed(up, provider, chat), provider, chat)
    state.progress.provider, state.progress.model = target.route.provider, target.route.model
    limit_time(state, target, chat.options.timeouts)
    if has_alternative and gate_of(up, target).avoided():
        raise SidecarError("provider_overloaded", "The provider has been failing; it is left alone for a while.")
    due = await budgets.check(up.config.budgets, up.ledger, target.route.provider)
    for warning in due:
        up.warn(warning)
    warnings = [*candidate.warnings, *due]
    return Plan(target=target, origin=target, chat=chat, warnings=warnings, keys=resolve.keys(up.setup, target))


def _with_free_key(up: Upstream, plan: Plan) -> Plan:
    """Return *plan* with that of the user's keys whose gate lets it in first."""
    if not plan.keys or plan.keys == (plan.origin.credential,):
        return plan
    origins = [msgspec.structs.replace(plan.origin, credential=key) for key in plan.keys]
    best = min(origins, key=lambda origin: gate_of(up, origin).rank(plan.origin.route.model))
    if best.credential is plan.origin.credential:
        return plan
    return msgspec.structs.replace(plan, target=best, origin=best, done=plan.done - recovery.OF_TARGET)


async def _take_turn(
    up: Upstream, state: RequestState, plan: Plan, sink: Sink, *, last: bool, has_alternative: bool
) -> None:
    """Ask once, when the gate lets the request in, unless its limits make that too late."""
    gate, progress, model = gate_of(up, plan.origin), state.progress, plan.target.route.model
    progress.phase = "queue"
    tokens = request_limits.prompt_tokens(plan.chat) if gate.counts_tokens else 0
    pause_ms = gate.pause_ms(model, tokens)
    if pause_ms and pause_ms > (FALLBACK_MS if has_alternative else state.remaining_ms):
        text = "The provider's limits ask to wait for longer than the request may."
        raise SidecarError("rate_limited", text, retry_after_ms=pause_ms)
    if pause_ms or not gate.free:
        sink.tell(Status(state="queued", wait_ms=pause_ms))
    patience_ms = 0 if last else state.remaining_ms
    async with gate.slot(plan.chat.options.priority, patience_ms, model, tokens) as turn:
        try:
            await attempt.ask(up, state, plan, turn, sink)
        except SidecarError as error:
            if progress.held_up and error.body.code == "network_error":
                # A provider that was kept waiting hangs up, and is not to blame: the gate is not to count it.
                raise error.with_(code="stream_interrupted", retryable=True, reason="host_backpressure") from None
            raise


def max_attempts(up: Upstream, target: Target, chat: Chat) -> int:
    """Return how often a request is made at most, with all that failed for a moment."""
    wanted = chat.options.retry.max_attempts if chat.options.retry else None
    return wanted or _limit(up, target, "max_attempts", retry.MAX_ATTEMPTS)


def _limit(up: Upstream, target: Target, name: str, default: int) -> int:
    limits = up.config.limits
    value: int = limits.get("providers", {}).get(target.route.provider, {}).get(name) or limits.get(name) or default
    return value


def _wait(
    state: RequestState, gate: Gate, error: SidecarError, tried: int, max_attempts: int, *, has_alternative: bool
) -> tuple[int | None, int]:
    """Return how long to wait before the next attempt, None for no such, and what it costs of the budget."""
    if state.progress.delivered or (has_alternative and error.body.code == "timeout"):
        return None, 0
    longest_ms = FALLBACK_MS if has_alternative else float("inf")
    return retry.paid_wait_ms(error.body, tried, max_attempts, state.remaining_ms, gate.budget, longest_ms=longest_ms)


def _failed(plan: Plan, error: SidecarError, began: float, wait_ms: int | None, known: Progress | None) -> Attempt:
    return Attempt(
        provider=plan.target.route.provider,
        model=plan.target.route.model,
        code=error.body.code,
        provider_status=error.body.provider_status,
        wait_ms=wait_ms,
        ms=int((time.monotonic() - began) * 1000),
        usage=known.usage if known else None,
        cost=known.cost if known else None,
    )


def gate_of(up: Upstream, target: Target) -> Gate:
    """Return the gate of a target's provider, address and credential."""
    secret = target.credential.reveal() if target.credential else None
    key = (target.route.provider, target.route.base_url, hash(secret))
    gate = up.gates.get(key)
    if gate is None:
        if len(up.gates) >= MAX_GATES:
            up.gates = {each: known for each, known in up.gates.items() if not known.idle}
        gate = up.gates[key] = Gate(
            _limit(up, target, "concurrency", CONCURRENCY),
            _limit(up, target, "queue_length", QUEUE_LENGTH),
            _limit(up, target, "requests_per_minute", 0),
            _limit(up, target, "tokens_per_minute", 0),
        )
    return gate


async def _led(up: Upstream, state: RequestState, plan: Plan) -> Plan:
    """Return *plan* with what its credential says of the address and the provider's list of the endpoint."""
    if plan.target is not plan.origin:
        return plan
    target = await authorize.prepare(call_for(up, plan.origin))
    if target.row.wire_from_list and not plan.chat.options.wire:
        listed = await model_lists.find(up, target, state.progress)
        if listed is not None and listed.wire is not None:
            target = with_wire(target, listed.wire)
    return msgspec.structs.replace(plan, target=target)


def with_wire(target: Target, wire: str) -> Target:
    """Return *target* speaking *wire*."""
    route, row = target.route, target.row
    path = settings.path(row, route.provider, wire, route.model, route.settings, has_key=True)
    return msgspec.structs.replace(target, route=msgspec.structs.replace(route, wire=wire, path=path))


def _as_seen_by_host(up: Upstream, error: SidecarError, target: Target, progress: Progress) -> SidecarError:
    """Return *error* as it reads to the host.

    Once content was delivered a connection that broke has interrupted a stream; a model that is
    not there comes with the names that are nearest to it.
    """
    body = error.body
    if progress.delivered and body.code in ("network_error", "stream_interrupted"):
        # A provider that was kept waiting hangs up, and is not to blame.
        reason = "host_backpressure" if progress.held_up else body.reason
        return error.with_(code="stream_interrupted", retryable=True, reason=reason)
    if body.code == "model_not_found" and body.hint is None and (names := model_lists.nearest(up, target)):
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
