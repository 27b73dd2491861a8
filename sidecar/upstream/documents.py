"""Questions whose answer is one document: an encoder, a decoder and a kind, asked through `ask`.

Lists of models and token counts are such questions. Must not know what a document says.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from protocol.messages import Usage
from sidecar.auth import authorize
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts, Response
from sidecar.core.http_bodies import MAX_DOCUMENT_BYTES, read_body
from sidecar.core.request_state import RequestState
from sidecar.providers import refusals
from sidecar.providers.values import Target
from sidecar.upstream import replay
from sidecar.upstream.ask import AskPolicy, Classify, ask, check_status
from sidecar.upstream.context import Upstream, make_call
from sidecar.upstream.gates.gate import Gate, Priority, Turn
from sidecar.upstream.gates.lookup import read_max_attempts
from sidecar.upstream.plan import Plan, log_target, pick_key, prepare, recover
from sidecar.usage import attempts

T = TypeVar("T")


class Charge(NamedTuple):
    """What a document has used and cost."""

    usage: Usage | None
    cost: dict[str, Any] | None


class DocumentQuestion(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """How to ask a provider for a document, and how to read it."""

    kind: str
    """The kind of the ledger's row, one of `sidecar.usage.kinds`."""
    encode: Callable[[Target], HttpRequest]
    decode: Callable[[bytes], T]
    classify: Classify
    timeouts: HttpTimeouts
    max_attempts: int | None = None
    """None: as the user has configured."""
    priority: Priority = "interactive"
    limit_bytes: int = MAX_DOCUMENT_BYTES
    side_gate: str | None = None
    """The name of a gate beside that of the provider's chats. None: the gate of the chats, with its limits."""
    charge: Callable[[Target, T, Mapping[str, str]], Charge] | None = None
    """Returns what an answer has used and cost, given the headers of the reply. None: such questions are free."""
    tokens: int = 0
    """An estimate of the prompt, for limits on tokens."""
    has_own_limits: bool = False
    """The rate limits that a reply reports are those of the question's own model, so the gate learns them."""


async def ask_document(up: Upstream, state: RequestState, plan: Plan, question: DocumentQuestion[T]) -> T:
    """Return what the provider's document says.

    Raises: SidecarError as `ask` does, or as the decoder does.
    """
    provider = plan.origin.route.provider
    policy: AskPolicy[Plan, T] = AskPolicy(
        attempt=partial(_attempt, up, state, question),
        find_gate=partial(_find_gate, up, question),
        max_attempts=read_max_attempts(up.config.limits, provider, question.max_attempts),
        get_model=lambda each: each.origin.route.model,
        estimate_tokens=lambda _: question.tokens,
        priority=question.priority,
        pick_key=partial(pick_key, up),
        prepare=partial(prepare, up),
        explain=partial(_explain, state),
        recover=partial(recover, up),
    )
    return await ask(state, policy, plan)


def _explain(state: RequestState, plan: Plan, error: SidecarError) -> SidecarError:
    """Return *error* as the host may read it, without the credential."""
    error = authorize.redact(error, plan.target, state.progress.secrets)
    if hint := refusals.suggest(plan.target, error.body):
        return error.with_fields(hint=hint)
    row = plan.target.row
    if error.body.reason == "refused" and error.body.code == "network_error" and row.setup_hint:
        return error.with_fields(hint=row.setup_hint)
    return error


def _find_gate(up: Upstream, question: DocumentQuestion[T], plan: Plan) -> Gate:
    if question.side_gate is not None:
        return up.gates.find_side_gate(question.side_gate, plan.origin)
    return up.gates.find(plan.origin)


async def _attempt(up: Upstream, state: RequestState, question: DocumentQuestion[T], plan: Plan, turn: Turn) -> T:
    """Ask once. As a rule, the rate limits that the reply reports are ignored: they are not those of chats."""
    target, progress = plan.target, state.progress
    request = question.encode(target)
    call = msgspec.structs.replace(make_call(up, target), request=request, chat=plan.chat)
    authorized = await authorize.make_headers(call)
    progress.secrets = authorized.list_secrets()
    progress.attempts_begun += 1
    route, ledger = target.route, None if target.row.transport == "replay" else up.ledger
    log_target(target, question.kind, progress.attempts_begun)
    with attempts.record(ledger, state, question.kind, route.provider, route.model) as recorded:
        async with _send(up, state, question, target, request, authorized.headers) as response:
            if question.has_own_limits:
                turn.learn_limits(response.headers, target.row.rate_limit_headers)
            await check_status(response, question.classify)
            body = await read_body(response, question.limit_bytes)
        turn.report_success()
        answer = question.decode(body)
        if question.charge is not None:
            progress.usage, progress.cost = question.charge(target, answer, response.headers)
            turn.report_tokens(progress.usage.input_tokens or 0 if progress.usage else 0)
        recorded.succeed(usage=progress.usage, cost=progress.cost)
        return answer


def _send(
    up: Upstream,
    state: RequestState,
    question: DocumentQuestion[T],
    target: Target,
    request: HttpRequest,
    headers: Mapping[str, str],
) -> AbstractAsyncContextManager[Response]:
    if target.row.transport == "replay":
        return replay.send_document(up.config, target, state.progress)
    return up.http.send(request, headers, question.timeouts, state.progress)
