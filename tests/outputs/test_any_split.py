"""However an answer is cut and however it ends, each file that begins ends once, with the same text."""

from typing import get_args

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.files import FileChunk, FileEnd, FileStart, FormatName
from protocol.messages import Message
from protocol.outputs import FilesOutput
from protocol.replies import Chunk, Content, Reasoning, Start
from protocol.tool_loop import ToolRound
from sidecar.outputs.files import FileSink
from tests.formats.lexing import NONCE, cut
from tests.outputs.collecting import Collector, make_done

pytestmark = pytest.mark.long

EXISTING = {"a.py": "x = 1\ny = 2\n", "b/c.py": "".join(f"line {at}\n" for at in range(8000))}
"""The second is so long that a worker thread places the edits."""

FRAGMENTS = (
    *(f"<<<< file {NONCE} a.py\n", f">>>> file {NONCE}\n", f"<<<< edit {NONCE} b/c.py\n", f">>>> edit {NONCE}\n"),
    *(f"<<<< search {NONCE}\n", f"==== {NONCE}\n", f">>>> search {NONCE}\n", f"<<<< run {NONCE} make\n"),
    *("b/c.py\n", "<<<<<<< SEARCH\n", "=======\n", ">>>>>>> REPLACE\n", "```python\n", "```\n", "```", "## a.py\n"),
    *("*** Begin Patch\n", "*** Update File: b/c.py\n", "*** Add File: n.py\n", "*** End Patch\n", "@@\n", "+x = 3\n"),
    *("--- a/a.py\n", "+++ b/a.py\n", "@@ -1,2 +1,2 @@\n", "-x = 1\n", " y = 2\n", "cat > a.py << 'EOF'\n", "EOF\n"),
    *('<boltAction type="file" filePath="a.py">\n', "</boltAction>\n", '<boltAction type="shell">ls</boltAction>'),
    *("x = 1\n", "line 7\n", "line seven\n", "Some prose.\n", "\n", "\r\n", "é\u2028🛵", "  ", "<", "../up.py\n"),
)

TEXTS = st.lists(st.sampled_from(FRAGMENTS), min_size=3, max_size=40).map("".join)
FORMATS = st.sampled_from(get_args(FormatName))


def feed(sink: FileSink, chunks: list[Chunk]) -> None:
    async def drive() -> None:
        for chunk in chunks:
            sink.send([chunk])
            if sink.full:
                await sink.wait_for_room()

    anyio.run(drive)


def check(collector: Collector) -> None:
    """Assert that files begin in order, have their chunks between, and end once."""
    opened: FileStart | None = None
    count = 0
    for chunk in collector.chunks:
        match chunk:
            case FileStart():
                assert opened is None
                assert chunk.file == count
                opened, count = chunk, count + 1
            case FileChunk():
                assert opened is not None
                assert opened.file == chunk.file
            case FileEnd():
                assert opened is not None
                assert (opened.file, opened.path) == (chunk.file, chunk.path)
                assert chunk.complete is (chunk.problem is None)
                opened = None
    assert opened is None


@pytest.mark.longest
@settings(max_examples=300)
@given(name=FORMATS, text=TEXTS, places=st.lists(st.integers(0, 10_000), max_size=12), again=TEXTS)
def test_any_split_gives_the_same_files_in_every_round(
    name: FormatName, text: str, places: list[int], again: str
) -> None:
    outcomes = []
    for pieces in ([text], cut(text, places), list(text)):
        collector = Collector()
        sink = FileSink(FilesOutput(format=name, existing=EXISTING), collector, nonce=NONCE)
        told = ToolRound(round=1, calls=["a"], message=Message(role="assistant", content=""))
        first: list[Chunk] = [Start(provider="p", model="m"), *map(Content, filter(None, pieces))]
        feed(sink, [*first, Reasoning("Hm."), told, *map(Content, filter(None, [again]))])
        sink.finish(make_done())
        anyio.run(sink.settle)
        check(collector)
        assert collector.done is not None
        outcomes.append((collector.ends, collector.done.files, collector.prose))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@settings(max_examples=300)
@given(
    name=FORMATS,
    text=TEXTS,
    places=st.lists(st.integers(0, 10_000), max_size=12),
    way=st.sampled_from(["finish", "length", "end", "abandon"]),
)
def test_however_an_answer_ends_every_file_ends_once(name: FormatName, text: str, places: list[int], way: str) -> None:
    collector = Collector()
    sink = FileSink(FilesOutput(format=name, existing=EXISTING), collector, nonce=NONCE)
    # The producer does not wait: what is much work is still to be done at the end.
    for piece in cut(text, places):
        sink.send([Content(piece)])
    match way:
        case "end":
            anyio.run(sink.end)
        case "abandon":
            sink.abandon()
        case _:
            sink.finish(make_done(finish_reason="stop" if way == "finish" else "length"))
            anyio.run(sink.settle)
    check(collector)
    assert (collector.done is None) is (way in ("end", "abandon"))
