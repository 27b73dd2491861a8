"""The closed set of error codes, and the `error` object that carries one.

`code` says what the host or the user can do about the failure, the `provider_*` fields repeat
what the provider said, and `partial` says whether content was delivered before. Messages are
for people; a host must not parse them.
"""

from typing import Any, Literal

import msgspec

from protocol.messages import Message
from protocol.routes import RoutedModel

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
"""The set is closed for a major version. A host treats a code that it does not know as `internal_error`."""

Phase = Literal["queue", "connect", "headers", "idle", "progress", "tool_result", "total"]
"""With the code `timeout`: what the request was waiting for when the limit expired. `queue`: its turn or the next
attempt. `connect`: the connection. `headers`: the head of the response. `idle`: more of its body. `progress`: content.
`total`: none of these."""


ResumeMethod = Literal["restart", "continue_prompt", "prefill", "cursor"]
"""How to continue an answer that broke off. `restart`: send the chat anew. `continue_prompt`: ask the model to
continue. `prefill`: have it continue from its own last words. `cursor`: read on in the same answer, which the provider
itself has continued."""

Guarantee = Literal["none", "approximate", "near_exact", "exact"]
"""How well the continuation fits what came before."""


class Resume(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The best way to continue, for the action `resume`."""

    method: ResumeMethod
    guarantee: Guarantee
    response_id: str | None = None
    """With `cursor`: the provider's id of the answer."""
    starting_after: int | None = None
    """With `cursor`: the number of the last event received."""


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why one request failed. A field that is absent is unknown or does not apply."""

    code: ErrorCode
    message: str
    """For people: at most 500 characters of English, without control characters and secrets."""
    retryable: bool
    """Whether the same request may succeed if it is sent again."""
    retry_after_ms: int | None = None
    """How long to wait before that."""
    provider: str | None = None
    model: str | None = None
    provider_status: int | None = None
    """The HTTP status, if the failure was one; never 200."""
    provider_code: str | None = None
    """The provider's own machine code, type or reason."""
    request_id: str | None = None
    """The provider's id of the request, for its support."""
    phase: Phase | None = None
    """With `timeout`: what the request was waiting for."""
    param: str | None = None
    """JSON path of the field at fault, such as `params.messages[0].role`."""
    reason: str | None = None
    """A more specific word under the code, such as `line_too_long`, `duplicate_id` or `tls`."""
    attempts: int | None = None
    """How many attempts were made."""
    partial: bool
    """Whether content was delivered before the failure."""
    partial_seq: int | None = None
    """With `partial`: the `seq` of the last delivered chunk."""
    next_offset: int | None = None
    """With `partial`, of `embed`: how many inputs the host has the vectors of, those that `offset` has skipped
    included. The same request with this `offset` asks for the rest."""
    partial_message: Message | None = None
    """With `partial`: the assistant message so far, without calls that were cut off. Do not append it to `messages`."""
    resume: Resume | None = None
    """With `partial_message`: how to continue."""
    usage: Any = None
    """The usage known so far, in the shape of `done.usage`."""
    cost: Any = None
    """The cost known so far, in the shape of `done.cost`."""
    branches: Any = None
    """In an error of `compare`: a row for each branch, in the shape of `done.branches`."""
    hint: str | None = None
    """One action that would help, for people."""
    route: list[RoutedModel] | None = None
    """With the reason `no_model_fits`: what each model of the route lacks."""
    elapsed_ms: int | None = None
    """Milliseconds since the sidecar read the request line."""
