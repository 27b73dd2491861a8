"""One batch: asked, and asked again in halves where it is too large, or cut where a text is too long.

Knows how replies become vectors in the order of the texts. Must not know lines or other batches.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio.lowlevel
import msgspec

from protocol.embeddings import Embed
from protocol.messages import Usage
from sidecar.catalogue.embedding_columns import EmbeddingRow
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpTimeouts
from sidecar.core.request_state import RequestState
from sidecar.providers.values import Target
from sidecar.retrieval.batches import Batch, halve
from sidecar.retrieval.question import Asked, write_text
from sidecar.retrieval.refusals import is_too_large, sharpen
from sidecar.retrieval.sums import Sums
from sidecar.retrieval.texts import KEPT_SHARE, cut_to_share, make_too_long_error, name_input
from sidecar.retrieval.vectors import BadVectorError, Vector, read_vector
from sidecar.tokens import families
from sidecar.tokens.vocabularies import VocabularyError
from sidecar.upstream.context import Upstream
from sidecar.upstream.documents import Charge, DocumentQuestion, ask_document
from sidecar.upstream.plan import make_plan
from sidecar.usage import budgets, pricing
from sidecar.usage.cost import mark_estimated
from sidecar.usage.spending import Reservation
from sidecar.wires.embeddings import registry
from sidecar.wires.embeddings.types import EmbedQuestion, EmbedReply, make_usage, read_header_usage

MAX_CUTS = 12
"""How often a text is cut shorter, where nobody says how long it may be."""

TIMEOUTS = HttpTimeouts()

VECTORS_PER_TURN = 16
"""How many vectors are read in one turn of the event loop: less than a millisecond's work."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What all batches of a request have in common."""

    up: Upstream
    state: RequestState
    target: Target
    row: EmbeddingRow
    params: Embed
    asked: Asked
    text_tokens: int | None
    """The most tokens that the model reads of one text. None: not known."""
    sums: Sums


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The vectors of the texts of a batch, in their order."""

    first: int
    vectors: list[Vector]
    truncated: list[int]
    """The numbers of the inputs that were cut."""
    model: str | None


async def ask_batch(job: Job, batch: Batch) -> Answer:
    """Return the vectors of *batch*.

    Raises: SidecarError as `ask_document` does, or `provider_error` for a reply whose vectors are not those of the
    texts; where one text is at fault, `param` names it.
    """
    if batch.is_long and (share := await _measure_excess(job, batch.texts[0])) is not None:
        if not job.params.truncate:
            raise make_too_long_error(batch.first)
        return await _ask_cut(job, batch, share)
    try:
        return await _ask_once(job, batch)
    except SidecarError as error:
        if not is_too_large(error):
            raise
        if len(batch.texts) > 1:
            halves = [await ask_batch(job, half) for half in halve(batch)]
            return _join(halves)
        if error.body.code != "context_length_exceeded" or not job.params.truncate:
            raise make_too_long_error(batch.first, error) from None
        return await _ask_cut(job, batch, KEPT_SHARE)


def _join(answers: list[Answer]) -> Answer:
    return Answer(
        first=answers[0].first,
        vectors=[vector for each in answers for vector in each.vectors],
        truncated=[number for each in answers for number in each.truncated],
        model=answers[0].model,
    )


# --- texts that are too long -----------------------------------------------------------------


async def _measure_excess(job: Job, text: str) -> float | None:
    """Return how much of *text* the model reads, from 0 to 1, if it surely is too long; None: it may fit."""
    if job.text_tokens is None:
        return None
    family = families.find_family(job.target.route.model)
    try:
        tokens = await job.up.counter.count_tokens(lambda count: count(text), family.vocabulary)
    except VocabularyError:
        return None
    band = 0 if family.own else family.band_pct
    if tokens * family.factor * (100 - band) / 100 <= job.text_tokens:
        return None
    return job.text_tokens / (tokens * family.factor * (100 + band) / 100)


async def _ask_cut(job: Job, batch: Batch, share: float) -> Answer:
    """Return the vector of the beginning of the one text of *batch*: the provider cuts it, or else we do."""
    if job.row.truncate_field:
        fields = job.asked.fields | {job.row.truncate_field: job.row.truncate_on}
        job = msgspec.structs.replace(job, asked=job.asked._replace(fields=fields))
        return _mark_cut(await _ask_once(job, batch))
    text, cuts = cut_to_share(batch.texts[0], share), 1
    while True:
        try:
            return _mark_cut(await _ask_once(job, msgspec.structs.replace(batch, texts=[text])))
        except SidecarError as error:
            if error.body.code != "context_length_exceeded":
                raise
            if cuts == MAX_CUTS:
                raise make_too_long_error(batch.first, error) from None
        text, cuts = cut_to_share(text, KEPT_SHARE), cuts + 1


def _mark_cut(answer: Answer) -> Answer:
    return msgspec.structs.replace(answer, truncated=[answer.first])


# --- one request -----------------------------------------------------------------------------


async def _ask_once(job: Job, batch: Batch) -> Answer:
    wire = registry.load(job.row.wire)
    texts = [write_text(job.asked.text_form, text) for text in batch.texts]
    question = EmbedQuestion(texts=texts, fields=job.asked.fields)
    part = job.state.make_part("embed")
    document = DocumentQuestion[EmbedReply](
        kind="embed",
        encode=lambda to: wire.encode(question, to.route),
        decode=wire.decode,
        classify=lambda status, headers, body: sharpen(wire.classify(status, headers, body)),
        timeouts=TIMEOUTS,
        priority=job.params.priority,
        charge=partial(_charge, job.row, batch.tokens),
        tokens=batch.tokens,
        has_own_limits=True,
    )
    try:
        with await _reserve(job, batch):
            reply = await ask_document(job.up, part, make_plan(job.target), document)
    finally:
        job.state.progress.attempts_begun += part.progress.attempts_begun
    job.sums.add(Charge(part.progress.usage, part.progress.cost))
    return Answer(
        first=batch.first,
        vectors=await _read_vectors(job, batch, reply),
        truncated=[batch.first + number for number in reply.truncated],
        model=reply.model,
    )


async def _reserve(job: Job, batch: Batch) -> Reservation:
    """Return a reservation of what *batch* is expected to cost.

    Raises: SidecarError `quota_exceeded` if one of the user's budgets has no room for it.
    """
    limits, expected_usd = job.up.config.budgets, None
    if limits:
        usage = make_usage(batch.tokens)
        expected_usd = pricing.calculate_usd(job.target, {}, usage) if usage else None
    admission = await budgets.admit(limits, job.up.ledger, job.target.route.provider, expected_usd)
    job.sums.warnings += admission.warnings
    return admission.reservation


def _charge(row: EmbeddingRow, tokens: int, target: Target, reply: EmbedReply, headers: Mapping[str, str]) -> Charge:
    """Return what *reply* has used and cost: as it says, or else as its texts, about *tokens*, would have."""
    usage = reply.usage or (read_header_usage(headers, row.usage_header) if row.usage_header else None)
    if reply.cost_usd is not None:
        return Charge(usage, pricing.price_reported(target, reply.cost_usd))
    if usage is not None:
        return Charge(usage, pricing.price_attempt(target, {}, usage))
    guess: Usage = msgspec.structs.replace(make_usage(tokens) or Usage(), estimated=True)
    cost: dict[str, Any] = mark_estimated(pricing.price_attempt(target, {}, guess))
    return Charge(guess, cost)


async def _read_vectors(job: Job, batch: Batch, reply: EmbedReply) -> list[Vector]:
    """Return the vectors of *reply* in the order of the texts. Other requests have their turns in between.

    Raises: SidecarError `provider_error`, which names the first input without a vector of its own.
    """
    found, count = reply.found, len(batch.texts)
    numbers = [each.number for each in found]
    if all(number is None for number in numbers):
        numbers = list(range(len(found)))
    if len(found) != count:
        told = f"The provider returned {len(found)} vectors for {count} inputs"
        missing = next((number for number in range(count) if number not in numbers), 0)
        raise _make_error(batch.first + missing, told, "missing_vector")
    by_number = {number: each.raw for number, each in zip(numbers, found, strict=True)}
    vectors: list[Vector] = []
    for number in range(count):
        if number % VECTORS_PER_TURN == 0:
            await anyio.lowlevel.checkpoint()
        if number not in by_number:
            raise _make_error(batch.first + number, "The provider returned no vector of its own", "missing_vector")
        try:
            vector = read_vector(by_number[number], job.params.encoding, job.asked.dimensions)
        except BadVectorError as error:
            raise _make_error(batch.first + number, f"The provider's vector {error}", "bad_vector") from None
        vectors.append(vector)
    return vectors


def _make_error(number: int, told: str, reason: str) -> SidecarError:
    # The same request would get the same answer, at the user's cost.
    text = f"{told}: `{name_input(number)}`."
    return SidecarError("provider_error", text, retryable=False, param=name_input(number), reason=reason)
