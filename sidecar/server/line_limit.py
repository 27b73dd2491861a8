"""Reply lines that are no longer than the host can read. [pure]

Content is cut into smaller pieces, and what earlier lines have said is left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice, takewhile
from typing import Any, TypeVar, cast

import msgspec

from protocol.compare import BranchRow, Compared
from protocol.errors import ErrorBody
from protocol.files import CommandChunk, FileChunk, FileEnd, FileStart
from protocol.messages import Citation, Message, ToolCall
from protocol.replies import Chunk, CitationChunk, Content, Done, Reasoning, ToolCallChunk, ToolCallDelta
from protocol.tool_loop import ToolRound
from sidecar.core.errors import SidecarError, invalid_request

_T = TypeVar("_T")

FRAME_BYTES = 6144
"""Room for everything beside the text of a chunk: the ids of the request and of a tool call, and a tool's name."""

PART_BYTES = 48 * 1024
"""The size of the entries in one line of a streamed list, so that hosts can read it that stop at 64 KiB."""

PAGED = ("models", "providers", "rows", "tasks")
"""The lists of answers that may come in pages."""

_EMPTY = Message(role="assistant", content=[])

BYTES_PER_CHAR = 6
"""The most bytes of a character, written as `\\u0000`."""


def fit_chunks(chunks: Iterable[Chunk], max_line_bytes: int) -> Iterator[Chunk]:
    """Yield *chunks* such that no line is longer than *max_line_bytes*, apart from `done`."""
    most_chars = max(1, (max_line_bytes - FRAME_BYTES) // BYTES_PER_CHAR)
    for chunk in chunks:
        match chunk:
            case Content(content=text) | Reasoning(content=text) | FileChunk(content=text) if len(text) > most_chars:
                yield from (msgspec.structs.replace(chunk, content=piece) for piece in _cut(text, most_chars))
            case ToolCallDelta(arguments_delta=text) if len(text) > most_chars:
                yield from (msgspec.structs.replace(chunk, arguments_delta=piece) for piece in _cut(text, most_chars))
            case ToolCallChunk(tool_call=call) if 2 * len(call.arguments_text) > most_chars:
                yield ToolCallChunk(_shorten_call(call, max_line_bytes))
            case CitationChunk(citation=citation) if is_longer(citation, max_line_bytes - FRAME_BYTES):
                yield CitationChunk(Citation(start=citation.start, end=citation.end))
            case CommandChunk(command=text) if len(text) > most_chars:
                yield from (Content(piece) for piece in _cut(text, most_chars))
            case ToolRound() if is_longer(chunk, max_line_bytes - FRAME_BYTES):
                yield msgspec.structs.replace(chunk, message=_EMPTY, message_omitted=True)
            case FileStart() if is_longer(chunk, max_line_bytes - FRAME_BYTES):
                yield msgspec.structs.replace(chunk, purpose=None)
            case FileEnd() if is_longer(chunk, max_line_bytes - FRAME_BYTES):
                yield msgspec.structs.replace(chunk, edits=[], edits_omitted=True)
            case _:
                yield chunk


def fit_answer(data: object, max_line_bytes: int, offset: int = 0) -> object:
    """Return the *data* of a terminal line, without what makes the line longer than *max_line_bytes*.

    What earlier chunks have said is left out first, and the final texts of files last. A list that is too long becomes
    a page, whose `next_offset` counts from *offset*, where the list begins.

    Raises: SidecarError `invalid_request` if the line would still be too long.
    """
    size_bytes = max_line_bytes - FRAME_BYTES
    shortened = data
    steps = (_keep_all, _omit_message, _omit_messages, _omit_code, _omit_texts, _omit_files, _shorten_rows, _bare_rows)
    for omit in steps:
        shortened = omit(shortened)
        if not is_longer(shortened, size_bytes):
            return shortened
    if (name := find_list(data)) is not None:
        return _cut_page(data, name, size_bytes, offset)
    raise _make_too_long_error(max_line_bytes)


def _keep_all(data: object) -> object:
    return data


def _omit_message(data: object) -> object:
    changes: dict[str, Any] = {"message": _EMPTY, "message_omitted": True}
    if isinstance(data, Done) and isinstance(data.structured, msgspec.Struct):
        changes["structured"] = msgspec.structs.replace(data.structured, value=None)
    return _change(data, "message", changes)


def _omit_messages(data: object) -> object:
    return _change(data, "messages", {"messages": [], "messages_omitted": True})


def _omit_code(data: object) -> object:
    return _change(data, "code", {"code": msgspec.UNSET, "code_omitted": True})


def _omit_texts(data: object) -> object:
    rows = _find(data, "files") or []
    bare = [
        # In the answer of `generate` they are plain objects.
        {key: value for key, value in row.items() if key != "content"}
        if isinstance(row, dict)
        else msgspec.structs.replace(row, content=None)
        for row in rows
    ]
    return _change(data, "files", {"files": bare, "files_omitted": True})


def _omit_files(data: object) -> object:
    return _change(data, "files", {"files": [], "files_omitted": True})


def _shorten_rows(data: object) -> object:
    """Return the end of a comparison without attempts, and without messages whose text is also in `content`."""
    if not isinstance(data, Compared):
        return data
    return msgspec.structs.replace(data, branches=[_shorten_row(row) for row in data.branches])


def _bare_rows(data: object) -> object:
    """Return the end of a comparison with only the outcome of each branch: the host has read the rest at its end."""
    if not isinstance(data, Compared):
        return data
    return msgspec.structs.replace(data, branches=[_bare_row(row) for row in data.branches])


def _find(data: object, name: str) -> Any:
    """Return the field *name* of an answer, or None if it has none."""
    value = data.get(name) if isinstance(data, dict) else getattr(data, name, None)
    return None if value is msgspec.UNSET else value


def _change(data: Any, name: str, changes: dict[str, Any]) -> object:
    """Return the answer *data* with *changes*, if it has a field of that *name*."""
    if _find(data, name) is None:
        return data
    if isinstance(data, Done):
        return msgspec.structs.replace(data, **changes)
    return {key: value for key, value in {**data, **changes}.items() if value is not msgspec.UNSET}


def _make_too_long_error(max_line_bytes: int) -> SidecarError:
    text = f"The reply does not fit into `max_line_bytes`, {max_line_bytes} bytes."
    hint = "Send `initialize` with a larger `max_line_bytes`, or use `stream_chat` for an answer."
    return invalid_request(text, reason="reply_too_long").with_fields(hint=hint)


# --- lists -----------------------------------------------------------------------------------


def find_list(data: object) -> str | None:
    """Return the field of *data* that holds a list which may come in pages, or None."""
    fields = data if isinstance(data, dict) else getattr(data, "__struct_fields__", ())
    return next((name for name in PAGED if name in fields), None)


def skip_entries(data: object, offset: int) -> object:
    """Return *data* without the first *offset* entries of its list."""
    name = find_list(data)
    return data if name is None else _replace(data, {name: _get(data, name)[offset:]})


def cut_parts(entries: Sequence[_T], max_line_bytes: int | None) -> Iterator[Sequence[_T]]:
    """Yield *entries* in lists that each fit into a line; one empty list if there are none.

    Raises: SidecarError `invalid_request` if one entry alone does not fit.
    """
    room = PART_BYTES if max_line_bytes is None else min(PART_BYTES, max_line_bytes - FRAME_BYTES)
    at = 0
    while True:
        count = _count_fitting(islice(entries, at, None), room)
        if not count and at < len(entries):
            if max_line_bytes is not None:
                raise _make_too_long_error(max_line_bytes)
            count = 1
        yield entries[at : at + count]
        at += count
        if at >= len(entries):
            return


def _cut_page(data: object, name: str, size_bytes: int, offset: int) -> object:
    entries = _get(data, name)
    empty = _replace(data, {name: [], "next_offset": offset + len(entries)})
    count = _count_fitting(entries, size_bytes - _count_bytes(empty))
    if not count:
        raise _make_too_long_error(size_bytes + FRAME_BYTES)
    return _replace(data, {name: entries[:count], "next_offset": offset + count})


def _count_fitting(entries: Iterable[object], room_bytes: int) -> int:
    """Return how many of *entries*, from the first, take no more than *room_bytes*."""
    sizes = (_count_bytes(entry) + 1 for entry in entries)
    return sum(1 for _ in takewhile(lambda total: total <= room_bytes, accumulate(sizes)))


def _get(data: Any, name: str) -> Any:
    return data[name] if isinstance(data, dict) else getattr(data, name)


def _replace(data: Any, fields: dict[str, Any]) -> object:
    return data | fields if isinstance(data, dict) else msgspec.structs.replace(data, **fields)


def fit_error(body: ErrorBody, max_line_bytes: int) -> ErrorBody:
    """Return *body*; if longer than *max_line_bytes*, without its partial message and with bare rows of branches."""
    if not is_longer(body, max_line_bytes - FRAME_BYTES):
        return body
    rows = body.branches and [_bare_row(row) for row in body.branches]
    return msgspec.structs.replace(body, partial_message=None, branches=rows)


def is_longer(value: object, size_bytes: int) -> bool:
    """Return whether *value* may take more than *size_bytes* in a line."""
    return _count_bytes(value) > size_bytes


def _count_bytes(value: object) -> int:
    """Return the most bytes of *value* in a line, where some characters beyond ASCII are escaped."""
    encoded = msgspec.json.encode(value)
    # U+0080 grows most when it is escaped: from two bytes to six.
    return len(encoded) * (1 if encoded.isascii() else 3)


def _cut(text: str, most_chars: int) -> Iterator[str]:
    return (text[start : start + most_chars] for start in range(0, len(text), most_chars))


def _shorten_row(row: BranchRow) -> BranchRow:
    """Return *row* without attempts, and without a message whose text is also in `content`."""
    answer = row.answer and cast("dict[str, Any]", _omit_message(row.answer)) | {"attempts": []}
    return msgspec.structs.replace(row, attempts=[], answer=answer)


def _bare_row(row: BranchRow) -> BranchRow:
    known = row.error
    error = known and ErrorBody(
        code=known.code, message="", retryable=known.retryable, reason=known.reason, partial=known.partial
    )
    return msgspec.structs.replace(_shorten_row(row), error=error, timings=None, usage=None)


def _shorten_call(call: ToolCall, max_line_bytes: int) -> ToolCall:
    if not is_longer(call, max_line_bytes - FRAME_BYTES):
        return call
    return msgspec.structs.replace(call, arguments=None, arguments_text="", arguments_omitted=True)
