"""Vectors for texts: what `embed` asks for, and the lines that answer it."""

from typing import Annotated, Any, Literal

import msgspec

from protocol.messages import Usage
from protocol.replies import ReplyId, Status, Warn
from protocol.settings import Settings
from protocol.values import Model, Secret, Text, Url

Purpose = Literal["query", "document", "similarity", "classification", "clustering", "code"]
"""What vectors are for. `code`: a question to which code is the answer."""

VectorEncoding = Literal["float", "f32_base64"]
"""How vectors are written: lists of numbers, or float32, little-endian, in base64."""

MAX_INPUTS = 1_000_000
"""The most texts of one request. The longest line allows fewer as a rule."""


class Embed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Make a vector of each text."""

    model: Model
    inputs: Annotated[list[Text], msgspec.Meta(min_length=1, max_length=MAX_INPUTS)]
    purpose: Purpose | None = None
    """What the vectors are for. Null: the provider's usual."""
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    """The length of the vectors, for models that have several."""
    encoding: VectorEncoding = "float"
    truncate: bool = False
    """Cut a text that is too long, instead of refusing it."""
    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_INPUTS)] = 0
    """How many inputs to skip: `next_offset` of the error of a request that broke off."""
    priority: Literal["interactive", "background"] = "interactive"
    """`background`: let chats go first where the provider's limits make requests wait."""
    api_key: Secret | None = None
    base_url: Url | None = None
    settings: Settings | None = None


class Vectors(msgspec.Struct, frozen=True, tag_field="type", tag="vectors", kw_only=True):
    """The vectors of some inputs that follow each other. The lines are in the order of the inputs."""

    offset: int
    """The number of the first of these inputs in `params.inputs`, from 0."""
    count: int
    """How many vectors there are."""
    dimensions: int
    """The length of each vector, the same for the whole request."""
    encoding: VectorEncoding
    vectors: list[Any]
    """Lists of numbers as the provider wrote them, or strings."""
    truncated: list[int]
    """The numbers, in `params.inputs`, of those of these inputs that were cut."""


class Embedded(msgspec.Struct, frozen=True, tag_field="type", tag="done", kw_only=True):
    """The end of the vectors: every input has one."""

    usage: Usage | None
    """The sum of all requests to the provider."""
    cost: dict[str, Any]
    """The sum of all requests to the provider."""
    batches: int
    """How many requests were answered."""
    dimensions: int | None
    """The length of the vectors; null if `offset` has skipped all inputs."""
    provider: str
    model: str
    """The model that answered, as the provider names it."""
    warnings: list[Warn] = []


EmbedChunk = Vectors | Status | Embedded


class StreamedVectors(msgspec.Struct, frozen=True):
    """One line of the stream of `embed`."""

    id: ReplyId
    success: Literal[True]
    streaming: Literal[True]
    seq: int
    data: EmbedChunk
