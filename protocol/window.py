"""What is left out of a conversation: parts for which the model has no room, and needless white space."""

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
    """With `compact`: how many characters were removed from its texts."""
    dropped: list[Dropped] = []
    cleared: list[Cleared] = []
    tokens: int | None = None
    """If something was dropped or cleared: the estimated tokens of the prompt before."""
    tokens_after: int | None = None
    """Likewise: the estimated tokens of the prompt after."""
    limit: int | None = None
    """Likewise: the most tokens that the prompt may have."""
    cache_lost_from: int | None = None
    """Likewise: the first message whose tokens the provider can no longer read from its cache of the prompt."""
