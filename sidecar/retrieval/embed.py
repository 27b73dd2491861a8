"""Vectors for any number of texts: batches, several at once, delivered in the order of the inputs.

No more batches are asked than may wait: a host that does not read stops the next ones. Must not know lines.
"""

from collections import deque

import anyio

from protocol.embeddings import Embed, Embedded
from protocol.messages import Usage
from protocol.replies import Warn
from sidecar.core.errors import SidecarError
from sidecar.core.request_state import RequestState
from sidecar.retrieval.asking import Answer, Job, ask_batch
from sidecar.retrieval.batches import Batch, BatchLimits, cut_batches, make_limits
from sidecar.retrieval.delivery import Delivery, VectorSink
from sidecar.retrieval.question import name_fields
from sidecar.retrieval.sums import Sums
from sidecar.retrieval.target import EmbedTarget, find_target
from sidecar.retrieval.texts import check_inputs
from sidecar.upstream.context import Upstream
from sidecar.usage.cost import make_unknown


class Slot:
    """A batch that is asked, and what has become of it."""

    __slots__ = ("answer", "ended", "error")

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.error: SidecarError | None = None
        self.ended = anyio.Event()


async def embed(up: Upstream, state: RequestState, params: Embed, provider: str | None, sink: VectorSink) -> Embedded:
    """Send the vectors of all inputs to *sink*, and return the end of the stream.

    Raises: SidecarError. Vectors that were sent before it stay valid.
    """
    check_inputs(params.inputs, params.offset)
    found = await find_target(up, provider, params)
    state.progress.provider, state.progress.model = found.target.route.provider, found.target.route.model
    job = _make_job(up, state, params, found)
    sums, delivery = job.sums, Delivery(params.encoding, job.asked.dimensions, sink)
    model = await _ask_all(job, delivery)
    return Embedded(
        usage=sums.usage,
        cost=sums.cost or make_unknown("usage_unknown"),
        batches=sums.batches,
        dimensions=delivery.dimensions,
        provider=found.target.route.provider,
        model=model or found.target.route.model,
        warnings=[*job.asked.warnings, *sums.warnings, *_warn_of_estimate(sums.usage)],
    )


def _make_job(up: Upstream, state: RequestState, params: Embed, found: EmbedTarget) -> Job:
    row = found.target.model_row
    return Job(
        up=up,
        state=state,
        target=found.target,
        row=found.row,
        params=params,
        asked=name_fields(found.row, params),
        text_tokens=(row.max_input or row.context_length) if row else None,
        sums=Sums(state),
    )


def _choose_limits(job: Job) -> BatchLimits:
    row, model_row = job.row, job.target.model_row
    usual = model_row.dimensions[0] if model_row and model_row.dimensions else None
    dimensions = job.asked.dimensions or usual
    return make_limits(row.max_inputs, row.max_batch_tokens, job.text_tokens, dimensions, job.asked.packing)


async def _ask_all(job: Job, delivery: Delivery) -> str | None:
    """Ask and deliver batch by batch, and return the name of the model that answered.

    Raises: SidecarError, that of the first batch in order that failed.
    """
    limits, slots = _choose_limits(job), deque[Slot]()
    batches = cut_batches(job.params.inputs, job.params.offset, limits)
    failure: SidecarError | None = None
    model: str | None = None

    def ask_more() -> None:
        while len(slots) < limits.parallel and not any(slot.error for slot in slots):
            if (batch := next(batches, None)) is None:
                return
            slots.append(slot := Slot())
            tasks.start_soon(_fill, job, batch, slot)

    async with anyio.create_task_group() as tasks:
        ask_more()
        while slots and failure is None:
            await slots[0].ended.wait()
            slot = slots.popleft()
            failure = slot.error
            if slot.answer is not None:
                # The next one is on its way while these are written.
                ask_more()
                model = model or slot.answer.model
                failure = await _deliver(delivery, slot.answer)
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return model


async def _deliver(delivery: Delivery, answer: Answer) -> SidecarError | None:
    """Deliver *answer*, and return what is wrong with it."""
    try:
        await delivery.deliver(answer)
    except SidecarError as error:
        return error
    return None


async def _fill(job: Job, batch: Batch, slot: Slot) -> None:
    try:
        slot.answer = await ask_batch(job, batch)
    except SidecarError as error:
        slot.error = error
    finally:
        slot.ended.set()


def _warn_of_estimate(usage: Usage | None) -> list[Warn]:
    if usage is None or usage.estimated is not True:
        return []
    return [Warn(code="estimated", message="The provider does not count the tokens: `usage` is an estimate.")]
