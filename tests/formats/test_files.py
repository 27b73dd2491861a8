"""An answer's files: chunks on the way, what became of each edit, and a row for each path."""

import hashlib
from typing import Any

import msgspec
import pytest

from protocol.files import CommandChunk, EditResult, FileEnd, FileResult, FileStart, FormatName, OutputChunk
from protocol.replies import Content
from sidecar.formats.apply import Files, clean_paths
from tests.formats.lexing import NONCE

EXISTING = {"a.py": "x = 1\ny = 2\n", "./b.py": "keep\r\nold\r\n"}

Chunks = list[Content | OutputChunk]


def read(name: FormatName, text: str, **options: Any) -> tuple[Chunks, list[FileResult]]:
    """Return chunks and rows of the answer *text*."""
    files = Files(name, nonce=NONCE, **{"existing": clean_paths(EXISTING, "existing"), **options})
    return [*files.feed(text), *files.end()], files.rows


def ends(chunks: Chunks) -> list[FileEnd]:
    """Return the ends of files."""
    return [chunk for chunk in chunks if isinstance(chunk, FileEnd)]


def edit(path: str, *pairs: tuple[str, str]) -> str:
    """Return a block of our own format."""
    body = "".join(f"<<<< search {NONCE}\n{old}\n==== {NONCE}\n{new}\n>>>> search {NONCE}\n" for old, new in pairs)
    return f"<<<< edit {NONCE} {path}\n{body}>>>> edit {NONCE}\n"


def whole(path: str, text: str) -> str:
    """Return a block of our own format."""
    return f"<<<< file {NONCE} {path}\n{text}>>>> file {NONCE}\n"


def test_a_file_has_its_final_text_its_lines_and_its_hash() -> None:
    chunks, (row,) = read("blocks", edit("a.py", ("y = 2", "y = 3\nz = 4")))
    text = "x = 1\ny = 3\nz = 4\n"
    expected = (text, 3, hashlib.sha256(text.encode()).hexdigest(), True)
    assert (row.content, row.lines, row.sha256, row.complete) == expected
    (end,) = ends(chunks)
    assert (end.lines, end.sha256, end.complete) == expected[1:]
    assert end.edits == [EditResult(edit=0, match="exact", start_line=2, end_line=2)]


def test_later_files_of_a_path_build_on_earlier_ones() -> None:
    text = (
        whole("new.py", "a\nb\n")
        + edit("new.py", ("b", "c"))
        + edit("a.py", ("x = 1", "x = 2"))
        + edit("a.py", ("x = 2", "x = 3"))
    )
    _, rows = read("blocks", text)
    assert [(row.path, row.op, row.content, row.files) for row in rows] == [
        ("new.py", "create", "a\nc\n", [0, 1]),
        ("a.py", "edit", "x = 3\ny = 2\n", [2, 3]),
    ]
    assert all(row.complete for row in rows)


def test_a_path_is_known_however_the_host_has_written_it() -> None:
    _, (row,) = read("blocks", edit("b.py", ("old", "new")))
    assert (row.content, row.complete) == ("keep\r\nnew\r\n", True)


@pytest.mark.parametrize(
    ("text", "problem", "edits"),
    [
        pytest.param(
            edit("a.py", ("x = 1", "x = 2"), ("nothing", "x")), "edits_failed", [None, "not_found"], id="not found"
        ),
        pytest.param(edit("a.py", (" ", "x")), "edits_failed", ["not_found"], id="blank"),
        pytest.param(edit("none.py", ("x", "y")), "no_file", ["no_file"], id="no such file"),
        pytest.param(edit("../a.py", ("x", "y")), "refused_path", ["refused_path"], id="refused"),
        pytest.param(edit("a.py"), "edits_failed", [], id="no edit"),
        pytest.param(edit("a.py", ("x = 1", "x = 2"))[:-40], "incomplete", ["incomplete"], id="cut"),
        pytest.param(whole("a.py", "new\n")[:-20], "incomplete", [], id="a whole file that is cut"),
        pytest.param(whole("/a.py", "new\n"), "refused_path", [], id="a whole file that is refused"),
    ],
)
def test_what_is_not_fit_to_be_used_says_so(text: str, problem: str, edits: list[str | None]) -> None:
    chunks, (row,) = read("blocks", text)
    (end,) = ends(chunks)
    assert (end.complete, end.problem, [each.problem for each in end.edits]) == (False, problem, edits)
    assert not row.complete
    assert row.content is None or row.op == "create"


def test_with_partial_the_edits_that_fit_are_applied() -> None:
    _, (row,) = read("blocks", edit("a.py", ("x = 1", "x = 2"), ("nothing", "x")), partial=True)
    assert (row.content, row.complete) == ("x = 2\ny = 2\n", False)


def test_a_cut_file_leaves_what_was_known_of_its_path() -> None:
    text = whole("a.py", "new\n").replace(f">>>> file {NONCE}\n", "") + edit("a.py", ("y = 2", "y = 3"))
    _, (row,) = read("blocks", text)
    assert (row.content, row.complete, row.files) == ("x = 1\ny = 3\n", False, [0, 1])


def test_files_go_and_move() -> None:
    text = (
        "*** Begin Patch\n*** Delete File: b.py\n*** Update File: a.py\n*** Move to: c.py\n@@\n-y = 2\n+y = 3\n"
        "*** Update File: c.py\n@@\n-x = 1\n+x = 5\n*** End Patch\n"
    )
    _, rows = read("patch", text)
    assert [(row.path, row.op, row.to, row.content) for row in rows] == [
        ("b.py", "delete", None, None),
        ("a.py", "rename", "c.py", "x = 1\ny = 3\n"),
        ("c.py", "edit", None, "x = 5\ny = 3\n"),
    ]
    _, rows = read("blocks", f"<<<< delete {NONCE} a.py\n" + edit("a.py", ("x = 1", "x = 2")) + whole("a.py", "new\n"))
    assert [(row.path, row.complete, row.content) for row in rows] == [("a.py", False, "new\n")]
    moved = "diff --git a/q b/r\nsimilarity index 100%\nrename from q\nrename to r\n"
    assert [(row.path, row.to, row.complete, row.content) for row in read("udiff", moved)[1]] == [
        ("q", "r", True, None)
    ]


def test_no_more_is_tolerated_than_was_asked_for() -> None:
    text = edit("a.py", ("  x = 1", "  x = 2"))
    assert read("blocks", text)[1][0].complete
    assert not read("blocks", text, tolerance="whitespace")[1][0].complete


def test_chunks_are_lines_of_the_protocol() -> None:
    text = f"Hi\n{whole('a.js', 'x' + chr(10))}<<<< run {NONCE} npm i\n<<<< delete {NONCE} d\n"
    chunks, rows = read("blocks", text)
    lines = [msgspec.json.decode(msgspec.json.encode(chunk)) for chunk in chunks]
    assert lines[1] == {"type": "file_start", "file": 0, "path": "a.js", "op": "create", "format": "full_content"}
    assert [line["type"] for line in lines] == [
        *("content", "file_start", "file_chunk", "file_end", "command", "file_start", "file_end")
    ]
    assert lines[2] == {"type": "file_chunk", "file": 0, "content": "x\n"}
    assert lines[3] == {
        "type": "file_end",
        "file": 0,
        "path": "a.js",
        "complete": True,
        "lines": 1,
        "sha256": lines[3]["sha256"],
    }
    assert lines[4] == {"type": "command", "command": "npm i"}
    for chunk in chunks:
        assert msgspec.json.decode(msgspec.json.encode(chunk), type=type(chunk)) == chunk
    assert msgspec.json.decode(msgspec.json.encode(rows), type=list[FileResult]) == rows
    assert {type(chunk) for chunk in chunks} == {Content, FileStart, type(chunks[2]), FileEnd, CommandChunk}
