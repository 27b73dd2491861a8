"""A sink that keeps what it is sent, and the terminal chunk of an answer that nobody gave."""

from collections.abc import Iterable, Sequence
from typing import Any

from protocol.files import FileChunk, FileEnd
from protocol.messages import FinishReason, Message
from protocol.replies import Chunk, Content, Done, Status, Timings


class Collector:
    """Keeps everything."""

    full = False

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.done: Done | None = None

    def send(self, chunks: Sequence[Chunk]) -> None:
        """Keep *chunks*."""
        self.chunks += chunks

    def send_status(self, status: Status) -> None:
        """Keep *status*."""
        self.chunks.append(status)

    async def wait_for_room(self) -> None:
        """Return at once."""

    def finish(self, done: Done) -> None:
        """Keep *done*."""
        assert self.done is None
        self.done = done

    @property
    def prose(self) -> str:
        """The text beside the files."""
        return "".join(chunk.content for chunk in self.chunks if isinstance(chunk, Content))

    def text_of(self, file: int) -> str:
        """Return what the chunks of a file carry."""
        return "".join(each.content for each in self.chunks if isinstance(each, FileChunk) and each.file == file)

    @property
    def ends(self) -> list[FileEnd]:
        """The ends of files."""
        return [chunk for chunk in self.chunks if isinstance(chunk, FileEnd)]


def make_done(text: str = "", finish_reason: FinishReason = "stop", **fields: Any) -> Done:
    """Return the end of an answer."""
    return Done(
        finish_reason=finish_reason,
        provider_finish_reason=None,
        usage=None,
        cost={"usd": None, "reason": "usage_unknown"},
        message=Message(role="assistant", content=text),
        provider="p",
        model="m",
        request_id=None,
        attempts=[],
        timings=Timings(total_ms=1),
        **fields,
    )


def cut_at(text: str, size: int) -> Iterable[Content]:
    """Return *text* in chunks of *size* characters."""
    return (Content(text[at : at + size]) for at in range(0, len(text), size))
