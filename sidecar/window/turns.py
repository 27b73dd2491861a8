"""A conversation cut into the pieces that may be left out, none of which makes sense without its rest. [pure]

A turn is a message of the user and everything up to the next one. The newest turn is cut into its rounds: an answer of
the model with the results of its calls. A result always stays with its call.
"""

from collections.abc import Sequence
from itertools import accumulate

import msgspec

from protocol.messages import Message, ToolCallPart, ToolResultPart
from sidecar.core.message_content import list_parts


class Piece(msgspec.Struct, frozen=True):
    """Messages that are dropped together or not at all."""

    members: list[int]
    """The indexes of the messages, in order. System messages may stand between them."""
    is_kept: bool


def cut_pieces(messages: Sequence[Message], keep: Sequence[str]) -> list[Piece]:
    """Return the pieces of *messages* in order. Each system message is a piece of its own.

    The pieces with the user's last message and with the last message are kept, and those that *keep* names: `system`,
    `first_turn`.
    """
    systems = [Piece([at], "system" in keep) for at, each in enumerate(messages) if each.role == "system"]
    others = [at for at, each in enumerate(messages) if each.role != "system"]
    turns = [at for at in others if messages[at].role == "user" and not _has_results(messages[at])]
    last_turn = turns[-1] if turns else -1
    kept = {last_turn, *others[-1:], *(turns[:1] if "first_turn" in keep else ())}
    begins, open_calls = {*turns}, _count_open_calls(messages)
    groups = list[list[int]]()
    for at in others:
        is_round = messages[at].role == "assistant" and at > last_turn
        if not groups or ((at in begins or is_round) and not open_calls[at]):
            groups.append([])
        groups[-1].append(at)
    pieces = [Piece(members, not kept.isdisjoint(members)) for members in groups]
    return sorted(systems + pieces, key=lambda piece: piece.members[0])


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
