"""The files of an answer: a sink that takes them out of the text on its way to another sink.

Knows when an answer begins, ends and breaks off. Must not know how files are written (`sidecar.formats`), or who reads
the chunks.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import msgspec

from protocol.files import CommandChunk, FileChunk, FileEnd, FileStart
from protocol.outputs import FilesOutput
from protocol.replies import Chunk, Content, Done, Start, Status
from protocol.tool_loop import ToolRound
from sidecar.formats.apply import Files
from sidecar.formats.events import Closed, Event
from sidecar.outputs.edit_threads import run_in_edit_thread
from sidecar.outputs.sink import Sink
from sidecar.wires.shared.draft import MAX_PIECE_CHARS, cut_pieces

MAX_WORK_CHARS = 64 * 1024
"""The text that is searched for the places of edits in the event loop, for some milliseconds at most. A worker thread
searches longer texts."""

ENDED_BY_MODEL = ("stop", "tool_calls")
"""Finish reasons after which nothing of the text is missing."""


class FileSink:
    """Passes the chunks of an answer on, with its files as chunks of their own."""

    def __init__(
        self, output: FilesOutput, sink: Sink, *, nonce: str | None = None, earlier_text: str = "", stops: bool = False
    ) -> None:
        """Continue an answer that began with *earlier_text*. *stops*: the request has `stop`, which may cut it."""
        self._output = output
        self._sink = sink
        self._nonce = nonce
        self._earlier_text = earlier_text
        self._stops = stops
        self._files = self._make_files()
        self._work_chars = 0
        """The text that was searched in this call."""
        self._waiting: list[Event | Chunk] = []
        """The end of a file whose edits are too much work for the event loop, and everything after it."""
        self._done: Done | None = None
        """The terminal chunk, while it waits for that work."""

    def _make_files(self) -> Files:
        output = self._output
        return Files(output.format, nonce=self._nonce, existing=output.existing, tolerance=output.tolerance)

    @property
    def full(self) -> bool:
        """Whether the producer should wait."""
        return bool(self._waiting) or self._sink.full

    async def wait_for_room(self) -> None:
        """Wait until the edits so far are applied and the sink is no longer full."""
        await self._catch_up()
        if self._sink.full:
            await self._sink.wait_for_room()

    def send_status(self, status: Status) -> None:
        """Pass *status* on."""
        self._sink.send_status(status)

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Take *chunks*, and pass on what they complete."""
        out: list[Chunk] = []
        self._work_chars = 0
        for chunk in chunks:
            if isinstance(chunk, Content):
                self._apply(self._files.read(chunk.content), out)
            elif isinstance(chunk, Start):
                # A new attempt. Nothing of an earlier one was delivered.
                out.append(chunk)
                self._files = self._make_files()
                self._apply(self._read_earlier_text(), out)
            elif isinstance(chunk, ToolRound):
                # The next round begins a new text.
                self._apply([*self._files.read_end(whole=not self._stops), chunk], out)
            else:
                self._apply([chunk], out)
        if out:
            self._sink.send(out)

    def _read_earlier_text(self) -> list[Event]:
        """Return the events of the file in which the earlier text was cut. The files before it are complete."""
        events = self._files.read(self._earlier_text) if self._earlier_text else []
        begun = 0
        for at, event in enumerate(events):
            if isinstance(event, FileStart):
                begun = at
            elif isinstance(event, Closed):
                self._files.apply(event)
                begun = len(events)
        return [event for event in events[begun:] if not isinstance(event, Content)]

    def _apply(self, events: Iterable[Event | Chunk], out: list[Chunk]) -> None:
        """Add the chunks of *events* to *out*, until one is too much work. It waits, with all that follow."""
        for event in events:
            if self._waiting:
                self._waiting.append(event)
            elif isinstance(event, FileChunk | Content) and len(event.content) <= MAX_PIECE_CHARS:
                # Nearly all events.
                out.append(event)
            elif isinstance(event, Closed):
                self._work_chars += self._files.weigh(event)
                if self._work_chars > MAX_WORK_CHARS:
                    self._waiting.append(event)
                else:
                    out.append(self._files.apply(event))
            else:
                out += self._cut_chunk(event)

    def _cut_chunk(self, chunk: Chunk) -> Sequence[Chunk]:
        """Return *chunk*, cut into pieces of the usual length."""
        if isinstance(chunk, FileChunk | Content):
            return [msgspec.structs.replace(chunk, content=piece) for piece in cut_pieces(chunk.content)]
        if isinstance(chunk, CommandChunk) and len(chunk.command) > MAX_PIECE_CHARS:
            return [Content(piece) for piece in cut_pieces(chunk.command)]
        return (chunk,)

    def finish(self, done: Done) -> None:
        """Take *done*, and pass it on with the files once every one of them has ended."""
        out: list[Chunk] = []
        self._work_chars = 0
        whole = done.finish_reason in ENDED_BY_MODEL and not self._stops
        self._apply(self._files.read_end(whole=whole), out)
        self._sink.send(out)
        if self._waiting:
            self._done = done
        else:
            self._sink.finish(self._complete(done))

    def _complete(self, done: Done) -> Done:
        return msgspec.structs.replace(done, files=self._files.rows)

    @property
    def has_answer(self) -> bool:
        """Whether the answer is complete and its terminal chunk still waits here."""
        return self._done is not None

    async def settle(self) -> None:
        """Pass the terminal chunk on, if it still waits here."""
        await self._catch_up()
        if self._done is not None:
            done, self._done = self._done, None
            self._sink.finish(self._complete(done))

    async def end(self) -> None:
        """End the open file of an answer that broke off."""
        await self._catch_up()
        self._waiting = [*self._files.read_end()]
        await self._catch_up()

    def abandon(self) -> None:
        """End the open file at once. Edits that are still being placed count as incomplete."""
        self._done = None
        events = [*self._waiting, *self._files.read_end()]
        self._waiting = []
        self._sink.send([each for event in events for each in self._give_up(event)])

    def _give_up(self, event: Event | Chunk) -> Sequence[Chunk]:
        if not isinstance(event, Closed):
            return self._cut_chunk(event)
        if not event.searches and not event.is_diff:
            return (self._files.apply(event),)
        start = event.start
        return (FileEnd(file=start.file, path=start.path, complete=False, problem="incomplete"),)

    async def _catch_up(self) -> None:
        """Do the waiting work in a worker thread, and send its chunks and those that waited for it."""
        while self._waiting:
            events = [*self._waiting]
            out = await run_in_edit_thread(partial(self._do_work, events))
            del self._waiting[: len(events)]
            self._sink.send(out)

    def _do_work(self, events: Sequence[Event | Chunk]) -> list[Chunk]:
        return [chunk for event in events for chunk in self._work_on(event)]

    def _work_on(self, event: Event | Chunk) -> Iterator[Chunk]:
        if isinstance(event, Closed):
            yield self._files.apply(event)
        else:
            yield from self._cut_chunk(event)
