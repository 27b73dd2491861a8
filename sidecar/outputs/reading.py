"""What `options.output` asks for, read out of an answer while it streams.

Knows which requests make no sense. Must not know how an answer comes about.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from protocol.outputs import CodeOutput, FilesOutput, Output, TextOutput
from protocol.requests import Chat, ResumeChat
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.formats import paths
from sidecar.outputs.code import CodeSink
from sidecar.outputs.files import FileSink
from sidecar.outputs.instructions import add_instructions
from sidecar.outputs.sink import Sink

_PARAM = "params.options.output"


@asynccontextmanager
async def read_output(
    chat: Chat, output: CodeOutput | FilesOutput, sink: Sink, earlier_text: str
) -> AsyncIterator[tuple[Chat, Sink]]:
    """Give the chat to ask and the sink for its answer, which began with *earlier_text*.

    Every file ends before *sink* gets the terminal chunk, and before a failure is passed on.

    Raises: SidecarError `invalid_request` for an output that contradicts itself or the rest of the request.
    """
    check_output(chat, output)
    reader: CodeSink | FileSink
    if isinstance(output, FilesOutput):
        chat, nonce = add_instructions(chat, output)
        reader = FileSink(output, sink, nonce=nonce, earlier_text=earlier_text, stops=bool(chat.options.stop))
    else:
        # With a cursor the provider tells the whole answer again.
        is_whole = isinstance(chat, ResumeChat) and chat.method == "cursor"
        reader = CodeSink(output, sink, earlier_text="" if is_whole else earlier_text)
    try:
        yield chat, reader
    except SidecarError:
        if not reader.has_answer:
            await reader.end()
            raise
        # The answer is complete; what failed is the end of its connection.
    except BaseException:
        reader.abandon()
        raise
    await reader.settle()


def check_output(chat: Chat, output: Output) -> None:
    """Refuse an *output* that contradicts itself or the rest of the request.

    Raises: SidecarError `invalid_request`.
    """
    wanted = chat.options.response_format
    if wanted is not None and wanted.type != "text" and not isinstance(output, TextOutput):
        text = f"`{_PARAM}` and `params.options.response_format` contradict each other. Leave one of them out."
        raise invalid_request(text, _PARAM)
    if isinstance(output, FilesOutput):
        if output.instruct and output.format not in ("auto", "blocks"):
            text = f"`{_PARAM}.instruct` teaches the format `blocks`: set `format` to it, or leave `instruct` out."
            raise invalid_request(text, f"{_PARAM}.instruct")
        _check_paths(output.existing)


def _check_paths(existing: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for path in existing:
        cleaned, refusal = paths.clean_path(path)
        if refusal:
            text = f"`{_PARAM}.existing` has a path that is no relative path below a folder ({refusal})."
            raise invalid_request(text, f"{_PARAM}.existing")
        if cleaned in seen:
            raise invalid_request(f"`{_PARAM}.existing` has a path twice.", f"{_PARAM}.existing")
        seen.add(cleaned)
