"""Reply lines no longer than the host can read: content in smaller pieces, and what it has already left out. [pure]"""

from collections.abc import Iterable, Iterator

import msgspec

from protocol.errors import ErrorBody
from protocol.messages import Citation, Message, ToolCall
from protocol.replies import Chunk, CitationChunk, Content, Done, Reasoning, ToolCallChunk, ToolCallDelta
from sidecar.core.errors import invalid_request

FRAME_BYTES = 6144
"""Room for all that is beside the text of a chunk: the ids of the request and of a tool call, and a tool's name."""

BYTES_PER_CHAR = 6
"""What a character takes at most, as `\\u0000`."""


def fit_chunks(chunks: Iterable[Chunk], max_line_bytes: int) -> Iterator[Chunk]:
    """Yield *chunks* such that no line is longer than *max_line_bytes*, apart from `done`."""
    most_chars = max(1, (max_line_bytes - FRAME_BYTES) // BYTES_PER_CHAR)
    for chunk in chunks:
        match chunk:
            case Content(content=text) | Reasoning(content=text) if len(text) > most_chars:
                yield from (msgspec.structs.replace(chunk, content=piece) for piece in _cut(text, most_chars))
            case ToolCallDelta(arguments_delta=text) if len(text) > most_chars:
                yield from (msgspec.structs.replace(chunk, arguments_delta=piece) for piece in _cut(text, most_chars))
            case ToolCallChunk(tool_call=call) if 2 * len(call.arguments_text) > most_chars:
                yield ToolCallChunk(_shorten_call(call, max_line_bytes))
            case CitationChunk(citation=citation) if is_longer(citation, max_line_bytes - FRAME_BYTES):
                yield CitationChunk(Citation(start=citation.start, end=citation.end))
            case _:
                yield chunk


def fit_answer(data: object, max_line_bytes: int) -> object:
    """Return the *data* of a terminal line, without its message if the line would be longer than *max_line_bytes*.

    Raises: SidecarError `invalid_request` if it would be longer all the same.
    """
    size_bytes = max_line_bytes - FRAME_BYTES
    if not is_longer(data, size_bytes):
        return data
    empty = Message(role="assistant", content=[])
    if isinstance(data, Done):
        structured = data.structured
        if isinstance(structured, msgspec.Struct):
            structured = msgspec.structs.replace(structured, value=None)
        data = msgspec.structs.replace(data, message=empty, message_omitted=True, structured=structured)
    elif isinstance(data, dict) and "message" in data:
        data = data | {"message": empty, "message_omitted": True}
    if is_longer(data, size_bytes):
        text = f"The reply does not fit into `max_line_bytes`, {max_line_bytes} bytes."
        hint = "Send `initialize` with a larger `max_line_bytes`, or use `stream_chat` for an answer."
        raise invalid_request(text, reason="reply_too_long").with_fields(hint=hint)
    return data


def fit_error(body: ErrorBody, max_line_bytes: int) -> ErrorBody:
    """Return *body*, without its partial message if it would be longer than *max_line_bytes*."""
    if not is_longer(body, max_line_bytes - FRAME_BYTES):
        return body
    return msgspec.structs.replace(body, partial_message=None)


def is_longer(value: object, size_bytes: int) -> bool:
    """Whether *value* takes more than *size_bytes* as JSON, with the characters escaped that are not ASCII."""
    encoded = msgspec.json.encode(value)
    # Of what is escaped on top, U+0080 grows most: from two bytes to six.
    return len(encoded) > size_bytes or (not encoded.isascii() and 3 * len(encoded) > size_bytes)


def _cut(text: str, most_chars: int) -> Iterator[str]:
    return (text[start : start + most_chars] for start in range(0, len(text), most_chars))


def _shorten_call(call: ToolCall, max_line_bytes: int) -> ToolCall:
    if not is_longer(call, max_line_bytes - FRAME_BYTES):
        return call
    return msgspec.structs.replace(call, arguments=None, arguments_text="", arguments_omitted=True)
