"""A conversation in the pieces that may be left out: nothing is torn from what makes sense of it. [pure]

A turn is a message of the user's with all that follows it. The newest turn is in pieces of its own, its rounds: an
answer of the model's, with the results of its calls. A result is never torn from its call.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import msgspec

from protocol.messages import Message, ToolCallPart, ToolResultPart
from sidecar.core.message_content import list_parts


class Piece(msgspec.Struct, frozen=True):
    """Messages that are dropped together or not at all, from *first* to *last*."""

    first: int
    last: int
    is_kept: bool


def cut_pieces(messages: Sequence[Message], keep: Sequence[str]) -> list[Piece]:
    """Return the pieces of *messages*.

    Kept are the user's last message, the last piece, and what *keep* names: `system`, `first_turn`.
    """
    turns = [at for at, message in enumerate(messages) if message.role == "user" and not _has_results(message)]
    last_turn = turns[-1] if turns else -1
    depths = _count_open_calls(messages)
    starts = [at for at, message in enumerate(messages) if not depths[at] and _begins_piece(messages, at, last_turn)]
    edges = [0, *(start for start in starts if start > 0), len(messages)]
    kept = {last_turn, len(messages) - 1}
    if "first_turn" in keep and turns:
        kept.add(turns[0])
    if "system" in keep:
        kept |= {at for at, message in enumerate(messages) if message.role == "system"}
    return [Piece(first, end - 1, any(at in kept for at in range(first, end))) for first, end in pairwise(edges)]


def _begins_piece(messages: Sequence[Message], at: int, last_turn: int) -> bool:
    role = messages[at].role
    if role == "system" or (at > 0 and messages[at - 1].role == "system"):
        return True
    return (role == "user" and not _has_results(messages[at])) or (role == "assistant" and at > last_turn)


def _has_results(message: Message) -> bool:
    return any(isinstance(part, ToolResultPart) for part in list_parts(message))


def _count_open_calls(messages: Sequence[Message]) -> list[int]:
    """Return for each message how many calls before it have their result in it or after it."""
    called: dict[str, int] = {}
    changes = [0] * (len(messages) + 1)
    for at, message in enumerate(messages):
        for part in list_parts(message):
            if isinstance(part, ToolCallPart):
                called[part.id] = at
            elif isinstance(part, ToolResultPart) and part.id in called:
                changes[called[part.id] + 1] += 1
                changes[at + 1] -= 1
    return list(accumulate(changes))[:-1]
