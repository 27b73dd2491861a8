"""The `data` of each unary action's reply, where the sidecar builds it as a plain object.

Only the schema needs them at run time; the program's own types are checked against them by tests.
"""

from typing import Any, Literal, NotRequired, TypedDict

from protocol.compare import Compared
from protocol.completion import Completed
from protocol.files import CodeResult, EditOutcome, FileResult
from protocol.logins import Authentication, CredentialSource, Method
from protocol.messages import FinishReason, Message, ToolCall, Usage
from protocol.replies import Attempt, ModelList, Structured, Timings, UsageTable, Warn
from protocol.reuse import Original, Reused
from protocol.routes import Routed
from protocol.tasks import TaskChange, TaskList
from protocol.window import Cleared, Dropped, Shortened


class LineLimits(TypedDict):
    """Limits that a host must observe."""

    max_line_bytes: int
    """The longest request line, in bytes."""
    max_reply_line_bytes: int | None
    """The longest reply line, in bytes, as the host has asked; null: there is no limit."""


class Initialized(TypedDict):
    """The result of `initialize`: what this sidecar is and supports."""

    protocol_version: int
    name: str
    version: str
    """The version of the program, which says nothing about the protocol."""
    actions: list[str]
    providers: list[str]
    wires: list[str]
    """The values of `options.wire`."""
    events: list[str]
    """The values of `initialize.events`."""
    limits: LineLimits


class Pong(TypedDict):
    """The result of `ping`."""

    pong: Literal[True]
    in_flight: int
    """The number of open requests."""


class GateInfo(TypedDict):
    """The gate of one credential whose requests are held up."""

    state: Literal["limited", "open", "half_open"]
    """`limited`: the provider asked to wait, or only a few requests may go through after that. `open`: the provider has
    been failing, and a request that has a fallback goes there. `half_open`: one request may try the provider again."""
    active: int
    """Requests in progress."""
    queued: int
    """Requests that wait."""
    retry_after_ms: NotRequired[int]
    """How much longer the provider has asked to wait."""


class ProviderInfo(TypedDict):
    """A provider, and where its credential would come from; never the credential itself."""

    id: str
    name: str
    wire: str
    """The provider's usual wire. `from_model`: the model's name begins with the wire. `none`: it has no chat."""
    kinds: list[Literal["chat", "completion", "embedding", "rerank"]]
    """The kinds of models that the sidecar can ask it for."""
    ready: bool
    """Whether the sidecar could ask it now, as far as it can tell without asking the provider."""
    auth: str
    """The authorization scheme; `none`: nothing is needed."""
    method: Method | None
    """How a chat would be authorized now; null if there is no credential, or none is needed."""
    credential_source: CredentialSource | None
    """Where the sidecar found the credential; null if there is none."""
    logins: list[Literal["api_key", "device", "existing"]]
    """What a login accepts."""
    env: list[str]
    """The environment variables that may hold a key or an access token; the first one that is set wins."""
    identity_env: list[list[str]]
    """Environment variables that together name a machine identity; one list that is set whole is enough."""
    built_in: bool
    """False for a provider that only the configuration defines."""
    problem: NotRequired[str]
    """Why the credential that was found cannot be used."""
    gates: NotRequired[list[GateInfo]]
    """One entry for each credential whose requests are held up now."""


class ProviderList(TypedDict):
    """The result of `list_providers`."""

    providers: list[ProviderInfo]
    next_offset: NotRequired[int]
    """More providers follow: send the request again with this `offset`."""


class Forgotten(TypedDict):
    """The result of `forget`."""

    forgotten: int
    """How many answers were stored, and are not any more."""


class Cancelled(TypedDict):
    """The result of `cancel`."""

    found: bool
    """False if no request with that id was open; its terminal line is already written."""


class TakenToolResult(TypedDict):
    """The result of `tool_result`."""

    missing: list[str]
    """The calls of the round that have no result yet, in the model's order."""


class ShuttingDown(TypedDict):
    """The result of `shutdown`."""

    shutting_down: Literal[True]


class Cost(TypedDict):
    """The cost of an answer."""

    usd: str | None
    """US dollars as a decimal string; null if unknown, and then `reason` says why."""
    parts: NotRequired[dict[str, str]]
    """The parts of `usd`, by kind of token: US dollars as decimal strings."""
    source: NotRequired[Literal["catalogue", "configuration", "models.dev", "provider", "estimate", "reuse"]]
    """Who states the cost: the catalogue, the user's prices, refreshed prices, the provider's response, or prices and
    the sidecar's own count of tokens. `reuse`: no provider was asked, because the answer was stored."""
    priced_at: NotRequired[str | None]
    """The time whose prices apply, ISO 8601 in UTC; null if the provider states the cost."""
    reason: NotRequired[str]
    """Why `usd` is null."""
    unpriced: NotRequired[int]
    """In an error of `compare`, whose cost is a sum: the attempts whose cost is unknown, and which it leaves out."""
    credits: NotRequired[str]
    """The same cost in the provider's own credits, as a decimal string, if it bills in credits."""


class TokenCount(TypedDict):
    """The result of `count_tokens`."""

    tokens: int
    exact: bool
    """Whether `tokens` is what the provider counts or, for a `text`, what the text has."""
    method: Literal["provider", "vocabulary", "estimate", "bytes"]
    """What counted: the provider, the model's own vocabulary, a similar one times a factor, or the size in bytes."""
    basis: NotRequired[str]
    """The vocabulary and the factor, for people; absent if the provider counted everything."""
    error_band_pct: NotRequired[int]
    """How far off `tokens` may be, in percent, up or down; absent if `exact` is true."""
    cached: NotRequired[Literal[True]]
    """The provider has counted the same prompt before and was not asked again."""
    warnings: list[Warn]


class FitPlan(TypedDict):
    """The result of `fit`: what to leave out of a conversation. Nothing has been left out yet."""

    fits: bool | None
    """Whether it fits as it is; null if the limit is unknown."""
    tokens: int
    """The tokens of the prompt."""
    limit: int | None
    """The most tokens of the prompt, apart from those that are kept free for the answer."""
    error_band_pct: int
    """How far off `tokens` may be, in percent, up or down."""
    drop: list[Dropped]
    """The messages to drop, in order."""
    clear_tool_results: list[Cleared]
    """The tool results whose content to replace by a short note, in order."""
    tokens_after: int
    """The tokens of what is left."""
    fits_after: bool | None
    """Whether that fits. False: what must be kept is too long by itself."""
    cache_lost_from: int | None
    """The first message whose tokens the provider can no longer read from its cache of the prompt."""
    warnings: list[Warn]


class Answer(TypedDict):
    """The result of `generate`: the fields of `done`, with text, reasoning and tool calls taken from the message."""

    content: str
    """All text."""
    reasoning: str
    """All readable reasoning; empty if there is none."""
    tool_calls: list[ToolCall]
    finish_reason: FinishReason
    provider_finish_reason: str | None
    usage: Usage | None
    cost: Cost
    message: Message
    provider: str
    model: str
    request_id: str | None
    attempts: list[Attempt]
    timings: Timings
    warnings: list[Warn]
    message_omitted: NotRequired[Literal[True]]
    """As in `done`."""
    structured: NotRequired[Structured]
    """Present only if `response_format` asked for JSON and the answer has text."""
    code: NotRequired[CodeResult]
    """Present only if `output` asked for code."""
    code_omitted: NotRequired[Literal[True]]
    files: NotRequired[list[FileResult]]
    """Present only if `output` asked for files."""
    files_omitted: NotRequired[Literal[True]]
    route: NotRequired[Routed]
    """Present only if the model was `auto`."""
    shortened: NotRequired[Shortened]
    """As in `done`."""
    reused: NotRequired[Reused]
    """Present only if this is a stored answer."""
    original: NotRequired[Original]
    """With `reused`: what the answer used and cost when it was given."""


class Ranked(TypedDict):
    """One document."""

    index: int
    """Its place in `documents`."""
    score: float
    """How well it fits, as the provider writes it. Scores of different models have nothing in common."""


class RerankUsage(TypedDict):
    """What a rerank is billed by. A count that was not reported is null, never 0."""

    input_tokens: int | None
    search_units: int | None
    """One for a query with up to 100 documents, at providers that count so."""
    estimated: NotRequired[Literal[True]]
    """The provider reports nothing: `search_units` is what it counts by its own rule."""


class Reranked(TypedDict):
    """The result of `rerank`."""

    results: list[Ranked]
    """The best first."""
    usage: RerankUsage
    cost: Cost
    provider: str
    model: str
    """The model that answered, as the provider names it."""
    warnings: list[Warn]


ANSWERS: dict[str, Any] = {
    "initialize": Initialized,
    "ping": Pong,
    "list_providers": ProviderList,
    "list_models": ModelList,
    "generate": Answer,
    "compare": Compared,
    "complete": Completed,
    "count_tokens": TokenCount,
    "fit": FitPlan,
    "rerank": Reranked,
    "calculate_cost": Cost,
    "apply_edit": EditOutcome,
    "list_tasks": TaskList,
    "set_task": TaskChange,
    "authenticate": Authentication,
    "usage_report": UsageTable,
    "tool_result": TakenToolResult,
    "forget": Forgotten,
    "cancel": Cancelled,
    "shutdown": ShuttingDown,
}
"""The `data` of each unary action."""
