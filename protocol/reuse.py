"""Stored answers that are used again: how a chat asks for one, and what its reply says of it."""

from typing import Annotated, Any, Literal

import msgspec

from protocol.messages import Usage

MAX_TTL_SECONDS = 30 * 24 * 3600

Scope = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+(?!\n)$")]
"""Who shares answers: the host's own name for a workspace, a user, a tenant."""


class ReuseOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Use the stored answer to exactly this chat, and store its answer for the next one."""

    scope: Scope
    mode: Literal["read_write", "read", "write"] = "read_write"
    """`read`: store nothing. `write`: always ask, and store the new answer."""
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_TTL_SECONDS)] = 3600
    """The longest that the answer is kept, and the oldest that a stored one may be, in seconds."""
    force: bool = False
    """Reuse answers even with a `temperature` above 0, which asks for answers that differ."""


class Reused(msgspec.Struct, frozen=True, kw_only=True):
    """The answer was stored, and no provider was asked."""

    age_s: int
    """Seconds since the answer was stored."""
    saved_usd: str | None
    """What the answer cost when it was given: US dollars as a decimal string; null if unknown."""


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """The answer as the provider gave it."""

    usage: Usage | None
    cost: dict[str, Any]
    request_id: str | None
    """The provider's id of that request."""
