"""The tokens of a conversation, message by message. [pure]

Must not know what is left out, or where a vocabulary comes from.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from protocol.messages import Message, ToolResultPart
from protocol.options import Options
from protocol.window import Cleared
from sidecar.core.message_content import list_parts
from sidecar.tokens import media
from sidecar.tokens.estimates import Estimate, estimate_chat
from sidecar.tokens.families import Family
from sidecar.tokens.texts import Count

NOTE_TOKENS = 12
"""The most tokens of the note that replaces a tool result. A result with fewer is left as it is."""


class Weights(NamedTuple):
    """The tokens of a prompt and its parts."""

    total: Estimate
    """The tokens of the whole prompt, tools included."""
    messages: list[int]
    """The tokens of each message."""
    results: list[Cleared]
    """The tool results worth clearing, oldest first, with the tokens that this saves."""


def weigh(messages: Sequence[Message], options: Options, family: Family, count: Count) -> Weights:
    """Return the tokens of *messages* and *options* for a model of *family*; *count* counts a text."""
    # Each text is read up to three times, and counted once.
    count, count_pages = cache(count), cache(media.count_pages)

    def estimate(*some: Message, of: Options = _NO_OPTIONS) -> Estimate:
        return estimate_chat(some, of, family, count, count_pages)

    frame = estimate().tokens
    results = [
        Cleared(at, part.id, tokens - NOTE_TOKENS)
        for at, message in enumerate(messages)
        for part in list_parts(message)
        if isinstance(part, ToolResultPart)
        and (tokens := estimate(Message(role="tool", content=[part])).tokens - frame) > NOTE_TOKENS
    ]
    each = [max(0, estimate(message).tokens - frame) for message in messages]
    return Weights(estimate(*messages, of=options), each, results)


_NO_OPTIONS = Options()
