"""The closed set of error codes and the `error` object that carries one.

`code` says what the user or the host can do about it, the `provider_*` fields what the
provider said, `partial` whether anything was already delivered. Messages are for people
and are never to be parsed.
"""

from typing import Any, Literal

import msgspec

from protocol.messages import Message

ErrorCode = Literal[
    "parse_error",
    "invalid_request",
    "unknown_provider",
    "auth_required",
    "auth_failed",
    "permission_denied",
    "quota_exceeded",
    "rate_limited",
    "queue_full",
    "context_length_exceeded",
    "content_filtered",
    "model_not_found",
    "provider_overloaded",
    "provider_error",
    "network_error",
    "timeout",
    "stream_interrupted",
    "cancelled",
    "shutting_down",
    "internal_error",
]
"""Closed for a major protocol version; a host treats a code that it does not know as `internal_error`."""

Phase = Literal["queue", "connect", "headers", "idle", "progress", "total"]
"""What the request waited for when a limit of ours expired, beside the code `timeout`: its turn or the next try, the
connection, the reply's head, more of its body, content. `total`: none of these."""


ResumeMethod = Literal["restart", "continue_prompt", "prefill", "cursor"]
"""How an answer that broke off can be had after all: ask anew; ask the model to go on; have it go on from its own
last words; take up the same answer, which the provider has gone on with."""

Guarantee = Literal["none", "approximate", "near_exact", "exact"]
"""How well what comes then fits to what came before."""


class Resume(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The best way to go on, for the action `resume`."""

    method: ResumeMethod
    guarantee: Guarantee
    response_id: str | None = None
    """With `cursor`: the provider's id of the answer."""
    starting_after: int | None = None
    """With `cursor`: how far the answer has come."""


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What went wrong with one request. Absent fields are unknown or do not apply."""

    code: ErrorCode
    message: str
    """At most 500 characters of English, free of control characters and of secrets."""
    retryable: bool
    """Whether the same request may succeed when it is sent again."""
    retry_after_ms: int | None = None
    provider: str | None = None
    model: str | None = None
    provider_status: int | None = None
    """The HTTP status, when the failure was one; never 200."""
    provider_code: str | None = None
    """The provider's own machine code, type or reason."""
    request_id: str | None = None
    """The provider's id of the request, for its support."""
    phase: Phase | None = None
    param: str | None = None
    """JSON path of the field at fault, such as `params.messages[0].role`."""
    reason: str | None = None
    """A finer machine word under the code, such as `line_too_long`, `duplicate_id` or `tls`."""
    attempts: int | None = None
    partial: bool
    """True when content had been delivered before the failure."""
    partial_seq: int | None = None
    """`seq` of the last chunk that was delivered."""
    partial_message: Message | None = None
    """With `partial`: the assistant message so far, without calls that were cut. It belongs in no conversation."""
    resume: Resume | None = None
    """With `partial`: how to go on."""
    usage: Any = None
    """The usage known so far, in the shape of `done.usage`."""
    cost: Any = None
    hint: str | None = None
    """One action that would help."""
    elapsed_ms: int | None = None
