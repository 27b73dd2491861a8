"""What passes between a wire and the path around it. [pure]"""

from typing import Any, Literal, Protocol

import msgspec

from protocol.messages import FinishReason, Message, Usage
from protocol.replies import Chunk, Warn
from protocol.requests import Chat
from sidecar.codecs.frame import Frame
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """Where a provider departs from the wire it speaks: columns of its table, each with the usual default."""

    done_marker: bool = True
    """The stream ends in `[DONE]`, so that one without it was cut. False: a finish reason is the end. Default: true."""
    usage_option: bool = True
    """`stream_options.include_usage` is understood. Default: true."""
    obfuscation_option: bool = False
    """Deltas are padded unless `stream_options.include_obfuscation` is false. Default: false."""
    max_tokens_field: str = "max_completion_tokens"
    """Name of the output limit. Default: `max_completion_tokens`."""
    seed_field: str = "seed"
    """Name of the seed, empty where there is none. Default: `seed`."""
    system_role: str = "system"
    """Role of system messages. Default: `system`."""
    tool_ids: Literal["any", "nine"] = "any"
    """The ids of tool calls that are taken: any, or nine letters and digits. Default: `any`."""
    user_after_results: bool = True
    """A user's message may follow the results of tools. False: the assistant's word stands between. Default: true."""
    json_schema: bool = True
    """`response_format` takes a JSON Schema. False: the schema goes into the system text. Default: true."""
    cache_option: Literal["", "cache_control", "gateway"] = ""
    """What asks for the prompt to be cached: a top-level `cache_control`, or `caching` among `providerOptions.gateway`.
    Default: nothing, it is cached or not."""
    reasoning_option: Literal["reasoning_effort", "reasoning", "thinking", ""] = "reasoning_effort"
    """How reasoning is asked for: an effort, an object `reasoning`, a switch `thinking`, or not at all.
    Default: `reasoning_effort`."""
    reasoning_format: bool = False
    """Readable reasoning stands in a field of its own only when `reasoning_format` is `parsed`. Default: false."""
    reasoning_echo: Literal[
        "", "reasoning", "reasoning_content", "reasoning_text", "reasoning_details", "thinking_parts"
    ] = ""
    """The field of assistant messages in which the provider wants its reasoning back: `reasoning_content` in the
    turn under way only, `reasoning_text` beside `reasoning_opaque`, `thinking_parts` in `content`. Default: none."""
    version_in_body: str = ""
    """The Messages API's version, where the body carries it and the address the model. Default: neither does."""
    reasoning_outside_output: bool = False
    """`completion_tokens` leaves out the reasoning, where no `total_tokens` tells. Default: false."""
    cost_field: str = ""
    """Where, beside the usage, it is said what the request cost: a field, a point, and a field within. Default: if at
    all, it is said in the usage."""
    cost_unit_usd: str = "1"
    """What one of that is in US dollars. Default: 1."""


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model; an absent fact is unknown, never no."""

    context_length: int | None = None
    max_output: int | None = None
    refuses: frozenset[str] = frozenset()
    """Options that the model answers with an error: `temperature`, `top_p`, `stop`, `seed`, `tools`, `images`…"""
    structured: bool | None = None
    """Whether it answers in JSON of a given schema."""
    sampling: bool | None = None
    """Whether it takes `temperature` and `top_p`."""
    reasoning: bool | None = None
    """Whether it can reason."""
    thinking: str | None = None
    """Which way of asking for reasoning it takes: `adaptive`, `budget` or unknown."""
    efforts: tuple[str, ...] = ()
    """The efforts that it takes; empty: unknown."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where one attempt goes: provider × wire × model."""

    provider: str
    wire: str
    model: str
    base_url: str
    """Without a trailing slash; what the provider's own SDK means by it."""
    path: str | None = None
    """What follows the base address, query included; None: the wire's usual path."""
    quirks: Quirks = Quirks()
    facts: ModelFacts = ModelFacts()
    headers: dict[str, str] = {}
    seed: str = ""
    """Makes the ids of calls that the provider left without one unique to this request."""
    settings: dict[str, Any] = {}
    """The merged table of the provider, for what only some wires and schemes need (region, project, …)."""


class Encoded(msgspec.Struct, frozen=True):
    """An encoded chat and what had to be left out of it."""

    request: HttpRequest
    warnings: list[Warn] = []


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished stream amounted to."""

    finish_reason: FinishReason
    provider_finish_reason: str | None
    usage: Usage | None
    message: Message
    model: str
    """The model that the provider says has answered."""
    request_id: str | None = None
    """The id that the reply itself carries."""
    provider_cost_usd: str | None = None
    """What the provider says the request cost, as a decimal string."""


class Cursor(msgspec.Struct, frozen=True):
    """How far an answer has come that its provider goes on with whoever listens, and can be asked for again."""

    response_id: str
    sequence: int
    """Of the last event."""


class StreamDecoder(Protocol):
    """Frames → chunks, for one stream. Never raises anything but SidecarError."""

    @property
    def finished(self) -> bool:
        """Whether the provider's own terminal marker has come."""

    @property
    def usage(self) -> Usage | None:
        """The usage known so far."""

    def feed(self, frame: Frame, out: list[Chunk]) -> None:
        """Append what *frame* says to *out*.

        Raises: SidecarError for an error inside the stream; what was appended before stays good.
        """

    def build_partial(self) -> Message:
        """Return the assistant message as far as it has come, without calls that are not whole: safe at any time."""

    def end(self, out: list[Chunk]) -> Outcome:
        """Close what is open and return the outcome, at the terminal marker or the end of the stream.

        Raises: SidecarError `stream_interrupted` when the stream ended before its terminal marker.
        """


class Wire(Protocol):
    """The shape of a wire module."""

    CODEC: str

    def encode(self, chat: Chat, route: Route) -> Encoded:
        """Return the request that asks *chat* of *route*."""

    def Decoder(self, route: Route) -> StreamDecoder:  # noqa: N802 - a class seen as a function
        """Return a decoder for one reply."""

    def decode_whole(self, body: bytes, route: Route) -> tuple[StreamDecoder, list[Chunk]]:
        """Return the decoder, at its end, and the chunks of a reply that came as one document."""

    def classify(self, status: int, headers: dict[str, str], body: bytes) -> SidecarError:
        """Return the failure that an HTTP error reply stands for."""


class ContinuingWire(Wire, Protocol):
    """The shape of a wire some of whose answers can be taken up again; their decoders have a `cursor`."""

    def continue_request(self, route: Route, response_id: str, starting_after: int | None) -> HttpRequest:
        """Return the request for the rest of an answer, all of it where *starting_after* is None."""

    def cancel_request(self, route: Route, response_id: str) -> HttpRequest:
        """Return the request that ends an answer that nobody wants."""


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
