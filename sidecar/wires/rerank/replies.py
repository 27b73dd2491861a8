"""The replies of Cohere and its kin, all read alike, and the checks of every ranking. [pure]

A list of results, called `results` or `data` or nothing, has an index and a score each; a score is the number as it
was written. Nothing is guessed: a ranking that is not what was asked for is an error that names the index.
"""

import math
import re
from typing import Any

import msgspec

from sidecar.core.errors import SidecarError
from sidecar.core.json_values import read_count, read_object, read_text, require_memory
from sidecar.wires.rerank.types import Ranking, RerankQuestion, Score
from sidecar.wires.shared import costs
from sidecar.wires.shared.errors import make_unexpected_body_error

REASON = "bad_ranking"

NO_NUMBER = msgspec.Raw(b"null")


class Entry(msgspec.Struct, frozen=True):
    """One result, as it is read."""

    index: Any = None
    relevance_score: msgspec.Raw = NO_NUMBER
    score: msgspec.Raw = NO_NUMBER
    relevanceScore: msgspec.Raw = NO_NUMBER  # noqa: N815 - the service's name

    @property
    def number(self) -> msgspec.Raw:
        """The score under the name that it has."""
        for named in (self.relevance_score, self.score, self.relevanceScore):
            if named is not NO_NUMBER and bytes(named) != b"null":
                return named
        return NO_NUMBER


class _Document(msgspec.Struct, frozen=True):
    results: list[Entry] | None = None
    data: list[Entry] | None = None
    model: Any = None
    usage: Any = None
    meta: Any = None


_Reply = _Document | list[Entry]

_DECODER: msgspec.json.Decoder[_Reply] = msgspec.json.Decoder(_Reply)

_NO_NUMBER = re.compile(rb"-?\b(?:NaN|Infinity|nan|inf)\b")
"""What some servers write in the place of a number, and JSON does not have."""


def decode(body: bytes, question: RerankQuestion) -> Ranking:
    """Return the ranking in *body*.

    Raises: SidecarError `provider_error` for a document without one, or one that is not what *question* asks for.
    """
    document = _read_document(body)
    if isinstance(document, list):
        document = _Document(results=document)
    entries = document.results if document.results is not None else document.data
    if entries is None:
        raise make_unexpected_body_error()
    usage, meta = read_object(document.usage), read_object(document.meta)
    billed, counted = read_object(meta.get("billed_units")), read_object(meta.get("tokens"))
    tokens = (usage.get("prompt_tokens"), usage.get("total_tokens"), billed.get("input_tokens"))
    return Ranking(
        scores=rank(entries, question),
        input_tokens=_read_first((*tokens, counted.get("input_tokens"))),
        search_units=_read_first((billed.get("search_units"), usage.get("search_units"))),
        cost_usd=costs.convert_to_usd(usage.get("cost")),
        model=read_text(document.model) or None,
    )


def _read_document(body: bytes) -> _Reply:
    require_memory(body)
    try:
        try:
            return _DECODER.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # Null is no score either, and has a document that can be named.
            return _DECODER.decode(_NO_NUMBER.sub(b"null", body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise make_unexpected_body_error() from None


def _read_first(values: tuple[object, ...]) -> int | None:
    return next((count for value in values if (count := read_count(value)) is not None), None)


def rank(entries: list[Entry], question: RerankQuestion) -> list[Score]:
    """Return the *entries* that *question* wants, the best first. Of equals the provider's order decides.

    Raises: SidecarError `provider_error`, which names the index, for a document that there is not, that comes twice,
    that is missing, or whose score is no finite number.
    """
    found: dict[int, tuple[float, msgspec.Raw]] = {}
    for entry in entries:
        index = entry.index
        if isinstance(index, bool) or not isinstance(index, int):
            raise _make_error("The provider returned a result without the index of its document.")
        if not 0 <= index < len(question.documents):
            raise _make_error(f"The provider ranked document {index} of {len(question.documents)}.")
        if index in found:
            raise _make_error(f"The provider ranked document {index} twice.")
        raw = entry.number
        found[index] = _read_number(raw, index), raw
    if len(found) < question.wanted:
        raise _make_shortage_error(found, question)
    best = sorted(found.items(), key=lambda each: -each[1][0])
    return [Score(index, number) for index, (_, number) in best[: question.wanted]]


def _read_number(raw: msgspec.Raw, index: int) -> float:
    """Return the number in *raw*, the score of document *index*."""
    try:
        value = float(bytes(raw))
    except ValueError:
        # JSON of another kind.
        value = math.nan
    if not math.isfinite(value):
        raise _make_error(f"The provider's score of document {index} is no finite number.")
    return value


def _make_shortage_error(found: dict[int, Any], question: RerankQuestion) -> SidecarError:
    text = f"The provider ranked {len(found)} documents, and {question.wanted} were asked for."
    if question.wanted == len(question.documents):
        missing = next(index for index in range(question.wanted) if index not in found)
        text = f"The provider did not rank document {missing}."
    return _make_error(text)


def _make_error(text: str) -> SidecarError:
    # The same request would be billed again, and most likely answered the same.
    return SidecarError("provider_error", text, reason=REASON, retryable=False)
