"""What a host may send: one JSON object a line, named by `action`."""

from typing import Annotated, Any, Literal

import msgspec

from protocol.errors import ResumeMethod
from protocol.messages import Message, Name, PlainText, Tool, Usage

ACTIONS = (
    "initialize",
    "ping",
    "list_providers",
    "list_models",
    "stream_chat",
    "generate",
    "resume",
    "count_tokens",
    "calculate_cost",
    "authenticate",
    "usage_report",
    "cancel",
    "shutdown",
)

MAX_TIMEOUT_MS = 86_400_000
"""A day: the longest `timeout`."""

Id = (
    Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[^\x00]*(?!\n)$")]
)
TimeoutMs = Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMEOUT_MS)]
Model = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[\x20-\x7e]+(?!\n)$")]
Provider = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+(?!\n)$")]
Secret = Annotated[str, msgspec.Meta(max_length=16384)]
Url = Annotated[str, msgspec.Meta(max_length=2048)]
Text = str
Usd = (
    Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,12})?(?!\n)$")]
    | Annotated[float, msgspec.Meta(ge=0, le=1e9)]
)
"""US dollars, as a decimal string or a number."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The outside of every line. `params` is decoded next, by the action's own struct."""

    id: Id | msgspec.UnsetType = msgspec.UNSET
    action: Annotated[str, msgspec.Meta(max_length=64)]
    provider: Provider | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")
    timeout: TimeoutMs | None = None
    """Milliseconds over everything, queue and retries included."""


class ClientInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The host's own name and version."""

    name: Name
    version: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*(?!\n)$")] = ""


class Initialize(msgspec.Struct, frozen=True, kw_only=True):
    """Optional first request: who the host is and what it wants to hear."""

    protocol_version: int = 1
    client: ClientInfo | None = None
    events: list[Literal["status", "warnings"]] = []
    """`status`: chunks of that type while a chat waits. `warnings`: unsolicited `event` lines."""
    heartbeat_ms: Annotated[int, msgspec.Meta(ge=1000, le=600_000)] = 15_000
    """How long a stream may be silent before a `status` chunk, in milliseconds."""
    strict: bool = False
    """Refuse unknown fields, naming them, in place of ignoring them."""


class Nothing(msgspec.Struct, frozen=True):
    """No parameters."""


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """End the request of that id."""

    id: Id


SettingValue = Annotated[str, msgspec.Meta(max_length=256, pattern=r"^[\x21-\x7e]*(?!\n)$")]


class Deployment(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model under a name of the user's own."""

    base_model: SettingValue | None = None
    """The model's usual name, for what the catalogue knows of it."""


class Settings(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The keys of a provider's table in the configuration, for this request only."""

    api_key: Secret | None = None
    access_token: Secret | None = None
    base_url: Url | None = None
    region: SettingValue | None = None
    project: SettingValue | None = None
    location: SettingValue | None = None
    account_id: SettingValue | None = None
    gateway: SettingValue | None = None
    resource: SettingValue | None = None
    api_version: SettingValue | None = None
    profile: SettingValue | None = None
    domain: SettingValue | None = None
    deployments: dict[str, Deployment] = {}


class ListModels(msgspec.Struct, frozen=True, kw_only=True):
    """The models of a provider, from its own list."""

    refresh: bool = False
    """Ask the provider even when a fresh list is at hand."""
    refresh_catalogue: bool = False
    """Fetch what models.dev knows of models first, and keep it."""
    api_key: Secret | None = None
    base_url: Url | None = None
    settings: Settings | None = None


class Authenticate(msgspec.Struct, frozen=True, kw_only=True):
    """Log in to a provider, say how it is authorized, try that, or log out. `login` is answered by a stream."""

    op: Literal["login", "status", "validate", "logout"]
    api_key: Secret | None = None
    """`login`: the key to store, in place of a login of the provider's own. `validate`: the key to try."""
    existing: bool = False
    """`login`: store the login that another program of the user's has left, as `existing` of `logins` offers it."""


class NamedTool(msgspec.Struct, frozen=True):
    """Force the tool of that name."""

    name: Name


class ResponseFormat(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the answer's text must be; `schema` belongs to `json_schema`."""

    type: Literal["text", "json", "json_schema"]
    schema: dict[str, Any] | None = None
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}(?!\n)$")] = "answer"
    strict: bool | None = None


class ReasoningOptions(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How much to think. `include` false asks for no readable reasoning."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    budget_tokens: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    include: bool | None = None


class Timeouts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Limits of the phases, in milliseconds; a phase that is not named keeps its default."""

    connect_ms: TimeoutMs | None = None
    first_byte_ms: TimeoutMs | None = None
    idle_ms: TimeoutMs | None = None
    progress_ms: TimeoutMs | None = None
    """Without content, whatever else the provider sends to show that it is alive."""
    total_ms: TimeoutMs | None = None
    """Over everything, as the request's `timeout`; the shorter counts."""


class Retry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How often to ask the same provider in all; 1 never asks again."""

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=5)] | None = None


class Options(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How to answer. What a model is known to refuse is left out, with a warning in `start`."""

    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop: Text | list[Text] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    tools: list[Tool] = []
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning: ReasoningOptions | None = None
    cache: Literal["auto", "off"] | None = None
    wire: PlainText | None = None
    timeouts: Timeouts | None = None
    retry: Retry | None = None
    fallbacks: Annotated[list[Model], msgspec.Meta(max_length=8)] | Name = []
    """Models, each naming its provider, to ask in order when the one before is down, before anything was delivered; or
    the name of a chain of the user's configuration."""
    token_limit: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] | None = None
    """Output tokens after which the sidecar ends the answer itself."""
    budget_usd: Usd | None = None
    """US dollars at which it does, and refuses a prompt that alone costs more."""
    priority: Literal["interactive", "background"] = "interactive"
    """The lane to wait in when the provider's limits make requests wait."""
    provider_options: dict[str, Any] = {}
    """Merged into the provider's request body untouched."""


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation to answer."""

    model: Model
    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=100_000)]
    options: Options = Options()
    api_key: Secret | None = None
    base_url: Url | None = None
    settings: Settings | None = None


class ResumeChat(Chat, frozen=True, kw_only=True):
    """A chat whose answer broke off: its own parameters, and from the error what had come and how to go on."""

    method: ResumeMethod
    partial_message: Message | None = None
    """The assistant message so far; not needed with `restart`."""
    response_id: Annotated[str, msgspec.Meta(pattern=r"^[\w.:-]{1,256}$")] | None = None
    starting_after: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None


class CountTokens(msgspec.Struct, frozen=True, kw_only=True):
    """How many tokens a prompt is: either `messages`, with what `options` add to them, or `text` alone."""

    model: Model
    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=100_000)] | None = None
    text: Text | None = None
    options: Options = Options()
    exact: bool = False
    """Have the provider count, where it can."""
    api_key: Secret | None = None
    base_url: Url | None = None
    settings: Settings | None = None


class CalculateCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a usage costs, at a time."""

    model: Model
    usage: Usage
    at: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    """ISO 8601, in UTC where it names no zone; default: now."""
    mode: Literal["batch", "fast", "flex", "priority"] | None = None
    """How it was served, where that has a price of its own."""
    settings: Settings | None = None
    """The place, where that has one."""


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked and what it cost, from the ledger."""

    by: Annotated[
        list[Literal["provider", "model", "kind", "outcome", "code", "finish_reason", "day", "month"]],
        msgspec.Meta(max_length=8),
    ] = []
    """What to group by; nothing: totals alone. Days and months are in UTC."""
    since: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    """A date or a time in ISO 8601, in UTC unless it says otherwise."""
    until: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    """Likewise; that moment itself does not count."""
    provider: Provider | None = None


PARAMS: dict[str, type[msgspec.Struct]] = {
    "initialize": Initialize,
    "ping": Nothing,
    "list_providers": Nothing,
    "list_models": ListModels,
    "stream_chat": Chat,
    "generate": Chat,
    "resume": ResumeChat,
    "count_tokens": CountTokens,
    "calculate_cost": CalculateCost,
    "authenticate": Authenticate,
    "usage_report": UsageReport,
    "cancel": Cancel,
    "shutdown": Nothing,
}
