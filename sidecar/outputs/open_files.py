"""The files of an answer that have begun at the host when it cancels the request, so that each gets its end. [pure]

Must not know lines, or why those that wait are dropped.
"""

from collections.abc import Sequence

from protocol.files import FileEnd, FileStart
from protocol.replies import Chunk


class OpenFiles:
    """The lines at which files have begun and ended, by `seq`."""

    def __init__(self) -> None:
        self._began: dict[int, tuple[int, FileStart]] = {}
        """The files whose end may not have been written yet."""
        self._ended: dict[int, int] = {}

    def note(self, chunks: Sequence[Chunk], first_seq: int, sent_seq: int | None) -> None:
        """Note the files that *chunks*, from line *first_seq* on, begin and end; *sent_seq* is the last one written."""
        for seq, chunk in enumerate(chunks, first_seq):
            if isinstance(chunk, FileStart):
                self._forget(sent_seq)
                self._began[chunk.file] = seq, chunk
            elif isinstance(chunk, FileEnd):
                self._ended[chunk.file] = seq

    def _forget(self, sent_seq: int | None) -> None:
        """Forget the files whose end was written."""
        for file in [file for file, seq in self._ended.items() if _is_written(seq, sent_seq)]:
            del self._ended[file], self._began[file]

    def make_ends(self, sent_seq: int | None) -> list[FileEnd]:
        """Return ends for the files that have begun, but not ended, in the lines up to *sent_seq*."""
        self._forget(sent_seq)
        return [
            FileEnd(file=file, path=start.path, complete=False, problem="incomplete")
            for file, (seq, start) in self._began.items()
            if _is_written(seq, sent_seq)
        ]


def _is_written(seq: int, sent_seq: int | None) -> bool:
    return sent_seq is not None and seq <= sent_seq
