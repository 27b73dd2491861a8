"""Answers that no prompt asked for: files that never end, markers by chance, paths that lead out, far too much."""

import time
from typing import Any

import anyio
import msgspec
import pytest

from protocol.files import CommandChunk, FileChunk, FileEnd, FileStart
from protocol.messages import Message
from protocol.outputs import FilesOutput
from protocol.replies import Content, Start
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.outputs.files import FileSink
from sidecar.outputs.reading import read_output
from sidecar.server.framing import escape_line_breaks
from sidecar.wires.shared.draft import MAX_PIECE_CHARS
from tests.formats.lexing import NONCE
from tests.outputs.collecting import Collector, cut_at, make_done
from tests.outputs.streams import params
from tests.support.fake_provider import Provider
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.reply_scripts import ANTHROPIC

pytestmark = pytest.mark.long


def read(text: str, *, size: int = 4096, reason: Any = "stop", **output: Any) -> Collector:
    """Return what comes out of *text* in pieces of *size*."""
    collector = Collector()
    sink = FileSink(FilesOutput(**output), collector, nonce=NONCE)
    for chunk in cut_at(text, size):
        sink.send([chunk])
        assert not sink.full
    sink.finish(make_done(text, reason))
    begun = [each.file for each in collector.chunks if isinstance(each, FileStart)]
    assert sorted(each.file for each in collector.ends) == begun == [*range(len(begun))]
    return collector


def rows_of(collector: Collector) -> list[Any]:
    assert collector.done is not None
    assert isinstance(collector.done.files, list)
    return collector.done.files


OPENERS = {
    "blocks": f"<<<< file {NONCE} a.py\n",
    "whole": "a.py\n```python\n",
    "patch": "*** Begin Patch\n*** Add File: a.py\n+x = 1\n",
    "heredoc": "cat > a.py << 'EOF'\n",
    "artifact": '<boltAction type="file" filePath="a.py">\n',
    "fences": "a.py\n```python\n",
}
"""By format: what a model writes that never ends its file. A diff ends with the answer."""


@pytest.mark.parametrize("size", [1, 4096])
@pytest.mark.parametrize("name", OPENERS)
def test_a_file_that_is_never_closed_is_delivered_and_incomplete(name: str, size: int) -> None:
    for output in (name, "auto"):
        body = "+y = 2\n" if name == "patch" else "y = 2\n"
        collector = read(f"Well.\n{OPENERS[name]}{body}", size=size, reason="length", format=output)
        (end,) = collector.ends
        assert (end.path, end.complete, end.problem) == ("a.py", False, "incomplete")
        assert collector.text_of(0).endswith("y = 2\n")
        assert collector.prose == "Well.\n"
        assert [row.complete for row in rows_of(collector)] == [False]


@pytest.mark.parametrize("name", ["blocks", "patch", "artifact"])
def test_a_file_within_another_ends_the_first(name: str) -> None:
    second = OPENERS[name].replace("a.py", "b.py").removeprefix("*** Begin Patch\n")
    ends = read(f"{OPENERS[name]}{second}", format=name).ends
    assert [end.path for end in ends] == ["a.py", "b.py"]
    assert not ends[1].complete
    # A section of a patch ends where the next one begins.
    assert ends[0].complete is (name == "patch")


@pytest.mark.parametrize("size", [1, 4096])
def test_markers_by_chance_are_content(size: int) -> None:
    """Other words than this conversation's make no marker; nor do conflict markers, fences and other formats."""
    body = "".join(
        f"{line}\n"
        for line in (
            *("<<<< file 0000 b.py", ">>>> file 0000", ">>>> file", "<<<<<<< HEAD", "=======", ">>>>>>> main", "```"),
            *("*** Begin Patch", "*** Add File: c.py", "--- a/d", "+++ b/d", "cat > e << 'EOF'", "EOF"),
            *('<boltAction type="file" filePath="f">', "</boltAction>", f"# <<<< file {NONCE} g.py", f"x {NONCE}"),
        )
    )
    for output in ("blocks", "auto"):
        collector = read(f"{OPENERS['blocks']}{body}>>>> file {NONCE}\n", size=size, format=output)
        (row,) = rows_of(collector)
        assert (row.path, row.content, row.complete) == ("a.py", body, True)


def test_a_marker_that_makes_no_sense_is_delivered_and_spoils_its_file() -> None:
    collector = read(f"{OPENERS['blocks']}x\n==== {NONCE}\ny\n>>>> file {NONCE}\n", format="blocks")
    assert collector.text_of(0) == f"x\n==== {NONCE}\ny\n"
    assert [row.complete for row in rows_of(collector)] == [False]


HOSTILE = (
    *(
        "/etc/passwd",
        "../a",
        "a/../../b",
        "C:\\a",
        "\\\\host\\a",
        "~/.ssh/id",
        "a\x00b",
        "NUL",
        "a/con.txt",
        "a.",
        "a:b",
    ),
)


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_that_leads_out_is_refused_and_its_text_delivered(path: str) -> None:
    collector = read(f"<<<< file {NONCE} {path}\nx = 1\n>>>> file {NONCE}\n", format="blocks", existing={"a": "y"})
    (start,) = (each for each in collector.chunks if isinstance(each, FileStart))
    (end,) = collector.ends
    assert start.refused
    assert (end.complete, end.problem, collector.text_of(0)) == (False, "refused_path", "x = 1\n")


def test_an_edit_of_a_refused_path_changes_nothing() -> None:
    edit = f"<<<< edit {NONCE} ../a\n<<<< search {NONCE}\ny\n==== {NONCE}\nz\n>>>> search {NONCE}\n>>>> edit {NONCE}\n"
    collector = read(edit, format="blocks", existing={"a": "y\n"})
    assert [each.problem for each in collector.ends[0].edits] == ["refused_path"]
    assert [row.content for row in rows_of(collector)] == [None]


def test_ten_thousand_files_take_time_in_proportion() -> None:
    def seconds(count: int) -> float:
        text = "".join(f"<<<< file {NONCE} d/{at}.py\nx = {at}\n>>>> file {NONCE}\n" for at in range(count))
        began = time.process_time()
        collector = read(text, format="blocks")
        took = time.process_time() - began
        assert [row.content for row in rows_of(collector)][-1] == f"x = {count - 1}\n"
        assert len(rows_of(collector)) == count
        return took

    least = min(seconds(1000) for _ in range(3))
    assert seconds(10_000) < 30 * least + 1


@pytest.mark.parametrize("line", ["x" * 2**20, "`" * 2**20, "<" * 2**20, "é" * 2**20, "a.py " * 2**18, "\r" * 2**20])
def test_a_line_of_a_million_characters_passes_as_it_is(line: str) -> None:
    for format_ in ("blocks", "auto"):
        collector = read(f"{OPENERS['blocks']}{line}\n>>>> file {NONCE}\n{line}\n", size=65536, format=format_)
        assert collector.text_of(0) == f"{line}\n"
        assert collector.prose == f"{line}\n"
        texts = [each.content for each in collector.chunks if isinstance(each, FileChunk | Content)]
        assert max(map(len, texts)) <= MAX_PIECE_CHARS


def test_a_command_that_is_no_line_becomes_prose() -> None:
    command = "echo " + "x" * 2 * MAX_PIECE_CHARS
    text = f'<boltAction type="shell">\n{command}\n</boltAction>\n<boltAction type="shell">ls</boltAction>\n'
    collector = read(text, format="artifact")
    assert [each.command for each in collector.chunks if isinstance(each, CommandChunk)] == ["ls"]
    assert collector.prose.strip() == command


def test_an_attempt_that_begins_again_has_no_files_of_the_one_before() -> None:
    collector = Collector()
    sink = FileSink(FilesOutput(format="blocks"), collector, nonce=NONCE)
    for _ in range(2):
        sink.send([Start(provider="p", model="m"), Content(f"<<<< file {NONCE} a.py\n")])
    sink.send([Content(f"x\n>>>> file {NONCE}\n")])
    sink.finish(make_done())
    assert [row.files for row in rows_of(collector)] == [[0]]


async def test_edits_that_were_given_up_count_as_incomplete() -> None:
    """A timeout must not wait for a worker thread."""
    collector = Collector()
    sink = FileSink(FilesOutput(format="blocks", existing={"a": "y\n" * 100_000}), collector, nonce=NONCE)
    edit = f"<<<< edit {NONCE} a\n<<<< search {NONCE}\nz\n==== {NONCE}\nx\n>>>> search {NONCE}\n>>>> edit {NONCE}\n"
    sink.send([Content(f"{edit}{OPENERS['blocks']}x\n")])
    assert sink.full
    with anyio.CancelScope() as scope:
        scope.cancel()
        await sink.wait_for_room()
    sink.abandon()
    assert [(end.file, end.complete, end.problem) for end in collector.ends] == [
        (0, False, "incomplete"),
        (1, False, "incomplete"),
    ]
    assert collector.text_of(1) == "x\n"


@pytest.mark.parametrize("is_broken", [False, True])
async def test_a_timeout_while_edits_are_placed_ends_their_file(is_broken: bool) -> None:
    """The answer, or its failure, has come; then the request's own time is over."""
    output = FilesOutput(format="blocks", existing={"a.py": "y\n" * 100_000})
    chat = Chat(model="m", messages=[Message(role="user", content="Hi")])
    collector = Collector()
    with anyio.CancelScope() as scope:
        async with read_output(chat, output, collector, "") as (_, reader):
            reader.send([Content("a.py\n<<<<<<< SEARCH\nz\n=======\nx\n>>>>>>> REPLACE\n")])
            scope.cancel()
            if is_broken:
                raise SidecarError("stream_interrupted", "It broke.")
            reader.finish(make_done())
    assert scope.cancelled_caught
    assert [(end.path, end.complete) for end in collector.ends] == [("a.py", False)]
    assert collector.done is None


@pytest.mark.parametrize("opening", ["--- a/a\n+++ b/a\n", "--- /dev/null\n+++ b/a\n"])
async def test_a_long_diff_is_read_in_a_worker_thread(opening: str) -> None:
    """To read, place or hash it would delay every other reply; nothing of it is done before."""
    is_new = "null" in opening
    old = "".join(f"line {at}\n" for at in range(30_000))
    new = old.replace("line 7\n", "seven\n") * (10 if is_new else 1)
    hunks = [f"@@ -{at + 1} +{at + 1} @@\n-line {at}\n+new {at}\n" for at in range(0, 30_000, 6)]
    added = new.replace("\n", "\n+").removesuffix("+")
    diff = opening + (f"@@ -0,0 +1,{new.count(chr(10))} @@\n+{added}" if is_new else "".join(hunks))
    collector = Collector()
    sink = FileSink(FilesOutput(format="udiff", existing={"a": old}), collector)
    for chunk in cut_at(f"{diff}\nThat is all.\n" if is_new else diff, 65536):
        sink.send([chunk])
    sink.finish(make_done())
    assert collector.done is None
    assert collector.ends == []
    await sink.settle()
    (end,) = collector.ends
    assert end.complete
    assert len(end.edits) == (0 if is_new else len(hunks))
    assert collector.done is not None


LIMIT = 16384


def test_no_line_is_longer_than_the_host_can_read(sidecar: Program, provider: Provider) -> None:
    body = "".join(f"line {at} of it: \x01\u2028é🛵\n" for at in range(5000))
    provider.play("m", ANTHROPIC.answer(f"a.py\n```\n{body}```\n", *(f"{at}.py\n```\nx\n```\n" for at in range(300))))
    sidecar.ask("initialize", {"max_line_bytes": LIMIT})
    request_id = sidecar.send("stream_chat", params(sidecar, "m", {"type": "files"}), provider="anthropic")
    lines = sidecar.stream(request_id)
    assert max(len(escape_line_breaks(msgspec.json.encode(line.data))) for line in lines) < LIMIT
    datas: list[Object] = [line.data["data"] for line in lines]
    assert "".join(each["content"] for each in datas if each["type"] == "file_chunk" and each["file"] == 0) == body
    done = datas[-1]
    assert (done["files"], done["files_omitted"], done["message_omitted"]) == ([], True, True)
    assert sum(each["type"] == "file_end" and each["complete"] for each in datas) == 301


def test_ends_carry_what_a_host_needs_to_check_a_file() -> None:
    (end,) = read("a.py\n```\n\n```\n", format="whole").ends
    assert isinstance(end, FileEnd)
    assert (end.complete, end.lines) == (True, 1)


def test_ten_thousand_files_of_a_host_delay_nobody(sidecar: Program, provider: Provider) -> None:
    provider.play("m", ANTHROPIC.answer("b/9.py\n```\nx\n```\n"))
    existing = {f"./b//{at}.py": "y\n" for at in range(10_000)}
    asked = params(sidecar, "m", {"type": "files", "existing": existing, "instruct": True})
    done = sidecar.stream(sidecar.send("stream_chat", asked, provider="anthropic"))[-1].data["data"]
    assert [(row["path"], row["content"]) for row in done["files"]] == [("b/9.py", "x\n")]
    asked["options"]["output"]["existing"]["../c"] = ""
    error = sidecar.ask("stream_chat", asked, provider="anthropic")["error"]
    assert error["param"] == "params.options.output.existing"
