"""What is left out of a conversation that is too long for the context window of a model, or longer than it need be."""

import msgspec


class Dropped(msgspec.Struct, frozen=True):
    """Messages that are left out, from `first` to `last`, counted from 0."""

    first: int
    last: int
    tokens: int


class Cleared(msgspec.Struct, frozen=True):
    """A tool result whose content is replaced by a short note."""

    message: int
    """The message that it is in, counted from 0."""
    id: str
    """The call that it is the result of."""
    tokens: int


class Shortened(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What `compact` and `overflow` have left out of the conversation, whose messages include those of a task."""

    compacted_chars: int | None = None
    """With `compact`: the characters that left its texts."""
    dropped: list[Dropped] = []
    cleared: list[Cleared] = []
    tokens: int | None = None
    """With something dropped or cleared: the tokens of the prompt before that, about."""
    tokens_after: int | None = None
    """And after."""
    limit: int | None = None
    """And the most that it may have."""
    cache_lost_from: int | None = None
    """And the first message whose tokens the provider can no longer read from its cache of the prompt."""
