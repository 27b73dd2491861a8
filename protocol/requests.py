"""The lines that a host may write: one JSON object per line, with the `action` that it requests."""

from typing import Annotated, Any, Literal

import msgspec

from protocol.completion import Complete
from protocol.embeddings import Embed
from protocol.errors import ResumeMethod
from protocol.files import Tolerance
from protocol.messages import Message, Name, Usage
from protocol.options import Options, Overflow
from protocol.rerank import Rerank
from protocol.reuse import Scope
from protocol.settings import Settings
from protocol.tasks import SetTask, TaskName
from protocol.tool_loop import SendToolResult
from protocol.values import Id, Model, Provider, Secret, Text, TimeoutMs, Url, Usd

ACTIONS = (
    "initialize",
    "ping",
    "list_providers",
    "list_models",
    "stream_chat",
    "generate",
    "resume",
    "compare",
    "complete",
    "stream_complete",
    "count_tokens",
    "fit",
    "embed",
    "rerank",
    "calculate_cost",
    "apply_edit",
    "list_tasks",
    "set_task",
    "authenticate",
    "usage_report",
    "tool_result",
    "forget",
    "cancel",
    "shutdown",
)


MAX_BRANCHES = 16
"""How many models `compare` asks at most."""


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields that all requests share. `params` is decoded next, with the struct of the action."""

    id: Id | msgspec.UnsetType = msgspec.UNSET
    action: Annotated[str, msgspec.Meta(max_length=64)]
    provider: Provider | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")
    timeout: TimeoutMs | None = None
    """Limits the whole request, in milliseconds, queue and retries included."""


class ClientInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The name and version of the host."""

    name: Name
    version: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*(?!\n)$")] = ""


class Initialize(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Optional: who the host is, and which optional lines it wants."""

    protocol_version: int = 1
    client: ClientInfo | None = None
    events: list[Literal["status", "warnings"]] = []
    """`status`: send `status` chunks while a chat waits. `warnings`: send unsolicited `event` lines."""
    heartbeat_ms: Annotated[int, msgspec.Meta(ge=1000, le=600_000)] = 15_000
    """How long a stream may be silent, in milliseconds, before a `status` chunk says what it is waiting for."""
    max_line_bytes: Annotated[int, msgspec.Meta(ge=16384, le=2**31)] | None = None
    """The longest reply line that the host can read; null: any."""
    strict: bool = False
    """Refuse unknown fields, naming the first one, instead of ignoring them."""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """End the request with this `id`."""

    id: Id
    branch: Annotated[int, msgspec.Meta(ge=0, le=MAX_BRANCHES - 1)] | None = None
    """Of a `compare`: end this branch alone."""


Offset = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class ListProviders(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """List the providers."""

    offset: Offset = 0
    """How many to skip: `next_offset` of the page before."""


class ListTasks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """List the tasks."""

    offset: Offset = 0
    """How many to skip: `next_offset` of the page before."""


class ListModels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """List the models of a provider or, as a stream, of all that are ready."""

    offset: Offset = 0
    """How many to skip: `next_offset` of the page before. Only with a provider."""
    refresh: bool = False
    """Ask the provider even if the sidecar has a fresh list."""
    refresh_catalogue: bool = False
    """First fetch what models.dev knows of models, and keep it."""
    api_key: Secret | None = None
    base_url: Url | None = None
    settings: Settings | None = None


class Authenticate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Log in to a provider, report how it is authorized, test its credential, or log out. `login` returns a stream."""

    op: Literal["login", "status", "validate", "logout"]
    api_key: Secret | None = None
    """For `login`: the key to store. For `validate`: the key to test, which is not stored."""
    existing: bool = False
    """For `login`: store the login that another program has left, if `logins` offers `existing`."""
    settings: Settings | None = None
    """With `api_key`: what else the provider needs, such as `resource` or `region`. `login` stores it with the key."""


class Chat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A conversation to answer, a task, or a task that a conversation follows."""

    model: Model = ""
    """Required without a `task`; with one, the task may have a model of its own."""
    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=100_000)] = []
    """Required without a `task`."""
    task: TaskName | None = None
    input: dict[str, Any] = {}
    """The inputs of the task, by name."""
    options: Options = Options()
    api_key: Secret | None = None
    base_url: Url | None = None
    settings: Settings | None = None

    def __post_init__(self) -> None:
        """Refuse a chat that lacks both a task and a required field, in the words of msgspec."""
        if self.task is None:
            _require(model=self.model, messages=self.messages)


def _require(**fields: object) -> None:
    if missing := next((name for name, value in fields.items() if not value), None):
        raise ValueError(f"Object missing required field `{missing}`")


class ResumeChat(Chat, frozen=True, kw_only=True):
    """The parameters of a chat whose answer broke off, with what its error says was received and how to continue."""

    method: ResumeMethod
    partial_message: Message | None = None
    """The assistant message so far. `prefill` and `continue_prompt` need it."""
    response_id: Annotated[str, msgspec.Meta(pattern=r"^[\w.:-]{1,256}$")] | None = None
    """With `cursor`: the provider's id of the answer."""
    starting_after: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    """With `cursor`: the number of the last event received."""


class BranchModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of several models, with what applies to it alone."""

    model: Model
    provider: Provider | None = None
    options: Options = Options()
    """The options of this model. They take precedence over those of the request."""
    api_key: Secret | None = None
    base_url: Url | None = None
    settings: Settings | None = None


class Judge(BranchModel, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The model that says which of several answers is best."""

    criteria: Text | None = None
    """What makes an answer good, in words for the judge."""


class Choose(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one of several answers is chosen."""

    by: Literal["none", "first_valid", "longest", "vote", "judge"] = "none"
    cancel_rest: bool = False
    """Cancel the other branches once the choice is certain. With `first_valid` and `vote`."""
    judge: Judge | None = None


class Compare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A conversation or a task for several models at once."""

    models: Annotated[list[Model | BranchModel], msgspec.Meta(min_length=2, max_length=MAX_BRANCHES)]
    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=100_000)] = []
    """Required without a `task`."""
    task: TaskName | None = None
    input: dict[str, Any] = {}
    """The inputs of the task, by name."""
    options: Options = Options()
    choose: Choose = Choose()
    budget_usd: Usd | None = None
    """US dollars, for all branches and the judge together."""
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=MAX_BRANCHES)] | None = None
    """How many branches are asked at once; by default all."""
    stream: bool = True
    """False: answer in one line."""

    def __post_init__(self) -> None:
        """Refuse a comparison that lacks both a task and messages."""
        if self.task is None:
            _require(messages=self.messages)


class CountTokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Count the tokens of a prompt: `messages` or a `task`, with what `options` add to them, or `text` alone."""

    model: Model = ""
    """Required without a `task`."""
    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=100_000)] | None = None
    task: TaskName | None = None
    input: dict[str, Any] = {}
    """The inputs of the task, by name."""
    text: Text | None = None
    options: Options = Options()
    exact: bool = False
    """Ask the provider to count, if it can."""
    api_key: Secret | None = None
    base_url: Url | None = None
    settings: Settings | None = None

    def __post_init__(self) -> None:
        """Refuse a count that lacks both a task and a model, in the words of msgspec."""
        if self.task is None:
            _require(model=self.model)


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Ask whether a conversation fits into the context window of a model, and what to leave out if it does not."""

    model: Model
    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=100_000)]
    options: Options = Options()
    """As in a chat: tools are part of the prompt, and `max_tokens` is kept free."""
    reserve_output: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] | None = None
    """Tokens to keep free for the answer."""
    keep: list[Literal["system", "first_turn"]] = msgspec.field(default_factory=lambda: ["system"])
    """What is never dropped, besides the user's last message and the newest round of calls and results. Default:
    `system`."""
    strategy: Overflow = "drop_oldest"
    settings: Settings | None = None


class CalculateCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Compute the cost of a usage at a given time."""

    model: Model
    usage: Usage
    at: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    """ISO 8601, in UTC if it names no zone; default: now."""
    mode: Literal["batch", "fast", "flex", "priority"] | None = None
    """The service mode, if it has a price of its own."""
    settings: Settings | None = None
    """The region or location, if it has a price of its own."""


class TextEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Replace `search` by `replace`. Both are whole lines, or `search` is a part of one line."""

    search: Text
    replace: Text


class ApplyEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Apply edits to a text: either `edits` or a `patch`."""

    text: Text
    edits: Annotated[list[TextEdit], msgspec.Meta(min_length=1, max_length=10_000)] | None = None
    patch: Text | None = None
    """The patch of one file, in any format that `output` reads, or hunks alone."""
    tolerance: Tolerance = "elision"
    partial: bool = False
    """Apply the edits that have a place even if others have none."""


class UsageReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Report past requests and their cost, from the ledger."""

    by: Annotated[
        list[Literal["provider", "model", "kind", "action", "outcome", "code", "finish_reason", "day", "month"]],
        msgspec.Meta(max_length=9),
    ] = []
    """What to group by; by default nothing, for `totals` alone. Days and months are in UTC."""
    since: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    """A date or time in ISO 8601, in UTC unless it names a zone."""
    until: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    """The end of the period, exclusive, in the same form."""
    offset: Offset = 0
    """How many rows to skip: `next_offset` of the page before."""
    provider: Provider | None = None
    """Report on this provider only."""


class Forget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Forget the stored answers of one scope."""

    scope: Scope


PARAMS: dict[str, type[msgspec.Struct]] = {
    "initialize": Initialize,
    "ping": Nothing,
    "list_providers": ListProviders,
    "list_models": ListModels,
    "stream_chat": Chat,
    "generate": Chat,
    "resume": ResumeChat,
    "compare": Compare,
    "complete": Complete,
    "stream_complete": Complete,
    "count_tokens": CountTokens,
    "fit": Fit,
    "embed": Embed,
    "rerank": Rerank,
    "calculate_cost": CalculateCost,
    "apply_edit": ApplyEdit,
    "list_tasks": ListTasks,
    "set_task": SetTask,
    "authenticate": Authenticate,
    "usage_report": UsageReport,
    "tool_result": SendToolResult,
    "forget": Forget,
    "cancel": Cancel,
    "shutdown": Nothing,
}
