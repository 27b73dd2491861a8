"""The code of an answer: a sink that adds it to the terminal chunk.

Must not know Markdown (`sidecar.formats.code`), or who reads the chunks.
"""

from collections.abc import Sequence
from functools import partial

import msgspec

from protocol.outputs import CodeOutput
from protocol.replies import Chunk, Done
from sidecar.core.message_content import join_texts
from sidecar.formats.code import extract_code
from sidecar.outputs.edit_threads import run_in_edit_thread
from sidecar.outputs.sink import Sink

LONG_CHARS = 64 * 1024
"""A longer text is read in a worker thread."""


class CodeSink:
    """Passes the chunks of an answer on, and adds its code to the last one."""

    def __init__(self, output: CodeOutput, sink: Sink, *, earlier_text: str = "") -> None:
        """Read the code of an answer that began with *earlier_text*."""
        self._language = output.language
        self._sink = sink
        self._earlier_text = earlier_text
        self._done: Done | None = None
        """The terminal chunk, while it waits for a worker thread."""
        self.wait_for_room = sink.wait_for_room
        self.send_status = sink.send_status

    @property
    def full(self) -> bool:
        """Whether the producer should wait."""
        return self._sink.full

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Pass *chunks* on."""
        self._sink.send(chunks)

    def finish(self, done: Done) -> None:
        """Take *done*, and pass it on with the code."""
        text = self._read_text(done)
        if len(text) > LONG_CHARS:
            self._done = done
        else:
            self._sink.finish(msgspec.structs.replace(done, code=extract_code(text, self._language)))

    @property
    def has_answer(self) -> bool:
        """Whether the answer is complete and its terminal chunk still waits here."""
        return self._done is not None

    async def settle(self) -> None:
        """Pass the terminal chunk on, if it still waits here."""
        if self._done is not None:
            text = self._read_text(self._done)
            code = await run_in_edit_thread(partial(extract_code, text, self._language))
            self._sink.finish(msgspec.structs.replace(self._done, code=code))

    def _read_text(self, done: Done) -> str:
        return self._earlier_text + join_texts(done.message)

    async def end(self) -> None:
        """Do nothing: an answer that broke off has no code."""

    def abandon(self) -> None:
        """Do nothing: see `end`."""
