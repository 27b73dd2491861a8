"""What to leave out of a conversation so that it fits into a limit, and the conversation without it. [pure]

Must not know models, or how tokens are counted.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from protocol.messages import Message, ToolResultPart
from protocol.options import Overflow
from protocol.window import Cleared, Dropped
from sidecar.core.message_content import list_parts
from sidecar.window.turns import Piece, cut_pieces
from sidecar.window.weights import Weights

TARGET_SHARE = 0.9
"""How much of the limit is left filled: one larger cut loses the provider's cache of the prompt once, where many small
ones lose it each time, and an estimate that is a little low does no harm."""

NOTE = "[This result was removed to save space.]"
"""What takes the place of a tool result's content."""


class Plan(msgspec.Struct, frozen=True):
    """What to leave out."""

    drop: list[Dropped]
    clear: list[Cleared]
    tokens_after: int

    @property
    def cache_lost_from(self) -> int | None:
        """The first message whose tokens are not where they were; None: all are."""
        return min([*(each.first for each in self.drop), *(each.message for each in self.clear)], default=None)


def make_plan(
    messages: Sequence[Message], weights: Weights, limit: int, keep: Sequence[str], strategy: Overflow
) -> Plan:
    """Return what to leave out of *messages*, which weigh *weights*, so that they fit into *limit* tokens."""
    if weights.total.tokens <= limit:
        return Plan(drop=[], clear=[], tokens_after=weights.total.tokens)
    excess = weights.total.tokens - int(limit * TARGET_SHARE)
    pieces = cut_pieces(messages, keep)
    clear = _choose_results(weights, pieces[-1], excess) if strategy == "clear_tool_results" else []
    drop = _choose_pieces(weights, pieces, clear, excess - sum(each.tokens for each in clear))
    left_out = {at for each in drop for at in range(each.first, each.last + 1)}
    clear = [each for each in clear if each.message not in left_out]
    saved = sum(each.tokens for each in drop) + sum(each.tokens for each in clear)
    return Plan(drop=[*_join(drop)], clear=clear, tokens_after=max(0, weights.total.tokens - saved))


def _choose_results(weights: Weights, last: Piece, excess: int) -> list[Cleared]:
    """Return the oldest results, but none of the *last* piece, that have *excess* tokens."""
    chosen = []
    for each in weights.results:
        if excess <= 0 or each.message >= last.first:
            break
        chosen.append(each)
        excess -= each.tokens
    return chosen


def _choose_pieces(weights: Weights, pieces: Sequence[Piece], clear: Sequence[Cleared], excess: int) -> list[Dropped]:
    """Return the oldest pieces that need not be kept and have *excess* tokens once *clear* is cleared."""
    cleared: Counter[int] = Counter()
    for each in clear:
        cleared[each.message] += each.tokens
    chosen = []
    for piece in pieces:
        if excess <= 0:
            break
        if not piece.is_kept:
            inside = range(piece.first, piece.last + 1)
            tokens = sum(weights.messages[at] for at in inside)
            chosen.append(Dropped(piece.first, piece.last, tokens))
            excess -= tokens - sum(cleared[at] for at in inside)
    return chosen


def _join(drop: Sequence[Dropped]) -> Iterator[Dropped]:
    """Yield *drop* with neighbours joined."""
    joined: Dropped | None = None
    for each in drop:
        if joined is not None and joined.last + 1 == each.first:
            joined = Dropped(joined.first, each.last, joined.tokens + each.tokens)
            continue
        if joined is not None:
            yield joined
        joined = each
    if joined is not None:
        yield joined


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
