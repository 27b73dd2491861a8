"""The chunks of Chat Completions, in the shapes of OpenAI and of its imitations. [pure]

A field that the imitations fill with different types is `Any`, and is checked where it is used.
Sources: openai 3.52.0 (`types/chat/chat_completion_chunk.py`), openrouter 1.3.84, groq 1.7.0,
mistralai 3.7.0, read 2026-11.
"""

from typing import Any

import msgspec

from sidecar.core.json_values import read_text


class Function(msgspec.Struct, gc=False):
    """The name and the arguments of a call, whole or a fragment."""

    name: Any = None
    arguments: Any = None
    thought_signature: Any = None


class CallDelta(msgspec.Struct, gc=False):
    """A fragment of a tool call."""

    index: Any = None
    id: Any = None
    type: Any = None
    function: Function | None = None
    extra_content: Any = None


class Delta(msgspec.Struct, gc=False):
    """A fragment of the message, or all of it."""

    content: Any = None
    tool_calls: list[CallDelta | None] | None = None
    reasoning: Any = None
    reasoning_content: Any = None
    reasoning_text: Any = None
    reasoning_opaque: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    annotations: Any = None
    function_call: Function | None = None


class Choice(msgspec.Struct, gc=False):
    """One of the answers."""

    index: Any = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: Any = None
    error: Any = None


class ChatChunk(msgspec.Struct, gc=False):
    """One event of a stream, or a whole completion."""

    choices: list[Choice | None] | None = None
    usage: Any = None
    error: Any = None
    id: Any = None
    model: Any = None
    object: Any = None
    citations: Any = None


chunk_reader = msgspec.json.Decoder(ChatChunk)


def list_extensions(document: object) -> list[dict[str, Any]]:
    """Return the objects in the `x_…` fields of a chunk, which hold what Chat Completions has no field for."""
    fields = document.items() if isinstance(document, dict) else ()
    return [value for name, value in fields if name.startswith("x_") and isinstance(value, dict)]


def join_text(value: object) -> str:
    """Return the text of a list of text parts, or of a string."""
    if isinstance(value, list):
        return "".join(read_text(part.get("text")) for part in value if isinstance(part, dict))
    return read_text(value)


def holds_only_text(delta: Delta, choice: Choice, chunk: ChatChunk) -> bool:
    """Return whether a chunk is the ordinary one: some text, and nothing else."""
    return (
        type(delta.content) is str
        and delta.content != ""
        and choice.finish_reason is None
        and chunk.usage is None
        and chunk.error is None
        and chunk.citations is None
        and not (
            delta.tool_calls
            or delta.reasoning
            or delta.reasoning_content
            or delta.reasoning_text
            or delta.reasoning_opaque
            or delta.reasoning_details
            or delta.refusal
            or delta.annotations
            or delta.function_call
            or choice.error
        )
    )
