"""Recorded exchanges of real providers, read for files and code in the pieces in which they came.

None of the recorded answers was asked for files. So each comes out as it went in, and then serves as the content of
files that are written in every format.
"""

import hashlib
import random
from functools import cache
from typing import get_args

import pytest

from protocol.files import FormatName
from protocol.outputs import CodeOutput, FilesOutput
from protocol.replies import Chunk, Content
from sidecar.core.errors import SidecarError
from sidecar.formats.edits import split_lines
from sidecar.outputs.code import CodeSink
from sidecar.outputs.files import FileSink
from sidecar.wires.shared.types import Route
from tests.formats.lexing import NONCE
from tests.outputs.collecting import Collector, cut_at, make_done
from tests.support import corpus
from tests.support.decoding import play

pytestmark = pytest.mark.skipif(not corpus.ROOT.exists(), reason="the recorded exchanges are not at hand")


@cache
def answers() -> list[tuple[str, list[Chunk], str]]:
    """Return the chunks that recorded bytes decode to, and the text that an independent reader found in them."""
    found: list[tuple[str, list[Chunk], str]] = []
    for path in sorted(corpus.ROOT.glob("*/*/meta.json")):
        exchange = corpus.Exchange(path.parent)
        text = exchange.expected.get("text")
        if exchange.api not in corpus.WIRES or exchange.status >= 300 or not isinstance(text, str) or not text:
            continue
        route = Route(provider="p", wire=corpus.WIRES[exchange.api], model="m", base_url="https://provider.test")
        chunks: list[Chunk] = []
        try:
            play(route, 200, exchange.headers, corpus.pieces(exchange.body, len(found)), chunks.extend)
        except SidecarError:
            continue
        if "".join(chunk.content for chunk in chunks if isinstance(chunk, Content)) == text:
            found.append((exchange.name, chunks, text))
    return found


def read(output: FilesOutput, chunks: list[Chunk], text: str = "") -> Collector:
    """Return what comes out of *chunks*, the whole of an answer."""
    collector = Collector()
    sink = FileSink(output, collector, nonce=NONCE)
    for chunk in chunks:
        sink.send([chunk])
    sink.finish(make_done(text))
    return collector


@pytest.mark.parametrize("name", get_args(FormatName))
def test_a_recorded_answer_comes_out_as_it_went_in(name: FormatName) -> None:
    assert len(answers()) > 100
    for exchange, chunks, text in answers():
        collector = read(FilesOutput(format=name), chunks, text)
        assert (collector.prose, collector.ends) == (text, []), exchange
        kept = [chunk for chunk in chunks if not isinstance(chunk, Content)]
        assert [chunk for chunk in collector.chunks if not isinstance(chunk, Content)] == kept
        assert collector.done is not None
        assert collector.done.files == []


def test_the_code_of_a_recorded_answer_stands_in_it() -> None:
    fenced = 0
    for _, chunks, text in answers():
        collector = Collector()
        sink = CodeSink(CodeOutput(), collector)
        sink.send(chunks)
        sink.finish(make_done(text))
        assert collector.done is not None
        found = collector.done.code
        assert found is not None
        assert found
        assert all(line in text for block in found.blocks for line in block.code.split("\n"))
        assert found.problem in (None, "no_fence", "several_blocks")
        fenced += bool(found.blocks)
    assert fenced >= 1


def write(name: FormatName, path: str, text: str) -> str:
    """Return *text*, whose last line has an end, as a file of that format."""
    added = "".join(f"+{line}\n" for line in text.removesuffix("\n").split("\n"))
    count = text.count("\n")
    return {
        "blocks": f"<<<< file {NONCE} {path}\n{text}>>>> file {NONCE}\n",
        "patch": f"*** Begin Patch\n*** Add File: {path}\n{added}*** End Patch\n",
        "udiff": f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{count} @@\n{added}",
        "heredoc": f"cat > {path} << 'END_OF_{NONCE}'\n{text}END_OF_{NONCE}\n",
        "artifact": f'<boltAction type="file" filePath="{path}">\n{text}</boltAction>\n',
        "whole": f"{path}\n``````````\n{text}``````````\n",
        "fences": f"{path}\n``````````\n{text}``````````\n",
    }[name]


@pytest.mark.parametrize("name", [name for name in get_args(FormatName) if name != "auto"])
def test_a_recorded_answer_is_the_content_of_a_file_however_it_is_cut(name: FormatName) -> None:
    """Prose, lists, fences, code and every script: none of it is taken for a marker."""
    for number, (exchange, _, recorded) in enumerate(answers()):
        text = recorded if recorded.endswith("\n") else f"{recorded}\n"
        # A Markdown file keeps a fence around all of it. The prose is that of the recording, too.
        answer = f"Here it is.\n\n{write(name, 'notes/answer.md', text)}\nThat is all."
        size = random.Random(number).choice([1, 3, 7, 64, len(answer)])
        for output in (FilesOutput(format=name), FilesOutput()):
            collector = read(output, [*cut_at(answer, size)])
            (end,) = collector.ends
            assert (end.path, end.complete) == ("notes/answer.md", True), exchange
            assert collector.done is not None
            assert collector.done.files
            (row,) = collector.done.files
            assert split_lines(row.content or "") == split_lines(text), exchange
            assert row.sha256 == hashlib.sha256((row.content or "").encode()).hexdigest()
