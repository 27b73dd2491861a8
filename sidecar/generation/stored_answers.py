"""Looks up the stored answer to a chat, once the request that would be sent to its model is known.

That is before the queue, the budgets and the provider: a stored answer costs nothing and waits for nothing.
"""

from typing import NamedTuple

import anyio.to_thread
import msgspec

from protocol.replies import Start, Warn
from protocol.reuse import Reused
from sidecar.core.request_state import RequestState
from sidecar.generation import attempt
from sidecar.generation.recovery import ChatPlan
from sidecar.outputs.sink import Sink
from sidecar.reuse import replay
from sidecar.reuse.answers import decode
from sidecar.reuse.question import Question, hash_question
from sidecar.reuse.recording import Place, Recording
from sidecar.reuse.rules import find_obstacle
from sidecar.reuse.store import find_store
from sidecar.upstream.context import Upstream
from sidecar.usage import attempts
from sidecar.wires.shared.types import Encoded

LONG_BYTES = 64 * 1024
"""A longer request is hashed in a worker thread."""

MAX_SHARE = 8
"""An answer may take at most the size of the store divided by this."""


class Unanswered(NamedTuple):
    """A chat without a stored answer."""

    warnings: list[Warn]
    """Why its answer will not be stored."""
    recording: Recording | None = None
    """The sink that takes the answer and may store it."""


async def answer(up: Upstream, state: RequestState, plan: ChatPlan, sink: Sink) -> Unanswered | None:
    """Answer the chat of *plan* from the store and return None, or return what is needed to ask its model.

    *plan* is prepared: an attempt would use the same target and chat.
    """
    options, target = plan.chat.options, plan.target
    if options.reuse is None:
        return Unanswered([])
    obstacle = find_obstacle(plan.chat, target)
    if obstacle is not None:
        text = f"The answer is neither looked up nor stored: {obstacle}."
        return Unanswered([Warn(code="not_reused", message=text, param="params.options.reuse")])
    encoded = attempt.encode_request(plan)
    request = encoded.request
    if len(request.body) > LONG_BYTES:
        digest = await anyio.to_thread.run_sync(hash_question, target, request, options)
    else:
        digest = hash_question(target, request, options)
    store, question = find_store(up), Question(digest, options.reuse.scope)
    found = await store.find(question)
    if found.data is not None and options.reuse.mode != "write" and found.age_seconds < options.reuse.ttl_s:
        stored = decode(found.data)
        if stored is not None:
            reused = replay.describe(stored, found.age_seconds)
            start = _make_start(plan, encoded, reused)
            with attempts.record(
                attempt.choose_ledger(up, plan), state, "reuse", target.route.provider, target.route.model
            ) as recorded:
                done = await replay.replay(state, stored, start, sink)
                recorded.succeed(done.finish_reason, done.usage, done.cost, saved_usd=reused.saved_usd)
                sink.finish(done)
            return None
    place = None
    if options.reuse.mode != "read" and found.epoch is not None:
        place = Place(store, question, options.reuse.ttl_s, found.epoch, store.max_bytes // MAX_SHARE)
    return Unanswered([], Recording(place, encoded, target, plan.chat, sink))


def _make_start(plan: ChatPlan, encoded: Encoded, reused: Reused) -> Start:
    route = plan.target.route
    return Start(
        provider=route.provider,
        model=route.model,
        warnings=[*plan.warnings, *encoded.warnings],
        route=plan.route or msgspec.UNSET,
        reused=reused,
    )
