"""What to leave out of a conversation so that it fits into a limit, and the conversation without it. [pure]

Must not know models, or how tokens are counted.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from protocol.messages import Message, ToolResultPart
from protocol.options import Overflow
from protocol.window import Cleared, Dropped
from sidecar.core.message_content import list_parts
from sidecar.window.turns import Piece, cut_pieces
from sidecar.window.weights import Weights

TARGET_SHARE = 0.9
"""The share of the limit that stays filled after a cut. One larger cut loses the provider's prompt cache once; many
small ones would lose it each time. The rest also makes up for an estimate that is a little low."""

NOTE = "[This result was removed to save space.]"
"""Replaces the content of a cleared tool result."""


class Plan(msgspec.Struct, frozen=True):
    """What to leave out."""

    drop: list[Dropped]
    clear: list[Cleared]
    tokens_after: int

    @property
    def cache_lost_from(self) -> int | None:
        """The first message that changes or moves, from which on no prompt cache applies; None: no message does."""
        return min([*(each.first for each in self.drop), *(each.message for each in self.clear)], default=None)


def make_plan(
    messages: Sequence[Message], weights: Weights, limit: int, keep: Sequence[str], strategy: Overflow
) -> Plan:
    """Return what to leave out of *messages*, which weigh *weights*, so that they fit into *limit* tokens."""
    if weights.total.tokens <= limit:
        return Plan(drop=[], clear=[], tokens_after=weights.total.tokens)
    excess = weights.total.tokens - int(limit * TARGET_SHARE)
    pieces = cut_pieces(messages, keep)
    clear = list[Cleared]()
    if strategy == "clear_tool_results":
        rounds = [piece.members[0] for piece in pieces if messages[piece.members[0]].role != "system"]
        clear = _choose_results(weights, excess, before=max(rounds, default=0))
        excess -= sum(each.tokens for each in clear)
    dropped = _choose_messages(weights, pieces, clear, excess)
    drop = [*_list_ranges(sorted(dropped), weights)]
    clear = [each for each in clear if each.message not in dropped]
    saved = sum(each.tokens for each in drop) + sum(each.tokens for each in clear)
    return Plan(drop=drop, clear=clear, tokens_after=max(0, weights.total.tokens - saved))


def _choose_results(weights: Weights, excess: int, before: int) -> list[Cleared]:
    """Return the oldest results of messages before *before* that free *excess* tokens, or all of them."""
    chosen = []
    for each in weights.results:
        if excess <= 0 or each.message >= before:
            break
        chosen.append(each)
        excess -= each.tokens
    return chosen


def _choose_messages(weights: Weights, pieces: Sequence[Piece], clear: Sequence[Cleared], excess: int) -> set[int]:
    """Return the messages of the oldest pieces that may go, until they free *excess* tokens beside those of *clear*."""
    cleared: Counter[int] = Counter()
    for each in clear:
        cleared[each.message] += each.tokens
    chosen = set[int]()
    for piece in pieces:
        if excess <= 0:
            break
        if not piece.is_kept:
            chosen.update(piece.members)
            excess -= sum(weights.messages[at] - cleared[at] for at in piece.members)
    return chosen


def _list_ranges(places: Sequence[int], weights: Weights) -> Iterator[Dropped]:
    """Yield the ranges of consecutive *places*."""
    for _, group in groupby(enumerate(places), key=lambda numbered: numbered[1] - numbered[0]):
        inside = [at for _, at in group]
        yield Dropped(inside[0], inside[-1], sum(weights.messages[at] for at in inside))


def apply_plan(messages: Sequence[Message], plan: Plan) -> list[Message]:
    """Return *messages* without what *plan* leaves out."""
    dropped = {at for each in plan.drop for at in range(each.first, each.last + 1)}
    cleared: dict[int, set[str]] = {}
    for each in plan.clear:
        cleared.setdefault(each.message, set()).add(each.id)
    return [
        _clear_results(message, cleared[at]) if at in cleared else message
        for at, message in enumerate(messages)
        if at not in dropped
    ]


def _clear_results(message: Message, ids: set[str]) -> Message:
    parts = [
        msgspec.structs.replace(part, content=NOTE) if isinstance(part, ToolResultPart) and part.id in ids else part
        for part in list_parts(message)
    ]
    return msgspec.structs.replace(message, content=parts)
