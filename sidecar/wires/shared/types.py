"""What passes between a wire and its callers. [pure]"""

from typing import Any, Literal, Protocol

import msgspec

from protocol.messages import FinishReason, Message, Usage
from protocol.replies import Chunk, Warn
from protocol.requests import Chat
from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """Where a provider departs from its wire: columns of the provider's table, each with the usual value as default."""

    done_marker: bool = True
    """The stream ends in `[DONE]`, and one without it was cut. False: a finish reason is the end.
    Default: true, but false for a provider at an address that the user or the request sets."""
    usage_option: bool = True
    """The provider understands `stream_options.include_usage`. Default: true."""
    obfuscation_option: bool = False
    """The provider pads its deltas unless `stream_options.include_obfuscation` is false. Default: false."""
    max_tokens_field: str = "max_completion_tokens"
    """The field of the output limit. Default: `max_completion_tokens`."""
    unknown_sampling: bool = False
    """The Messages API is sent `temperature` and `top_p` for a model of which nobody knows whether it takes them.
    Default: false, but true for a provider of the user's own."""
    seed_field: str = "seed"
    """The field of the seed, empty where there is none. Default: `seed`."""
    system_role: str = "system"
    """The role of system messages. Default: `system`."""
    tool_ids: Literal["any", "nine"] = "any"
    """Which ids of tool calls the provider accepts: any, or nine letters and digits. Default: `any`."""
    user_after_results: bool = True
    """A user message may follow tool results. False: an assistant message must stand between. Default: true."""
    json_schema: bool = True
    """`response_format` takes a JSON Schema. False: the schema goes into the system text. Default: true."""
    cache_option: Literal["", "cache_control", "gateway"] = ""
    """What asks the provider to cache the prompt: a top-level `cache_control`, or `providerOptions.gateway.caching`.
    Default: nothing; the provider decides."""
    cache_mark: str = ""
    """The field of a message up to which the prompt is to be cached. Default: none."""
    reasoning_option: Literal["reasoning_effort", "reasoning", "thinking", ""] = "reasoning_effort"
    """What asks for reasoning: an effort, an object `reasoning`, a switch `thinking`, or nothing.
    Default: `reasoning_effort`."""
    reasoning_format: bool = False
    """Readable reasoning has a field of its own only when `reasoning_format` is `parsed`. Default: false."""
    reasoning_echo: Literal[
        "", "reasoning", "reasoning_content", "reasoning_text", "reasoning_details", "thinking_parts"
    ] = ""
    """The field of assistant messages in which the provider wants its reasoning back: `reasoning_content` in the
    current turn only, `reasoning_text` beside `reasoning_opaque`, `thinking_parts` in `content`. Default: none."""
    version_in_body: str = ""
    """The version of the Messages API, where the body carries it and the URL names the model. Default: neither."""
    reasoning_outside_output: bool = False
    """`completion_tokens` excludes the reasoning; counts only where `total_tokens` does not tell. Default: false."""
    cost_field: str = ""
    """The field beside the usage that says what the request cost, as `field.inner_field`. Default: none; if the
    provider says it at all, the usage does."""
    cost_unit_usd: str = "1"
    """One unit of that cost in US dollars. Default: 1."""


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model. An absent fact is unknown, never a no."""

    context_length: int | None = None
    max_output: int | None = None
    refuses: frozenset[str] = frozenset()
    """Options that the model answers with an error: `temperature`, `top_p`, `stop`, `seed`, `tools`, `images`…"""
    structured: bool | None = None
    """Whether the model answers in JSON of a given schema."""
    sampling: bool | None = None
    """Whether the model takes `temperature` and `top_p`."""
    reasoning: bool | None = None
    """Whether the model can reason."""
    thinking: str | None = None
    """Which form of asking for reasoning the model takes: `adaptive`, `budget` or unknown."""
    efforts: tuple[str, ...] = ()
    """The reasoning efforts that the model takes; empty when unknown."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where one attempt goes: provider × wire × model."""

    provider: str
    wire: str
    model: str
    base_url: str
    """Without a trailing slash; means what the provider's own SDK means by it."""
    path: str | None = None
    """What follows the base URL, query included. None: the usual path of the wire."""
    quirks: Quirks = Quirks()
    facts: ModelFacts = ModelFacts()
    headers: dict[str, str] = {}
    seed: str = ""
    """Part of the ids that the sidecar gives to calls without one, so that they are unique to this request."""
    tools: frozenset[str] | None = None
    """The names of the tools that the request declares: a call of another one is no `tool_call`. None: not known, and
    every call is one."""
    settings: dict[str, Any] = {}
    """The provider's merged settings, for what only some wires and schemes need (region, project, …)."""


class Encoded(msgspec.Struct, frozen=True):
    """An encoded chat, with a warning for everything that was left out or changed."""

    request: HttpRequest
    warnings: list[Warn] = []


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a complete reply."""

    finish_reason: FinishReason
    provider_finish_reason: str | None
    usage: Usage | None
    message: Message
    model: str
    """The model that answered, as the provider names it."""
    request_id: str | None = None
    """The id inside the reply."""
    provider_cost_usd: str | None = None
    """What the provider says the request cost, as a decimal string."""


class Cursor(msgspec.Struct, frozen=True):
    """How far a background response has come; the provider can be asked for the rest."""

    response_id: str
    sequence: int
    """The number of the last event."""


class StreamDecoder(Protocol):
    """Frames → chunks, for one stream. It raises nothing but SidecarError."""

    @property
    def finished(self) -> bool:
        """Whether the provider's own terminal marker has come."""

    @property
    def usage(self) -> Usage | None:
        """The usage so far."""

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append the chunks of *frame* to *out*.

        Raises: SidecarError for an error inside the stream; chunks appended before it stay valid.
        """

    def build_partial(self) -> Message:
        """Return the assistant message so far, without calls that are not whole. May be called at any time."""

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome, at the terminal marker or the end of the stream.

        Raises: SidecarError `stream_interrupted` when the stream ended before its terminal marker.
        """


class Wire(Protocol):
    """The shape of a wire module."""

    CODEC: str

    def encode(self, chat: Chat, route: Route) -> Encoded:
        """Return the request that sends *chat* along *route*."""

    def Decoder(self, route: Route) -> StreamDecoder:  # noqa: N802 - a class seen as a function
        """Return a decoder for one reply."""

    def decode_whole(self, body: bytes, route: Route) -> tuple[StreamDecoder, list[Chunk]]:
        """Return a decoder that is ready to `end`, and the chunks of a reply that came as one document."""

    def classify(self, status: int, headers: dict[str, str], body: bytes) -> SidecarError:
        """Return the error of an HTTP error reply."""


class ContinuingWire(Wire, Protocol):
    """The shape of a wire with background responses, which can be resumed; their decoders have a `cursor`."""

    def continue_request(self, route: Route, response_id: str, starting_after: int | None) -> HttpRequest:
        """Return the request for the events after *starting_after*, or for all of them when that is None."""

    def cancel_request(self, route: Route, response_id: str) -> HttpRequest:
        """Return the request that cancels a response."""


class RecoverableWire(Wire, Protocol):
    """The shape of a wire whose errors may have the reasons `no_streaming_tools` and `needs_inference_profile`."""

    PROFILES_PATH: str
    """The path of the provider's list of inference profiles."""

    def make_whole_request(self, request: HttpRequest) -> HttpRequest:
        """Return *request* as one that is answered by one document."""

    def pick_profile(self, document: object, model: str, region: str) -> str | None:
        """Return the id of the inference profile for *model* in *document*, the reply at PROFILES_PATH, or None."""


class TokenCounter(Protocol):
    """The shape of a module of `sidecar.wires.counts`: how a provider is asked for the tokens of a prompt."""

    EXACT: bool
    """Whether it counts the whole prompt. False: it counts the texts alone."""

    def encode_count(self, chat: Chat, route: Route) -> HttpRequest:
        """Return the request that asks how many tokens *chat* has."""

    def decode_count(self, body: bytes) -> int:
        """Return the count in a reply of status 200."""

    def classify(self, status: int, headers: dict[str, str], body: bytes) -> SidecarError:
        """Return the error of an HTTP error reply."""
