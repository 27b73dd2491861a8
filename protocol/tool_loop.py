"""A chat that continues with the results of its tools: `options.tool_loop`, the chunk `tool_round`, `tool_result`."""

from typing import Annotated, Any, Literal

import msgspec

from protocol.messages import FilePart, FinishReason, ImagePart, Message, TextPart, Usage
from protocol.values import Id, TimeoutMs

MAX_ROUNDS = 100


class ToolLoop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Wait for the results of the model's calls and continue in the same stream. The sidecar runs no tool."""

    max_rounds: Annotated[int, msgspec.Meta(ge=1, le=MAX_ROUNDS)] = 8
    """The most rounds, in each of which the model is asked once."""
    result_timeout_ms: TimeoutMs = 600_000
    """How long the results of one round may take."""


class ToolRound(msgspec.Struct, frozen=True, tag_field="type", tag="tool_round", kw_only=True):
    """The model waits for the results of its calls, which the host sends with `tool_result`."""

    round: int
    """Counts from 1."""
    calls: list[str]
    """The ids of the calls."""
    message: Message
    """The assistant message of the round. With it a host can continue by itself if the stream breaks off."""
    message_omitted: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    """The line would be longer than the host's `max_line_bytes`: `message` is empty."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `done.rounds`: one answer of the model."""

    finish_reason: FinishReason
    provider: str
    model: str
    request_id: str | None
    usage: Usage | None
    cost: dict[str, Any]


class ToolResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The result of the call with this `id`."""

    id: Annotated[str, msgspec.Meta(max_length=512)]
    content: str | list[TextPart | ImagePart | FilePart] = ""
    is_error: bool = False


class SendToolResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Results for a request that waits for them: all at once, or each as it comes."""

    id: Id
    """The id of that request."""
    results: Annotated[list[ToolResult], msgspec.Meta(max_length=10_000)] = []
    stop: bool = False
    """End the stream with `done` instead of asking the model again."""
