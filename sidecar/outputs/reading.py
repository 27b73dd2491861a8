"""Reads what `options.output` asks for out of an answer while it streams.

Knows which outputs contradict the rest of a request. Must not know where an answer comes from.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from protocol.outputs import CodeOutput, FilesOutput, Output, TextOutput
from protocol.requests import Chat, ResumeChat
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.formats.apply import clean_paths
from sidecar.outputs.code import CodeSink
from sidecar.outputs.edit_threads import run_in_edit_thread
from sidecar.outputs.files import FileSink
from sidecar.outputs.instructions import add_instructions
from sidecar.outputs.sink import Sink

_PARAM = "params.options.output"

MANY_FILES = 200
"""With more files, a worker thread checks their paths and searches their texts."""


@asynccontextmanager
async def read_output(
    chat: Chat, output: CodeOutput | FilesOutput, sink: Sink, earlier_text: str
) -> AsyncIterator[tuple[Chat, Sink]]:
    """Give the chat to ask and the sink for its answer, which began with *earlier_text*.

    Every file ends before *sink* gets the terminal chunk, and before a failure is passed on.

    Raises: SidecarError `invalid_request` for an output that contradicts itself or the rest of the request.
    """
    check_output(chat, output)
    chat, reader = await _make_reader(chat, output, sink, earlier_text)
    try:
        try:
            yield chat, reader
        except SidecarError:
            if not reader.has_answer:
                await reader.end()
                raise
            # The answer is complete; what failed is the end of its connection.
        await reader.settle()
    except SidecarError:
        raise
    except BaseException:
        reader.abandon()
        raise


def check_output(chat: Chat, output: Output) -> None:
    """Refuse an *output* that contradicts itself or the rest of the request.

    Raises: SidecarError `invalid_request`.
    """
    wanted = chat.options.response_format
    if wanted is not None and wanted.type != "text" and not isinstance(output, TextOutput):
        text = f"`{_PARAM}` and `params.options.response_format` contradict each other. Leave one of them out."
        raise invalid_request(text, _PARAM)
    if isinstance(output, FilesOutput) and output.instruct and output.format not in ("auto", "blocks"):
        text = f"`{_PARAM}.instruct` teaches the format `blocks`: set `format` to it, or leave `instruct` out."
        raise invalid_request(text, f"{_PARAM}.instruct")


async def _make_reader(
    chat: Chat, output: CodeOutput | FilesOutput, sink: Sink, earlier_text: str
) -> tuple[Chat, CodeSink | FileSink]:
    if isinstance(output, CodeOutput):
        # With a cursor the provider sends the whole answer again.
        is_whole = isinstance(chat, ResumeChat) and chat.method == "cursor"
        return chat, CodeSink(output, sink, earlier_text="" if is_whole else earlier_text)
    prepare = partial(_prepare, chat, output)
    is_much = len(output.existing) > MANY_FILES
    chat, cleaned, nonce = await run_in_edit_thread(prepare) if is_much else prepare()
    return chat, FileSink(cleaned, sink, nonce=nonce, earlier_text=earlier_text, stops=bool(chat.options.stop))


def _prepare(chat: Chat, output: FilesOutput) -> tuple[Chat, FilesOutput, str | None]:
    """Return *chat* with instructions, *output* with cleaned paths, and the nonce of the markers.

    Raises: SidecarError `invalid_request` for a path that is refused.
    """
    output = msgspec.structs.replace(output, existing=clean_paths(output.existing, f"{_PARAM}.existing"))
    chat, nonce = add_instructions(chat, output)
    return chat, output, nonce
