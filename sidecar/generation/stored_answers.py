"""The answers that a chat may use again, where it meets the models: looked up once it is known just what would be sent.

That is before the queue, the budgets and the provider: what was answered before costs nothing and waits for nobody.
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
from sidecar.reuse.recording import Recording
from sidecar.reuse.rules import find_obstacle
from sidecar.reuse.store import find_store
from sidecar.upstream.caches import AnswerStore
from sidecar.upstream.context import Upstream
from sidecar.usage import attempts
from sidecar.wires.shared.types import Encoded

LONG_BYTES = 64 * 1024
"""A request from this length on is hashed in a thread."""

MAX_SHARE = 8
"""No answer takes more of a store than this part of it."""


class StoredAnswers(NamedTuple):
    """What is done with the answer to a chat that is not stored yet."""

    warnings: list[Warn]
    """Why it is not to be stored."""
    recording: Recording | None = None
    store: AnswerStore | None = None
    ttl_seconds: float = 0.0
    epoch: int | None = None

    async def keep(self) -> None:
        """Store the answer, which has ended."""
        if self.recording is not None and self.store is not None:
            await self.recording.store(self.store, self.ttl_seconds, self.epoch)


async def answer(up: Upstream, state: RequestState, plan: ChatPlan, sink: Sink) -> StoredAnswers | None:
    """Answer the chat of *plan* from the store and return None, or return what to do with the answer to come.

    *plan* is prepared: its target and its chat are those that an attempt would use.
    """
    options, target = plan.chat.options, plan.target
    if options.reuse is None:
        return StoredAnswers([])
    obstacle = find_obstacle(plan.chat, target)
    if obstacle is not None:
        text = f"The answer is neither looked up nor stored: {obstacle}."
        return StoredAnswers([Warn(code="not_reused", message=text, param="params.options.reuse")])
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
    recording = Recording(question, encoded, target, plan.chat, sink)
    if options.reuse.mode != "read":
        recording.max_bytes = store.max_bytes // MAX_SHARE
    return StoredAnswers([], recording, store, options.reuse.ttl_s, found.epoch)


def _make_start(plan: ChatPlan, encoded: Encoded, reused: Reused) -> Start:
    route = plan.target.route
    return Start(
        provider=route.provider,
        model=route.model,
        warnings=[*plan.warnings, *encoded.warnings],
        route=plan.route or msgspec.UNSET,
        reused=reused,
    )
