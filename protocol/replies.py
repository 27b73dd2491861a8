"""The lines that the sidecar writes: one JSON object per line.

Every accepted request gets exactly one terminal line: a `Reply`, a `Streamed` whose data is
`done`, or a `Failed`. `seq` numbers the streamed lines of a request from 0.
"""

from typing import Any, Literal

import msgspec

from protocol.errors import ErrorBody, Phase
from protocol.files import CodeResult, CommandChunk, FileChunk, FileEnd, FileResult, FileStart
from protocol.messages import Citation, FinishReason, Message, ToolCall, Usage
from protocol.reuse import Original, Reused
from protocol.routes import Routed
from protocol.tool_loop import Round, ToolRound
from protocol.window import Shortened

PROTOCOL_VERSION = 1

ReplyId = int | str | None | msgspec.UnsetType
"""The id of the request; null if the line could not be parsed, absent if the request had none."""


class Warn(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something that the sidecar did differently than asked. `param` is the path of the option that caused it."""

    code: str
    message: str
    param: str | None = None


class Start(msgspec.Struct, frozen=True, tag_field="type", tag="start", kw_only=True):
    """The provider has begun to answer: the first chunk of a stream, apart from `status`."""

    provider: str
    model: str
    request_id: str | None = None
    warnings: list[Warn] = []
    route: Routed | msgspec.UnsetType = msgspec.UNSET
    """Present only if the model was `auto`."""
    shortened: Shortened | msgspec.UnsetType = msgspec.UNSET
    """Present only if `compact` is true, or `overflow` has left something out."""
    reused: Reused | msgspec.UnsetType = msgspec.UNSET
    """Present only if this is a stored answer."""


class Content(msgspec.Struct, frozen=True, tag_field="type", tag="content"):
    """A piece of the answer's text."""

    content: str


class Reasoning(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning"):
    """A piece of readable reasoning."""

    content: str


class ToolCallDelta(msgspec.Struct, frozen=True, tag_field="type", tag="tool_call_delta"):
    """A piece of a tool call's arguments; the first may be empty. `index` tells parallel calls apart, from 0."""

    index: int
    id: str
    name: str
    arguments_delta: str


class ToolCallChunk(msgspec.Struct, frozen=True, tag_field="type", tag="tool_call"):
    """A whole tool call.

    `arguments` is null if `arguments_text` is not a JSON object, or has an integer beyond 2^53.
    """

    tool_call: ToolCall


class CitationChunk(msgspec.Struct, frozen=True, tag_field="type", tag="citation"):
    """A source of the text so far."""

    citation: Citation


class Status(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="status", kw_only=True):
    """What a silent request is waiting for. Only hosts that asked for `status` get it."""

    state: Literal[
        "queued",
        "connecting",
        "waiting",
        "retrying",
        "falling_back",
        "hedging",
        "pending",
        "generating",
        "completed",
        "failed",
    ]
    """The last four are states of a branch of `compare`."""
    attempt: int | None = None
    """The number of the attempt that failed."""
    wait_ms: int | None = None
    """How long the request will wait."""
    code: str | None = None
    """The error code of that attempt."""
    phase: Phase | None = None
    """In a heartbeat: what the request is waiting for."""
    silent_ms: int | None = None
    """In a heartbeat: how long the stream has had no chunk but heartbeats."""


class ModelInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model of a provider. An absent field is unknown, never "no"."""

    id: str
    provider: str
    name: str | None = None
    kind: str | None = None
    """`chat`, `completion`, `embedding`, `rerank`, `image`, `audio`, `moderation`, …"""
    dimensions: tuple[int, ...] | None = None
    """Of an embedding model: the lengths of vectors that it has, the usual one first."""
    context_length: int | None = None
    """Tokens of prompt and answer together."""
    max_input: int | None = None
    """Tokens of the prompt, if that limit is lower."""
    max_output: int | None = None
    """Tokens of the answer."""
    cost: dict[str, Any] | None = None
    """US dollars per million tokens as decimal strings: `input`, `output`, `cache_read`, `cache_write`, …; `search`:
    per 1,000 search units."""
    pricing: dict[str, Any] | None = None
    """The `source` and `date` of `cost`, and what else the price depends on: `tiers`, `changes`, `off_peak`, `modes`,
    `factors`."""
    capabilities: dict[str, Any] | None = None
    """`tools`, `images`, `pdf`, `reasoning`, …: true or false where known."""
    status: str | None = None
    """`active`, `deprecated`, `retired`, `preview`."""
    retires_on: str | None = None
    """A date, YYYY-MM-DD."""
    wire: str | None = None
    """The wire that the model needs, if it is not the provider's usual one."""


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `list_models`."""

    models: list[ModelInfo]
    source: Literal["provider", "cache", "stale", "built_in"]
    """`provider`: asked just now. `cache`: remembered. `stale`: remembered, because asking failed. `built_in`: part of
    the program."""
    fetched_at: str
    """When the provider was asked, ISO 8601 in UTC."""
    catalogue_refreshed_at: str | msgspec.UnsetType = msgspec.UNSET
    """When the catalogue was last refreshed, ISO 8601 in UTC; absent if never."""
    next_offset: int | msgspec.UnsetType = msgspec.UNSET
    """More models follow: send the request again with this `offset`."""
    warnings: list[Warn] = []


class UsageGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The attempts of one group: sums, and the latencies of those that succeeded. Null: nothing is known."""

    group: dict[str, str | None]
    """The values that the attempts share, keyed by the words of `by`; empty for `totals`."""
    requests: int
    """All attempts, retries and failures included."""
    succeeded: int
    """Attempts that ended with `done`."""
    success_rate: float | None
    """`succeeded` as a share of `requests`, 0 to 1."""
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
    """The sum of the known costs: US dollars as a decimal string."""
    unpriced: int
    """Attempts whose cost is unknown, and which the sum leaves out."""
    saved_usd: str | msgspec.UnsetType = msgspec.UNSET
    """What reused answers cost when they were given: US dollars as a decimal string. Absent if there are none."""


class UsageTable(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `usage_report`."""

    rows: list[UsageGroup]
    """At most 1000."""
    totals: UsageGroup
    """All rows together."""
    since: str | None
    until: str | None
    truncated: bool
    """Whether there are more rows."""
    next_offset: int | msgspec.UnsetType = msgspec.UNSET
    """More of these rows follow: send the request again with this `offset`."""


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds since the sidecar read the request line."""

    headers_ms: int | None = None
    first_chunk_ms: int | None = None
    total_ms: int


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One attempt to get an answer from one provider."""

    provider: str
    model: str
    code: str | None = None
    """The error code that it ended with; absent if it succeeded."""
    provider_status: int | None = None
    wait_ms: int | None = None
    """How long the next attempt waited."""
    ms: int | None = None
    """How long it took."""
    usage: Usage | None = None
    cost: dict[str, Any] | None = None


class Structured(msgspec.Struct, frozen=True, kw_only=True):
    """The answer's text as the JSON that `response_format` asked for. The text itself is unchanged."""

    valid: bool | None
    """Whether there is JSON and, if a schema was given, whether it conforms to that. Null: it could not be checked
    with bounded work, and `error` says why."""
    value: Any
    """The JSON, extracted from fences and prose; null if there is none, or if it has an integer beyond 2^53."""
    error: str | None
    """The first problem, as `path: problem`; the path begins with `$`."""
    native: bool
    """Whether the provider has a field for the format. If false, the sidecar asked for it in words."""


class Done(msgspec.Struct, frozen=True, tag_field="type", tag="done", kw_only=True):
    """The end of an answer, as the provider itself reported it."""

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
    message_omitted: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    """The line would be longer than the host's `max_line_bytes`: `message` is empty, and `structured.value` null."""
    structured: Structured | msgspec.UnsetType = msgspec.UNSET
    """Present only if `response_format` asked for JSON and the answer has text."""
    code: CodeResult | msgspec.UnsetType = msgspec.UNSET
    """Present only if `output` asked for code."""
    code_omitted: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    """As `message_omitted`: `code` is absent."""
    files: list[FileResult] | msgspec.UnsetType = msgspec.UNSET
    """Present only if `output` asked for files: a row for each path, in the order in which they came first."""
    files_omitted: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    """As `message_omitted`: no row has its `content`, and if that does not help, there are no rows."""
    route: Routed | msgspec.UnsetType = msgspec.UNSET
    """As in `start`."""
    rounds: list[Round] | msgspec.UnsetType = msgspec.UNSET
    """Present only with `tool_loop`, like `messages`: the answers in the stream. `usage` and `cost` are their sums."""
    messages: list[Message] | msgspec.UnsetType = msgspec.UNSET
    """All new messages in order, ready to append: those of the model, and the results in between."""
    messages_omitted: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    """As `message_omitted`: `messages` is empty."""
    shortened: Shortened | msgspec.UnsetType = msgspec.UNSET
    """As in `start`."""
    reused: Reused | msgspec.UnsetType = msgspec.UNSET
    """As in `start`."""
    original: Original | msgspec.UnsetType = msgspec.UNSET
    """With `reused`: what the answer used and cost when it was given."""


Files = FileStart | FileChunk | FileEnd | CommandChunk
AnswerChunk = Start | Content | Reasoning | ToolCallDelta | ToolCallChunk | CitationChunk | Status | Files | ToolRound
"""The chunks of an answer before its end."""

Chunk = AnswerChunk | Done


class Streamed(msgspec.Struct, frozen=True):
    """One line of a stream."""

    id: ReplyId
    success: Literal[True]
    streaming: Literal[True]
    seq: int
    data: Chunk


class Reply(msgspec.Struct, frozen=True):
    """The only reply line of a unary action."""

    id: ReplyId
    success: Literal[True]
    data: Any


class Failed(msgspec.Struct, frozen=True):
    """The terminal line of a request that failed, at once or in the middle of its stream."""

    id: ReplyId
    success: Literal[False]
    error: ErrorBody


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An unsolicited line, sent only to hosts that asked for it in `initialize`."""

    event: Literal["warning"]
    data: Warn
