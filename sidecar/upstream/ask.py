"""The one request loop: gate → authorize → send → classify → renew → wait → again.

A chat, a list of models, a token count, an exchange of tokens and a fetched catalogue all go through `ask`. What
differs between them is an `AskPolicy`. Retries happen nowhere else, and only while nothing was delivered. Must not know
any wire, scheme, provider or action.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio
import msgspec

from protocol.replies import Attempt, Status
from sidecar.core.errors import SidecarError
from sidecar.core.http import Response
from sidecar.core.http_bodies import read_error_body
from sidecar.core.log import log
from sidecar.core.request_state import Progress, RequestState
from sidecar.upstream.gates.gate import Gate, Priority, Turn
from sidecar.upstream.gates.retry import Retry, RetryBudget, is_transient, plan_retry

P = TypeVar("P")
"""What an attempt is made from, such as `sidecar.upstream.plan.Plan`. A recovery returns another one."""

T = TypeVar("T")

Classify = Callable[[int, dict[str, str], bytes], SidecarError]


class AskPolicy(msgspec.Struct, Generic[P, T], frozen=True, kw_only=True):
    """How one kind of question is asked."""

    attempt: Callable[[P, Turn], Awaitable[T]]
    """Asks once. Called inside the gate."""
    find_gate: Callable[[P], Gate]
    max_attempts: int
    get_model: Callable[[P], str] = lambda _: ""
    """Returns the model whose limits the gate applies."""
    estimate_tokens: Callable[[P], int] = lambda _: 0
    """Estimates the prompt. Called only if the gate counts tokens."""
    priority: Priority = "interactive"
    pick_key: Callable[[P], P] = lambda plan: plan
    """Chooses among credentials, before each attempt."""
    prepare: Callable[[P], Awaitable[P]] | None = None
    """Completes the plan before it waits at the gate."""
    explain: Callable[[P, SidecarError], SidecarError] = lambda _, error: error
    """Returns a failure as the host may read it: without credentials, with hints."""
    recover: Callable[[P, SidecarError], Awaitable[P | None]] | None = None
    """Returns a changed plan to ask at once, or None."""
    name_target: Callable[[P], tuple[str, str]] | None = None
    """Returns provider and model for the request's list of failed attempts. None: the request keeps no such list."""
    send_status: Callable[[Status], None] = lambda _: None
    """Tells the host what the request is waiting for."""
    max_wait_ms: float = float("inf")
    """The longest wait for the gate or for the next attempt."""
    retries_timeouts: bool = True


async def ask(state: RequestState, policy: AskPolicy[P, T], plan: P) -> T:
    """Ask until there is an answer, or until another attempt cannot help.

    Raises: SidecarError, the failure of the last attempt.
    """
    progress, number, cost = state.progress, 1, 0
    budget: RetryBudget | None = None
    while True:
        plan = policy.pick_key(plan)
        gate, began_at, begun_before = policy.find_gate(plan), time.monotonic(), progress.attempts_begun
        try:
            if policy.prepare is not None:
                plan = await policy.prepare(plan)
            async with _enter_gate(state, policy, plan, gate, is_last=number >= policy.max_attempts) as turn:
                answer = await policy.attempt(plan, turn)
        except SidecarError as error:
            failure, was_sent = policy.explain(plan, error), progress.attempts_begun > begun_before
            changed = None
            if policy.recover is not None and was_sent and not progress.delivered:
                changed = await policy.recover(plan, error)
            retry = None if changed is not None else _plan_retry(state, policy, gate, failure, number)
            _log_failure(progress, failure, number, began_at, retry, is_changed=changed is not None)
            if policy.name_target is not None:
                partial = progress if was_sent else None
                progress.attempts.append(_make_attempt(policy.name_target(plan), failure, began_at, retry, partial))
            if changed is not None:
                plan = changed
                continue
            if retry is None:
                raise failure from None
        else:
            log("debug", "attempt.succeeded", ms=_count_ms(began_at))
            (budget or gate.retry_budget).give_back(cost)
            return answer
        budget, cost = gate.retry_budget, retry.cost
        progress.phase, progress.retry_at = "queue", time.monotonic() + retry.wait_ms / 1000
        policy.send_status(Status(state="retrying", attempt=number, wait_ms=retry.wait_ms, code=failure.body.code))
        # The host may have the line already, and the wait that it tells of has begun.
        await anyio.sleep(max(0, progress.retry_at - time.monotonic()))
        number += 1


@asynccontextmanager
async def _enter_gate(
    state: RequestState, policy: AskPolicy[P, T], plan: P, gate: Gate, *, is_last: bool
) -> AsyncIterator[Turn]:
    """Wait at the gate, unless its limits ask for too long a wait."""
    progress, model = state.progress, policy.get_model(plan)
    progress.phase = "queue"
    tokens = policy.estimate_tokens(plan) if gate.counts_tokens else 0
    delay_ms = gate.compute_delay_ms(model, tokens)
    if delay_ms and delay_ms > min(policy.max_wait_ms, state.remaining_ms):
        text = "The provider's limits require a longer wait than this request allows."
        raise SidecarError("rate_limited", text, retry_after_ms=delay_ms)
    if delay_ms or not gate.is_free:
        policy.send_status(Status(state="queued", wait_ms=delay_ms))
    async with gate.hold_slot(policy.priority, 0 if is_last else state.remaining_ms, model, tokens) as turn:
        try:
            yield turn
        except SidecarError as error:
            if progress.waited_for_host and error.body.code == "network_error":
                # The provider had to wait for the host and hung up. The gate must not count that as its failure.
                raise error.with_fields(code="stream_interrupted", retryable=True, reason="host_backpressure") from None
            raise


def _plan_retry(
    state: RequestState, policy: AskPolicy[P, T], gate: Gate, failure: SidecarError, number: int
) -> Retry | None:
    """Return the attempt after the failure of attempt *number*, or None when there should be none."""
    if state.progress.delivered or (failure.body.code == "timeout" and not policy.retries_timeouts):
        return None
    return plan_retry(
        failure.body,
        number,
        policy.max_attempts,
        state.remaining_ms,
        gate.retry_budget,
        max_wait_ms=policy.max_wait_ms,
    )


def _log_failure(
    progress: Progress, failure: SidecarError, number: int, began_at: float, retry: Retry | None, *, is_changed: bool
) -> None:
    body = failure.body
    if retry is not None:
        then = f"retried after {retry.wait_ms} ms"
    elif is_changed:
        then = "asked again in another way"
    elif progress.delivered:
        then = "not retried: the host has content already"
    elif not is_transient(body):
        then = "not retried: it would fail again"
    else:
        then = "not retried: no attempt is left, or none in time"
    log(
        "debug",
        "attempt.failed",
        attempt=number,
        code=body.code,
        reason=body.reason,
        status=body.provider_status,
        ms=_count_ms(began_at),
        then=then,
    )


def _count_ms(began_at: float) -> int:
    return int((time.monotonic() - began_at) * 1000)


def _make_attempt(
    target: tuple[str, str], failure: SidecarError, began_at: float, retry: Retry | None, partial: Progress | None
) -> Attempt:
    """Return the entry of a failed attempt; *partial* has what an answer that broke off used."""
    provider, model = target
    return Attempt(
        provider=provider,
        model=model,
        code=failure.body.code,
        provider_status=failure.body.provider_status,
        wait_ms=retry.wait_ms if retry else None,
        ms=_count_ms(began_at),
        usage=partial.usage if partial else None,
        cost=partial.cost if partial else None,
    )


async def check_status(response: Response, classify: Classify) -> None:
    """Let a successful reply pass.

    Raises: SidecarError as *classify* returns it for a status of 300 and above.
    """
    if response.status >= 300:
        raise classify(response.status, response.headers, await read_error_body(response))
