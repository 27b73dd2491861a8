"""Questions whose answer is one document: an encoder, a decoder and a kind, asked through `ask`.

A list of models and a token count are asked so; an embedding would be. Must not know what a document says.
"""

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

import msgspec

from sidecar.auth import authorize
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.http_bodies import MAX_DOCUMENT_BYTES, read_body
from sidecar.core.request_state import RequestState
from sidecar.providers.values import Target
from sidecar.upstream.ask import Classify, Question, ask, check_status
from sidecar.upstream.context import Upstream, make_call
from sidecar.upstream.gates.gate import Gate, Priority, Turn
from sidecar.upstream.gates.lookup import read_max_attempts
from sidecar.upstream.plan import Plan, pick_key, prepare, recover
from sidecar.usage import attempts

T = TypeVar("T")


class DocumentQuestion(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What is asked of a provider, and how its document is read."""

    kind: str
    """What the ledger calls it, of `sidecar.usage.kinds`."""
    encode: Callable[[Target], HttpRequest]
    decode: Callable[[bytes], T]
    classify: Classify
    timeouts: HttpTimeouts
    max_attempts: int | None = None
    """None: as the user has set."""
    priority: Priority = "interactive"
    limit_bytes: int = MAX_DOCUMENT_BYTES
    side_gate: str | None = None
    """The name of a gate beside that of the provider's chats; None: the same one, with its limits."""


async def ask_document(up: Upstream, state: RequestState, plan: Plan, question: DocumentQuestion[T]) -> T:
    """Return what the provider's document says.

    Raises: SidecarError as `ask` does, or as the decoder does.
    """
    provider = plan.origin.route.provider
    loop: Question[Plan, T] = Question(
        attempt=partial(_attempt, up, state, question),
        gate=partial(_find_gate, up, question),
        max_attempts=read_max_attempts(up.config.limits, provider, question.max_attempts),
        model=lambda each: each.origin.route.model,
        priority=question.priority,
        pick=partial(pick_key, up),
        prepare=partial(prepare, up),
        explain=lambda each, error: authorize.redact(error, each.target, state.progress.secrets),
        recover=partial(recover, up),
    )
    return await ask(state, loop, plan)


def _find_gate(up: Upstream, question: DocumentQuestion[T], plan: Plan) -> Gate:
    if question.side_gate is not None:
        return up.gates.find_side_gate(question.side_gate, plan.origin)
    return up.gates.find(plan.origin)


async def _attempt(up: Upstream, state: RequestState, question: DocumentQuestion[T], plan: Plan, turn: Turn) -> T:
    """Ask once. The reply's rate limits are not learned: such questions have limits of their own."""
    request = question.encode(plan.target)
    call = msgspec.structs.replace(make_call(up, plan.target), request=request, chat=plan.chat)
    authorized = await authorize.make_headers(call)
    state.progress.secrets = authorized.list_secrets()
    state.progress.tries += 1
    route = plan.target.route
    with attempts.record(up.ledger, state, question.kind, route.provider, route.model) as recorded:
        async with up.http.send(request, authorized.headers, question.timeouts, state.progress) as response:
            await check_status(response, question.classify)
            body = await read_body(response, question.limit_bytes)
        turn.succeeded()
        answer = question.decode(body)
        recorded.succeed()
        return answer
