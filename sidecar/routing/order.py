"""The order of a route's models: a function of what is known of each, and of nothing else. [pure]

Knows what is cheaper, faster, and better balanced. Must not know where the figures come from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from protocol.routes import Preference, RouteReason, RouteWhy

MIN_USD = Decimal("0.0001")
"""A lower price counts as this one in a balance. Otherwise a free model would win however slow it is."""

MIN_MS = 50
"""A shorter time to the first chunk counts as this one in a balance."""


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one model of a route."""

    model: str
    """As the route names it."""
    position: int
    """In the list of the route, from 0. It settles ties."""
    misfit: RouteReason | None = None
    """What it lacks."""
    expected_usd: Decimal | None = None
    """US dollars that the chat is expected to cost; None: unknown."""
    first_chunk_ms: int | None = None
    """The median of its last answers; None: unknown."""


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """The models of a route, ordered."""

    fitting: list[ModelFacts]
    """Those that may be asked, the best first."""
    reasons: Mapping[str, RouteReason]
    """Model → why it is not the first; without the first itself."""
    why: RouteWhy
    """Why the first one is first."""


class _Criterion(NamedTuple):
    reason: RouteReason
    """Why a model comes after another that is better by this criterion."""
    why: RouteWhy
    """Why that other one comes first."""
    read: Callable[[ModelFacts], Any]
    """Returns the value to compare; less is better."""


def rank(facts: Iterable[ModelFacts], prefer: Preference, kept: str | None = None) -> Ranking:
    """Return the models of *facts* in the order in which they are asked.

    It does not depend on the order of *facts*. *kept* is the model that has answered the conversation so far. It
    comes first if it fits.
    """
    known = sorted(facts, key=lambda each: each.position)
    fitting = [each for each in known if each.misfit is None]
    criteria = _CRITERIA[prefer](fitting)
    fitting.sort(key=lambda each: ([criterion.read(each) for criterion in criteria], each.position))
    is_kept = any(each.model == kept for each in fitting)
    if is_kept:
        fitting.sort(key=lambda each: each.model != kept)
    reasons = {each.model: each.misfit for each in known if each.misfit is not None}
    why: RouteWhy = "conversation" if is_kept else "only_one"
    for number, each in enumerate(fitting[1:]):
        reason, other_why = _compare(fitting[0], each, criteria)
        reasons[each.model] = "conversation" if is_kept else reason
        if number == 0 and not is_kept:
            why = other_why
    return Ranking(fitting=fitting, reasons=reasons, why=why)


def _compare(first: ModelFacts, later: ModelFacts, criteria: Sequence[_Criterion]) -> tuple[RouteReason, RouteWhy]:
    """Return why *later* comes after *first*, and why *first* comes first."""
    for criterion in criteria:
        if criterion.read(first) != criterion.read(later):
            return criterion.reason, criterion.why
    return "listed_later", "listed_first"


_BY_USD = (
    _Criterion("price_unknown", "cheapest", lambda each: each.expected_usd is None),
    _Criterion("dearer", "cheapest", lambda each: each.expected_usd or Decimal(0)),
)

_BY_MS = (
    _Criterion("latency_unknown", "fastest", lambda each: each.first_chunk_ms is None),
    _Criterion("slower", "fastest", lambda each: each.first_chunk_ms or 0),
)


def _balance(fitting: Sequence[ModelFacts]) -> tuple[_Criterion, ...]:
    """Return the criterion of `balanced`: price times time, where an unknown one counts as the worst that is known."""
    worst_usd = max((each.expected_usd for each in fitting if each.expected_usd is not None), default=MIN_USD)
    worst_ms = max((each.first_chunk_ms for each in fitting if each.first_chunk_ms is not None), default=MIN_MS)

    def multiply(each: ModelFacts) -> Decimal:
        usd = worst_usd if each.expected_usd is None else each.expected_usd
        ms = worst_ms if each.first_chunk_ms is None else each.first_chunk_ms
        return max(usd, MIN_USD) * max(ms, MIN_MS)

    return _Criterion("worse_balance", "best_balance", multiply), *_BY_USD, *_BY_MS


_CRITERIA: Mapping[Preference, Callable[[Sequence[ModelFacts]], tuple[_Criterion, ...]]] = {
    "cost": lambda _: (*_BY_USD, *_BY_MS),
    "latency": lambda _: (*_BY_MS, *_BY_USD),
    "balanced": _balance,
}
"""The criteria of each preference. Each decides where all before it are equal."""
