"""The one way of asking: gate → authorize → send → classify → renew → wait → again.

A chat, a list of models, a token count, an exchange of tokens and a fetched catalogue all go through `ask`. What
differs between them is a `Question`: an attempt, and what may be changed after a refusal. The one place of retries,
all of them while nothing was delivered. Must not know any wire, scheme, provider or action.
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
from sidecar.core.request_state import Progress, RequestState
from sidecar.upstream.gates import retry
from sidecar.upstream.gates.gate import Gate, Priority, Turn

P = TypeVar("P")
"""What the attempts go by, such as `sidecar.upstream.plan.Plan`; a recovery returns another one."""

T = TypeVar("T")

Classify = Callable[[int, dict[str, str], bytes], SidecarError]


class Question(msgspec.Struct, Generic[P, T], frozen=True, kw_only=True):
    """What differs between one question and another."""

    attempt: Callable[[P, Turn], Awaitable[T]]
    """Asks once, inside the gate."""
    gate: Callable[[P], Gate]
    max_attempts: int
    model: Callable[[P], str] = lambda _: ""
    """The model whose limits count at the gate."""
    tokens: Callable[[P], int] = lambda _: 0
    """About how many tokens the prompt has; asked only where the gate counts them."""
    priority: Priority = "interactive"
    pick: Callable[[P], P] = lambda plan: plan
    """Chooses among credentials, before each attempt."""
    prepare: Callable[[P], Awaitable[P]] | None = None
    """Completes the plan before it waits at the gate."""
    explain: Callable[[P, SidecarError], SidecarError] = lambda _, error: error
    """Says a failure as the host may read it: without credentials, with hints."""
    recover: Callable[[P, SidecarError], Awaitable[P | None]] | None = None
    """Returns a changed plan for another attempt at once, or None."""
    describe: Callable[[P], tuple[str, str]] | None = None
    """Provider and model for the request's list of failed attempts; None: it keeps none."""
    send_status: Callable[[Status], None] = lambda _: None
    """Tells the host what the request waits for."""
    longest_wait_ms: float = float("inf")
    repeats_after_timeout: bool = True


async def ask(state: RequestState, question: Question[P, T], plan: P) -> T:
    """Ask until there is an answer or no sense in asking again.

    Raises: SidecarError with whatever the last attempt failed with.
    """
    progress, tried, paid, payer = state.progress, 1, 0, None
    while True:
        plan = question.pick(plan)
        gate, began, tries = question.gate(plan), time.monotonic(), progress.tries
        try:
            if question.prepare is not None:
                plan = await question.prepare(plan)
            async with _take_turn(state, question, plan, gate, is_last=tried >= question.max_attempts) as turn:
                answer = await question.attempt(plan, turn)
        except SidecarError as error:
            seen, was_asked = question.explain(plan, error), progress.tries > tries
            changed = None
            if question.recover is not None and was_asked and not progress.delivered:
                changed = await question.recover(plan, error)
            wait_ms = None
            if changed is None:
                wait_ms, paid = _wait_ms(state, question, gate, seen, tried)
                payer = gate.budget
            if question.describe is not None:
                known = progress if was_asked else None
                progress.attempts.append(_failed_attempt(question.describe(plan), seen, began, wait_ms, known))
            if changed is not None:
                plan = changed
                continue
            if wait_ms is None:
                raise seen from None
        else:
            (payer or gate.budget).give_back(paid)
            return answer
        question.send_status(Status(state="retrying", attempt=tried, wait_ms=wait_ms, code=seen.body.code))
        progress.phase, progress.retry_at = "queue", time.monotonic() + wait_ms / 1000
        await anyio.sleep(wait_ms / 1000)
        tried += 1


@asynccontextmanager
async def _take_turn(
    state: RequestState, question: Question[P, T], plan: P, gate: Gate, *, is_last: bool
) -> AsyncIterator[Turn]:
    """Wait at the gate, unless its limits make that too late."""
    progress, model = state.progress, question.model(plan)
    progress.phase = "queue"
    tokens = question.tokens(plan) if gate.counts_tokens else 0
    pause_ms = gate.pause_ms(model, tokens)
    if pause_ms and pause_ms > min(question.longest_wait_ms, state.remaining_ms):
        text = "The provider's limits ask to wait for longer than the request may."
        raise SidecarError("rate_limited", text, retry_after_ms=pause_ms)
    if pause_ms or not gate.free:
        question.send_status(Status(state="queued", wait_ms=pause_ms))
    async with gate.slot(question.priority, 0 if is_last else state.remaining_ms, model, tokens) as turn:
        try:
            yield turn
        except SidecarError as error:
            if progress.held_up and error.body.code == "network_error":
                # A provider that was kept waiting hangs up and is not to blame: the gate must not count it.
                raise error.with_fields(code="stream_interrupted", retryable=True, reason="host_backpressure") from None
            raise


def _wait_ms(
    state: RequestState, question: Question[P, T], gate: Gate, error: SidecarError, tried: int
) -> tuple[int | None, int]:
    """Return how long to wait before the next attempt, None for no such, and its price."""
    if state.progress.delivered or (error.body.code == "timeout" and not question.repeats_after_timeout):
        return None, 0
    return retry.paid_wait_ms(
        error.body,
        tried,
        question.max_attempts,
        state.remaining_ms,
        gate.budget,
        longest_ms=question.longest_wait_ms,
    )


def _failed_attempt(
    whom: tuple[str, str], error: SidecarError, began: float, wait_ms: int | None, known: Progress | None
) -> Attempt:
    provider, model = whom
    return Attempt(
        provider=provider,
        model=model,
        code=error.body.code,
        provider_status=error.body.provider_status,
        wait_ms=wait_ms,
        ms=int((time.monotonic() - began) * 1000),
        usage=known.usage if known else None,
        cost=known.cost if known else None,
    )


async def check_status(response: Response, classify: Classify) -> None:
    """Let a reply of success pass.

    Raises: SidecarError as *classify* says of a status of 300 and above.
    """
    if response.status >= 300:
        raise classify(response.status, response.headers, await read_error_body(response))
