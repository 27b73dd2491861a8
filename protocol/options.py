"""How a chat is answered: `params.options`."""

from typing import Annotated, Any, Literal

import msgspec

from protocol.messages import Name, PlainText, Tool
from protocol.outputs import Output
from protocol.reuse import ReuseOptions
from protocol.routes import RouteOptions
from protocol.tool_loop import ToolLoop
from protocol.values import ChainName, Model, Text, TimeoutMs, Usd


class NamedTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Force the tool with this name."""

    name: Name


class ResponseFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The format of the answer's text. `schema` applies to `json_schema`."""

    type: Literal["text", "json", "json_schema"]
    schema: dict[str, Any] | None = None
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}(?!\n)$")] = "answer"
    strict: bool | None = None


class ReasoningOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How much to reason. `include`: false asks for no readable reasoning."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    budget_tokens: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    include: bool | None = None


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The timeouts of the phases, in milliseconds. An absent one keeps its default."""

    connect_ms: TimeoutMs | None = None
    first_byte_ms: TimeoutMs | None = None
    idle_ms: TimeoutMs | None = None
    progress_ms: TimeoutMs | None = None
    """The longest time without content, whatever else the provider sends to show that it is alive."""
    total_ms: TimeoutMs | None = None
    """Limits the whole request, like its `timeout`; the shorter of the two applies."""


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How often to ask the same model in all; 1 never retries."""

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=5)] | None = None


class Hedge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Ask the next of `models` when nothing was delivered in time. The first model that delivers answers."""

    after_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = 1500
    """How long each model has, in milliseconds, before the next one is asked too."""
    models: Annotated[list[Model], msgspec.Meta(min_length=1, max_length=4)]
    """The other models. Each names its provider."""


Overflow = Literal["drop_oldest", "clear_tool_results"]
"""What to leave out of a conversation that is too long: the oldest turns; or first the content of tool results."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How to answer. If a model is known to refuse an option, the sidecar leaves it out, with a warning in `start`."""

    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop: Text | list[Text] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    tools: list[Tool] = []
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    tool_loop: ToolLoop | None = None
    """Wait for the results of the model's calls and continue in the same stream. Only for `stream_chat`."""
    response_format: ResponseFormat | None = None
    output: Output | None = None
    """What to make of the answer's text: code, or files."""
    reasoning: ReasoningOptions | None = None
    cache: Literal["auto", "off"] | None = None
    wire: PlainText | None = None
    timeouts: Timeouts | None = None
    retry: Retry | None = None
    fallbacks: Annotated[list[Model], msgspec.Meta(max_length=8)] | ChainName = []
    """The models to ask next, each naming its provider, when the one before is down or unknown and nothing was
    delivered; or the name of such a list in `[chains]` of the configuration."""
    route: RouteOptions | None = None
    """For `"model": "auto"`: which models to choose from, and how."""
    hedge: Hedge | None = None
    """Other models to ask if this one is slow."""
    reuse: ReuseOptions | None = None
    """Use a stored answer, and store this one."""
    token_limit: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] | None = None
    """Output tokens after which the sidecar itself ends the answer."""
    budget_usd: Usd | None = None
    """US dollars, prompt included, at which the sidecar ends the answer. A prompt that alone costs more is refused."""
    priority: Literal["interactive", "background"] = "interactive"
    """The queue to wait in when a provider's limits make requests wait."""
    overflow: Overflow | None = None
    """What to leave out if the conversation is too long for the model. None: nothing, and the provider refuses it."""
    compact: bool = False
    """Remove trailing blanks and repeated blank lines from texts."""
    provider_options: dict[str, Any] = {}
    """Merged into the provider's request body, key by key at the top level, and sent unchanged."""
