"""`blocks`: our own markers and those that everybody knows."""

import re

import pytest

from protocol.files import CommandChunk, FileChunk, FileStart
from sidecar.formats.blocks import write_instructions
from sidecar.formats.events import Closed
from tests.formats.lexing import NONCE, files, lexed, prose


def block(*lines: str) -> str:
    """Return *lines*, in which `N` is the code of the markers."""
    return "".join(re.sub(r"\bN\b", NONCE, f"{line}\n") for line in lines)


def edits(text: str) -> list[tuple[tuple[str, ...], tuple[str, ...], bool]]:
    """Return old lines, new lines and completeness of each edit in *text*."""
    closed = [event for event in lexed("blocks", text) if isinstance(event, Closed)]
    return [(each.old, each.new, each.complete) for file in closed for each in file.edits]


def test_the_instructions_are_an_example_of_the_format() -> None:
    """Ours: what a model is shown is what the lexer reads."""
    text = write_instructions(NONCE)
    events = lexed("blocks", text)
    started = [(each.op, each.path, each.to) for each in events if isinstance(each, FileStart)]
    assert started == [
        ("create", "src/new.py", None),
        ("edit", "src/old.py", None),
        ("delete", "src/gone.py", None),
        ("rename", "src/a.py", "src/b.py"),
    ]
    assert [each.command for each in events if isinstance(each, CommandChunk)] == ["npm install zod"]
    assert all(complete for _, _, complete in files(events))
    assert len(edits(text)) == 1
    assert text.isascii()
    assert len(text) < 1800


def test_nothing_but_our_markers_means_anything_in_a_file() -> None:
    content = block(
        "```", "<<<< file 0000 x", "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "*** End Patch", ">>>> file", "EOF"
    )
    text = block("<<<< file N a.md") + content + block(">>>> file N")
    assert files(lexed("blocks", text)) == [("a.md", content, True)]
    assert files(lexed("auto", text)) == [("a.md", content, True)]


def test_text_around_files_is_prose_and_a_purpose_belongs_to_its_file() -> None:
    events = lexed("blocks", "Before\n" + block("<<<< file N a.py # the # start", "x", ">>>> file N") + "After")
    assert prose(events) == "Before\nAfter"
    (start,) = [event for event in events if isinstance(event, FileStart)]
    assert (start.path, start.purpose) == ("a.py", "the # start")


def test_chunks_say_which_side_of_which_edit_they_are() -> None:
    text = block("<<<< edit N a", *("<<<< search N", "old", "==== N", "new", ">>>> search N") * 2, ">>>> edit N")
    chunks = [event for event in lexed("blocks", text) if isinstance(event, FileChunk)]
    assert [(each.edit, each.side, each.content) for each in chunks] == [
        (number, side, content) for number in (0, 1) for side, content in (("search", "old\n"), ("replace", "new\n"))
    ]


@pytest.mark.parametrize(
    ("lines", "expected", "complete"),
    [
        pytest.param(
            ["<<<< search N", "a", "==== N", "b", ">>>> search N", ">>>> edit N"], [("a", "b", True)], True, id="whole"
        ),
        pytest.param(
            ["<<<< search N", "a", "==== N", "b", ">>>> edit N"], [("a", "b", True)], True, id="one end for two"
        ),
        pytest.param(
            ["<<<< search N", "a", "==== N", "b", ">>>> N", ">>>> N"], [("a", "b", True)], True, id="ends without words"
        ),
        pytest.param(["<<<< search N", "a", "==== N"], [("a", "", False)], False, id="cut in the second half"),
        pytest.param(["<<<< search N", "a"], [("a", "", False)], False, id="cut in the first half"),
        pytest.param(
            ["<<<< search N", "a", "<<<< search N", "c", "==== N", "d", ">>>> search N", ">>>> edit N"],
            [("a", "", False), ("c", "d", True)],
            True,
            id="no divider",
        ),
        pytest.param(
            ["<<<< search N", "a", "==== N", "b", "==== N", "c", ">>>> search N", ">>>> edit N"],
            [("a", "b", False)],
            False,
            id="two dividers",
        ),
        pytest.param(["a", "==== N", "b", ">>>> search N", ">>>> edit N"], [], False, id="no search"),
        pytest.param(
            ["stray", "<<<< search N", "a", "==== N", "b", ">>>> N", ">>>> N"],
            [("a", "b", True)],
            False,
            id="stray text",
        ),
    ],
)
def test_an_edit_needs_its_markers(lines: list[str], expected: list[tuple[str, str, bool]], complete: bool) -> None:
    text = block("<<<< edit N a.py", *lines)
    found = [("".join(old), "".join(new), whole) for old, new, whole in edits(text)]
    assert found == expected
    assert [each for _, _, each in files(lexed("blocks", text))] == [complete]


def test_a_file_that_the_next_one_cuts_is_incomplete() -> None:
    text = block("<<<< file N a", "x", "<<<< file N b", "y", ">>>> file N", "<<<< file N c", "z")
    assert files(lexed("blocks", text)) == [("a", "x\n", False), ("b", "y\n", True), ("c", "z\n", False)]


def test_a_marker_of_an_edit_in_a_whole_file_is_delivered_and_flagged() -> None:
    text = block("<<<< file N a", "x", "==== N", "y", ">>>> file N")
    assert files(lexed("blocks", text)) == [("a", f"x\n==== {NONCE}\ny\n", False)]
    instead = block("<<<< file N a", "<<<< search N", "x", "==== N", "y", ">>>> search N", ">>>> file N")
    assert edits(instead) == [(("x",), ("y",), True)]


def test_a_fence_around_a_whole_file_is_taken_off_unless_it_is_markdown() -> None:
    for path, content, text in (
        ("a.py", "```python\nx\n```\n", "x\n"),
        ("a.py", "```python\nx\n```\ny\n", "```python\nx\n```\ny\n"),
        ("a.md", "```python\nx\n```\n", "```python\nx\n```\n"),
        ("a.py", "```\nx\n", "```\nx\n"),
    ):
        (closed,) = [
            event
            for event in lexed("blocks", block(f"<<<< file N {path}") + content + block(">>>> file N"))
            if isinstance(event, Closed)
        ]
        assert (closed.text, closed.unfenced) == (text, text != content)


# --- markers that everybody knows ------------------------------------------------------------

PLAIN = """\
src/a.py
```python
<<<<<<< SEARCH
old
=======
new
>>>>>>> REPLACE
```
and in the same file
<<<<<<< SEARCH
more
=======
>>>>>>> REPLACE
### `b.py`

------- SEARCH
x
=======
y
+++++++ REPLACE
"""


@pytest.mark.parametrize("name", ["blocks", "auto"])
def test_plain_markers_are_read_with_the_path_above_or_the_last_one(name: str) -> None:
    closed = [event for event in lexed(name, PLAIN, nonce=None) if isinstance(event, Closed)]  # type: ignore[arg-type]
    assert [(each.start.path, each.edits[0].old, each.edits[0].new) for each in closed] == [
        ("src/a.py", ("old",), ("new",)),
        ("src/a.py", ("more",), ()),
        ("b.py", ("x",), ("y",)),
    ]
    assert all(each.complete for each in closed)


@pytest.mark.parametrize(
    "text",
    [
        "a.py\n<<<<<<< SEARCH\na\n=======\nb\n=======\nc\n>>>>>>> REPLACE\n",
        "a.py\n<<<<<<< SEARCH\na\n>>>>>>> REPLACE\n",
        "a.py\n<<<<<<< SEARCH\na\n=======\nb\n",
        "a.py\n<<<<<<< SEARCH\na\n=======\nb\n<<<<<<< SEARCH\n",
        "a.py\n<<<<<<< SEARCH\na\n=====\nb\n>>>>>>> REPLACE\n",
    ],
    ids=["two dividers", "none", "cut", "the next one", "another divider"],
)
def test_a_plain_block_that_is_not_clear_is_incomplete(text: str) -> None:
    closed = [event for event in lexed("blocks", text, nonce=None) if isinstance(event, Closed)]
    assert not closed[0].complete
    assert not closed[0].edits[0].complete


def test_a_plain_block_without_a_path_is_refused_and_delivered() -> None:
    events = lexed("blocks", "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n", nonce=None)
    (start,) = [event for event in events if isinstance(event, FileStart)]
    assert start.refused == "empty"
    assert [event.content for event in events if isinstance(event, FileChunk)] == ["a\n", "b\n"]
