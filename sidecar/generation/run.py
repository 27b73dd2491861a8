"""Asks the model of a chat, then its fallbacks.

Each is asked through `sidecar.upstream.ask`, and the next one only while nothing was delivered. Must not know any wire,
scheme or provider.
"""

from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from protocol.messages import ReasoningPart, ToolCallPart
from protocol.replies import Done, Status
from protocol.requests import Chat
from sidecar.auth import authorize
from sidecar.core.errors import SidecarError
from sidecar.core.message_content import join_texts, list_parts
from sidecar.core.request_state import Progress, RequestState
from sidecar.generation import attempt, recovery, request_limits
from sidecar.generation.recovery import ChatPlan
from sidecar.generation.timeouts import set_deadline
from sidecar.outputs.sink import Sink
from sidecar.providers import refusals
from sidecar.providers.kinds import require_chat_model, require_chat_provider
from sidecar.providers.model_names import apply_preset
from sidecar.providers.resolve import change_wire, make_target, resolve_provider
from sidecar.providers.values import make_chat_spec
from sidecar.routing.candidates import Candidate, remember
from sidecar.routing.choice import list_candidates
from sidecar.tokens.prompts import estimate_prompt_tokens
from sidecar.upstream import model_lists
from sidecar.upstream.ask import AskPolicy, ask
from sidecar.upstream.context import Upstream
from sidecar.upstream.gates.lookup import read_max_attempts
from sidecar.upstream.plan import pick_key, prepare, recover
from sidecar.upstream.settings_discovery import discover_settings
from sidecar.usage import budgets, pricing

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
"""Failures after which another model may do better. An invalid request is invalid everywhere."""

MAX_WAIT_WITH_FALLBACK_MS = 5000
"""The longest wait for a model that has a fallback. After a timeout such a model is not asked again."""


async def stream_chat(up: Upstream, state: RequestState, chat: Chat, sink: Sink) -> None:
    """Ask the model of *chat*, then its fallbacks in turn, and send every chunk to *sink*.

    Raises: SidecarError, the failure of the last model that was asked.
    """
    candidates = await list_candidates(up, state, chat)
    failure: SidecarError | None = None
    for number, candidate in enumerate(candidates, 1):
        is_last, begun_before = number == len(candidates), state.progress.attempts_begun
        try:
            await _ask_candidate(up, state, candidate, sink, has_fallback=not is_last)
        except SidecarError as error:
            if failure is None or state.progress.attempts_begun > begun_before:
                # The failure of a fallback that was never asked would hide the cause.
                failure = error.with_fields(provider=state.progress.provider, model=state.progress.model)
            if is_last or state.progress.delivered or error.body.code not in FALLBACK_CODES:
                raise failure from None
            sink.send_status(Status(state="falling_back", attempt=number, code=error.body.code))
        else:
            if candidate.route is not None:
                remember(up, state, chat, candidate)
            return


async def _ask_candidate(
    up: Upstream, state: RequestState, candidate: Candidate, sink: Sink, *, has_fallback: bool
) -> None:
    """Ask one model, or take its stored answer if the chat allows that."""
    plan = await _make_plan(up, state, candidate, has_fallback=has_fallback)
    if plan.chat.options.reuse is None:
        await _ask_admitted(up, state, plan, sink, has_fallback=has_fallback)
        return
    # Few chats ask for it.
    from sidecar.generation import stored_answers

    # Prepared as for an attempt, because the credential may decide the address. If that fails, the attempt reports it.
    with suppress(SidecarError):
        plan = await _prepare(up, pick_key(up, plan))
    stored = await stored_answers.answer(up, state, plan, sink)
    if stored is None:
        return
    plan = msgspec.structs.replace(plan, warnings=[*plan.warnings, *stored.warnings], recording=stored.recording)
    await _ask_admitted(up, state, plan, stored.recording or sink, has_fallback=has_fallback)


async def _ask_admitted(up: Upstream, state: RequestState, plan: ChatPlan, sink: Sink, *, has_fallback: bool) -> None:
    """Ask one model if the budgets have room for the chat."""
    expected_usd = _estimate_usd(plan) if up.config.budgets else None
    admission = await budgets.admit(up.config.budgets, up.ledger, plan.target.route.provider, expected_usd)
    for warning in admission.warnings:
        up.warn(warning)
    with admission.reservation as reservation:
        warnings = [*plan.warnings, *admission.warnings]
        plan = msgspec.structs.replace(plan, warnings=warnings, reservation=reservation)
        await _ask_plan(up, state, plan, sink, has_fallback=has_fallback)


def _estimate_usd(plan: ChatPlan) -> Decimal | None:
    calculate_usd = partial(pricing.calculate_usd, plan.target, plan.chat.options.provider_options)
    return request_limits.estimate_usd(plan.chat, calculate_usd)


async def _ask_plan(up: Upstream, state: RequestState, plan: ChatPlan, sink: Sink, *, has_fallback: bool) -> None:
    """Ask one model until it answers, or until another attempt cannot help."""
    retry_options = plan.chat.options.retry
    policy = AskPolicy[ChatPlan, None](
        attempt=lambda each, turn: attempt.answer(up, state, each, turn, sink),
        find_gate=lambda each: up.gates.find(each.origin),
        max_attempts=read_max_attempts(
            up.config.limits, plan.origin.route.provider, retry_options.max_attempts if retry_options else None
        ),
        get_model=lambda each: each.target.route.model,
        estimate_tokens=lambda each: estimate_prompt_tokens(each.chat),
        priority=plan.chat.options.priority,
        pick_key=partial(pick_key, up),
        prepare=partial(_prepare, up),
        explain=partial(_explain, up, state.progress),
        recover=partial(recover, up, changes=recovery.CHANGES),
        name_target=lambda each: (each.target.route.provider, each.target.route.model),
        send_status=sink.send_status,
        max_wait_ms=MAX_WAIT_WITH_FALLBACK_MS if has_fallback else float("inf"),
        retries_timeouts=not has_fallback,
    )
    await ask(state, policy, plan)


async def _make_plan(up: Upstream, state: RequestState, candidate: Candidate, *, has_fallback: bool) -> ChatPlan:
    """Return how to ask a candidate.

    Raises: SidecarError for an invalid request, and `provider_overloaded` if the provider has been failing and there is
    a fallback.
    """
    provider, chat = apply_preset(up.config, candidate.provider, candidate.chat)
    resolved = resolve_provider(up.setup, make_chat_spec(provider, chat))
    require_chat_provider(resolved)
    target = make_target(await discover_settings(up, resolved))
    state.progress.provider, state.progress.model = target.route.provider, target.route.model
    require_chat_model(target)
    set_deadline(state, target, chat.options.timeouts)
    if has_fallback and up.gates.find(target).should_avoid():
        raise SidecarError("provider_overloaded", "The provider has been failing and is avoided for a while.")
    return ChatPlan(
        target=target, origin=target, chat=chat, warnings=candidate.warnings, keys=target.keys, route=candidate.route
    )


async def _prepare(up: Upstream, plan: ChatPlan) -> ChatPlan:
    """Return *plan* with the address that its credential gives, and the wire that the provider's list names."""
    prepared = await prepare(up, plan)
    target = prepared.target
    if plan.target is not plan.origin or not target.row.models.wire_from_list or plan.chat.options.wire:
        return prepared
    # Listing prepares a target of its own, which may exchange the credential.
    listed = await model_lists.find_model(up, plan.origin)
    if listed is None or listed.wire is None:
        return prepared
    return msgspec.structs.replace(prepared, target=change_wire(target, listed.wire))


def _explain(up: Upstream, progress: Progress, plan: ChatPlan, error: SidecarError) -> SidecarError:
    """Return *error* as the host may read it, without the credential.

    Once content was delivered, a broken connection is an interrupted stream. An unknown model comes with similar names.
    """
    target = plan.target
    error = authorize.redact(error, target, progress.secrets)
    body = error.body
    if progress.delivered and body.code in ("network_error", "stream_interrupted"):
        # The provider waited for the host and hung up, which is not its fault.
        reason = "host_backpressure" if progress.waited_for_host else body.reason
        return error.with_fields(code="stream_interrupted", retryable=True, reason=reason)
    if hint := refusals.suggest(target, body):
        return error.with_fields(hint=hint)
    if body.code == "model_not_found" and body.hint is None and (names := model_lists.suggest_names(up, plan.origin)):
        return error.with_fields(hint=f"Similar models: {', '.join(names)}.")
    if body.code == "network_error" and body.reason == "refused" and target.row.setup_hint:
        return error.with_fields(hint=target.row.setup_hint)
    return error


def fold_answer(done: Done) -> dict[str, Any]:
    """Return the answer of `generate`: `done` with text, reasoning and tool calls taken out of its message."""
    parts = list_parts(done.message)
    plain: dict[str, Any] = msgspec.to_builtins(done)
    del plain["type"]
    return {
        "content": join_texts(done.message),
        "reasoning": "".join(part.content for part in parts if isinstance(part, ReasoningPart)),
        "tool_calls": [
            {"id": part.id, "name": part.name, "arguments": part.arguments, "arguments_text": part.arguments_text}
            for part in parts
            if isinstance(part, ToolCallPart)
        ],
    } | plain
