"""The vocabulary of a chat: messages, their parts, tools, usage.

Requests, chunks and the modules of the sidecar all use these structs; there is no second,
internal model. Decoding ignores unknown fields.
"""

from typing import Annotated, Any, Literal

import msgspec

PlainText = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*(?!\n)$")]
"""Text that names something (a model, a tool, an address), without NUL characters."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+(?!\n)$")]
MediaType = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[\w.+-]+/[\w.+-]+(?!\n)$")]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Opaque provider state of a part (a signature, encrypted reasoning, an item id).

    It travels as one string, its JSON text: a number beyond 2^53 would not survive in every language.

    It is valid only for the provider and wire that made it. `encode` returns it unchanged to the
    same provider and wire, and the same model if the state is bound to one; elsewhere it drops it.
    """

    provider: str
    wire: str
    model: str = ""
    data: Any = None


class Citation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A source that the model cites. `start` and `end` are offsets in the text part, in characters."""

    url: str | None = None
    title: str | None = None
    cited_text: str | None = None
    document: str | None = None
    start: int | None = None
    end: int | None = None


class TextPart(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="text"
):
    """Text. `refusal` is true if the provider sent it as its refusal."""

    text: str
    refusal: bool = False
    citations: list[Citation] | None = None
    state: str | State | None = None


class ImagePart(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="image"
):
    """An image: base64 `data` with its `media_type`, or a `url` (https, http, or a `data:` URL)."""

    data: str | None = None
    media_type: MediaType | None = None
    url: PlainText | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None


class FilePart(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="file"
):
    """A document: base64 `data` with its `media_type`, or a `url`."""

    data: str | None = None
    media_type: MediaType = "application/pdf"
    url: PlainText | None = None
    name: PlainText | None = None


class ReasoningPart(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="reasoning"
):
    """What the model thought, as far as the provider shows it. `state` carries what it does not show."""

    content: str
    state: str | State | None = None


class ToolCallPart(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="tool_call", kw_only=True
):
    """A call that the model requests."""

    id: Annotated[str, msgspec.Meta(max_length=512)]
    name: Annotated[str, msgspec.Meta(max_length=256)]
    arguments: dict[str, Any] | None = None
    """The parsed arguments, or null if `arguments_text` is not a JSON object, or has an integer beyond 2^53."""
    arguments_text: str | None = None
    """What the model wrote, never altered. In a request it wins over `arguments`."""
    state: str | State | None = None


class ToolResultPart(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="tool_result"
):
    """The result of the tool call with this `id`."""

    id: Annotated[str, msgspec.Meta(max_length=512)]
    content: str | list[TextPart | ImagePart | FilePart] = ""
    is_error: bool = False


class OpaquePart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="opaque", kw_only=True):
    """A block specific to the provider that this protocol has no part for (a server tool, a compaction).

    A host keeps it in its place. The sidecar returns it unchanged to the provider that made it, and to no other.
    """

    kind: str
    state: str | State


Part = TextPart | ImagePart | FilePart | ReasoningPart | ToolCallPart | ToolResultPart | OpaquePart


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One turn. `content` is a string or a list of parts."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[Part]


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A function that the model may call. `parameters` is a JSON Schema of type `object`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[\w.:/-]+(?!\n)$")]
    description: str | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object", "properties": {}})
    strict: bool | None = None


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A whole tool call, as in the chunk `tool_call`."""

    id: str
    name: str
    arguments: dict[str, Any] | None
    arguments_text: str
    arguments_omitted: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    """The line would be longer than the host's `max_line_bytes`: concatenate the `arguments_delta` chunks."""


class Usage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The tokens of one answer, with one meaning for all providers. A count that was not reported is null, never 0."""

    input_tokens: int | None = None
    """All tokens of the prompt, cached or not."""
    output_tokens: int | None = None
    """All tokens of the answer, reasoning included."""
    cache_read_tokens: int | None = None
    """Of `input_tokens`: read from the provider's cache."""
    cache_write_tokens: int | None = None
    """Of `input_tokens`: written to the provider's cache."""
    cache_write_1h_tokens: int | None = None
    """Of `cache_write_tokens`: kept for an hour."""
    reasoning_tokens: int | None = None
    """Of `output_tokens`: reasoning, shown or not."""
    estimated: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    """In an error: `input_tokens` and `output_tokens` are estimates where the provider had not counted them yet."""


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "paused", "error", "other"]
