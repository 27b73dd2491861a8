"""What a host that cancels is told of the files that it knows of."""

import pytest

from protocol.files import FileEnd, FileStart
from protocol.replies import Chunk, Content
from sidecar.outputs.open_files import OpenFiles

START = [FileStart(file=at, path=f"{at}.py", op="create", format="full_content") for at in range(2)]
END = [FileEnd(file=at, path=f"{at}.py", complete=True, lines=1, sha256="0") for at in range(2)]
CHUNKS: list[Chunk] = [Content("a"), START[0], END[0], Content("b"), START[1], END[1], Content("c")]


@pytest.mark.parametrize(
    ("sent_seq", "open_files"), [(None, []), (0, []), (1, [0]), (2, []), (3, []), (4, [1]), (5, []), (6, [])]
)
@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_file_ends_whose_beginning_was_written_and_whose_end_was_not(
    sent_seq: int | None, open_files: list[int], size: int
) -> None:
    files = OpenFiles()
    for first in range(0, len(CHUNKS), size):
        # What was written before does not matter until the host cancels.
        files.note(CHUNKS[first : first + size], first, None if sent_seq is None else min(sent_seq, first - 1))
    ends = files.make_ends(sent_seq)
    assert [(each.file, each.complete, each.problem) for each in ends] == [
        (at, False, "incomplete") for at in open_files
    ]
