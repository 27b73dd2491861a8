"""What the sidecar writes: one JSON object a line.

Every accepted request ends in exactly one terminal line: a `Reply`, a `Streamed` whose
data is `done`, or a `Failed`. `seq` counts the streamed lines of a request from 0.
"""

from typing import Any, Literal

import msgspec

from protocol.errors import ErrorBody, Phase
from protocol.messages import Citation, FinishReason, Message, ToolCall, Usage

PROTOCOL_VERSION = 1

ReplyId = int | str | None | msgspec.UnsetType
"""The request's own id; null for a line that could not be parsed; absent when the request had none."""


class Warn(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something that was done otherwise than asked. `param` is the option's path."""

    code: str
    message: str
    param: str | None = None


class Start(msgspec.Struct, frozen=True, tag_field="type", tag="start", kw_only=True):
    """The provider has begun to answer."""

    provider: str
    model: str
    request_id: str | None = None
    warnings: list[Warn] = []


class Content(msgspec.Struct, frozen=True, tag_field="type", tag="content"):
    """A piece of the answer's text."""

    content: str


class Reasoning(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning"):
    """A piece of readable reasoning."""

    content: str


class ToolCallDelta(msgspec.Struct, frozen=True, tag_field="type", tag="tool_call_delta"):
    """A piece of a tool call's arguments; the first of a call may be empty. `index` tells parallel calls apart."""

    index: int
    id: str
    name: str
    arguments_delta: str


class ToolCallChunk(msgspec.Struct, frozen=True, tag_field="type", tag="tool_call"):
    """A whole tool call. `arguments` is null when `arguments_text` is not a JSON object: do not run it."""

    tool_call: ToolCall


class CitationChunk(msgspec.Struct, frozen=True, tag_field="type", tag="citation"):
    """A source of the text so far."""

    citation: Citation


class Status(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="status", kw_only=True):
    """What a silent request waits for; only for hosts that asked for `status` events."""

    state: Literal["queued", "connecting", "waiting", "retrying", "falling_back"]
    attempt: int | None = None
    wait_ms: int | None = None
    code: str | None = None
    phase: Phase | None = None
    """What is waited for, of a request that has been silent."""
    silent_ms: int | None = None
    """How long it has been."""


class ModelInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model of a provider. What is absent is unknown, never no."""

    id: str
    provider: str
    name: str | None = None
    kind: str | None = None
    """`chat`, `embedding`, `image`, `audio`, `moderation`…"""
    context_length: int | None = None
    """Tokens of prompt and answer together."""
    max_input: int | None = None
    """Tokens of the prompt, where that limit is lower."""
    max_output: int | None = None
    """Tokens of the answer."""
    cost: dict[str, Any] | None = None
    """US dollars per million tokens as decimal strings: `input`, `output`, `cache_read`, `cache_write`…"""
    pricing: dict[str, Any] | None = None
    """Of `cost`: `source`, `date`, and what else the price depends on: `tiers`, `changes`, `off_peak`, `modes`,
    `factors`."""
    capabilities: dict[str, Any] | None = None
    """`tools`, `images`, `pdf`, `reasoning`…: true or false where known."""
    status: str | None = None
    """`active`, `deprecated`, `retired`, `preview`."""
    retires_on: str | None = None
    """A date, YYYY-MM-DD."""
    wire: str | None = None


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `list_models`."""

    models: list[ModelInfo]
    source: Literal["provider", "cache", "stale", "built_in"]
    fetched_at: str
    """When the provider was asked, ISO 8601 in UTC."""
    catalogue_refreshed_at: str | msgspec.UnsetType = msgspec.UNSET
    """When the catalogue was last refreshed, ISO 8601 in UTC; absent: never."""
    warnings: list[Warn] = []


class UsageGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts of one group: sums, and latencies of those that ended well. Null: nothing is known."""

    group: dict[str, str | None]
    """What they have in common, by the words of `by`; empty for `totals`."""
    requests: int
    """Attempts, the failed ones and the retries too."""
    succeeded: int
    success_rate: float | None
    p50_latency_ms: int | None = None
    p95_latency_ms: int | None = None
    p50_first_chunk_ms: int | None = None
    p95_first_chunk_ms: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: str
    """US dollars as a decimal string, of the attempts whose cost is known."""
    unpriced: int
    """Attempts whose cost is not known."""


class UsageTable(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `usage_report`."""

    rows: list[UsageGroup]
    """At most 1000 of them."""
    totals: UsageGroup
    since: str | None
    until: str | None
    truncated: bool
    """Whether there are more rows."""


Storage = Literal["keychain", "file", "memory"]
"""Where a stored credential is: the system's keychain, a file of the user's alone, or this process."""

Method = Literal["api_key", "access_token", "device", "chain"]
"""How a provider is authorized; `chain`: by the credentials that this machine has for the provider's own tools."""

CredentialSource = Literal["request", "configuration", "store", "environment"]


class DeviceFlow(msgspec.Struct, frozen=True, tag_field="type", tag="device_flow", kw_only=True):
    """Show the user this code and the address to type it in; the sidecar opens no browser."""

    user_code: str
    verification_uri: str
    expires_in: int
    """Seconds that the code is good for."""
    interval: float
    """Seconds between two questions whether it was typed in."""


class LoggedIn(msgspec.Struct, frozen=True, tag_field="type", tag="done", kw_only=True):
    """The end of a login: the credential is stored."""

    provider: str
    method: Method
    account: str | None
    """Whose login it is, where the provider says so."""
    storage: Storage
    expires_at: str | None
    """When the credential wears off, ISO 8601 in UTC."""
    warnings: list[Warn] = []


class Authentication(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a provider is authorized, after `status`, `validate` or `logout`; never the secret."""

    provider: str
    ready: bool
    """Whether a chat could be asked now, as far as one can tell without asking the provider."""
    logins: list[Literal["api_key", "device", "existing"]]
    """What `login` takes: a key, a code that the user types in a browser, what another program has left."""
    method: Method | None = None
    source: CredentialSource | None = None
    account: str | None = None
    existing_account: str | None = None
    """Whose login another program has left, where `logins` has `existing` and its file says so."""
    storage: Storage | None = None
    """Where the credential is, when its source is `store`."""
    expires_at: str | None = None
    problem: str | None = None
    """Why the credential that was found cannot be used."""
    valid: bool | None = None
    """Of `validate`: true. A credential that is refused is an error."""
    removed: bool | None = None
    """Of `logout`: whether there was a stored credential."""
    warnings: list[Warn] = []


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds since the request line was read."""

    headers_ms: int | None = None
    first_chunk_ms: int | None = None
    total_ms: int


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One try at one provider."""

    provider: str
    model: str
    code: str | None = None
    """The error code it ended with; absent when it succeeded."""
    provider_status: int | None = None
    wait_ms: int | None = None
    """How long the next try waited."""
    ms: int | None = None
    """How long it took."""
    usage: Usage | None = None
    cost: dict[str, Any] | None = None


class Structured(msgspec.Struct, frozen=True, kw_only=True):
    """The answer's text as the JSON that `response_format` asked for; the text itself stays as it came."""

    valid: bool
    """Whether there is JSON and, where a schema was given, it obeys that."""
    value: Any
    """The JSON, taken out of fences and prose; null where there is none."""
    error: str | None
    """The first thing that is wrong, as `path: problem`, the path beginning with `$`."""
    native: bool
    """Whether the provider has a field for the format; false: it was asked for in words."""


class Done(msgspec.Struct, frozen=True, tag_field="type", tag="done", kw_only=True):
    """The end of a chat that the provider itself ended."""

    finish_reason: FinishReason
    provider_finish_reason: str | None
    usage: Usage | None
    cost: dict[str, Any]
    message: Message
    provider: str
    model: str
    request_id: str | None
    attempts: list[Attempt]
    timings: Timings
    warnings: list[Warn] = []
    structured: Structured | msgspec.UnsetType = msgspec.UNSET
    """Only where `response_format` asked for JSON and there is text."""


Chunk = Start | Content | Reasoning | ToolCallDelta | ToolCallChunk | CitationChunk | Status | Done


LoginChunk = DeviceFlow | Status | LoggedIn


class Streamed(msgspec.Struct, frozen=True):
    """One line of a stream."""

    id: ReplyId
    success: Literal[True]
    streaming: Literal[True]
    seq: int
    data: Chunk


class StreamedLogin(msgspec.Struct, frozen=True):
    """One line of a login."""

    id: ReplyId
    success: Literal[True]
    streaming: Literal[True]
    seq: int
    data: LoginChunk


class Reply(msgspec.Struct, frozen=True):
    """The one answer of a unary action."""

    id: ReplyId
    success: Literal[True]
    data: Any


class Failed(msgspec.Struct, frozen=True):
    """The one answer of a request that failed, at once or in the middle of its stream."""

    id: ReplyId
    success: Literal[False]
    error: ErrorBody


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An unsolicited line, only for hosts that asked for it in `initialize`."""

    event: Literal["warning"]
    data: Warn
