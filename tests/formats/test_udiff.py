"""`udiff`: the heads and hunks that models write; what the tools make of real ones is in `test_against_tools.py`."""

import pytest

from protocol.files import FileStart
from sidecar.formats.events import Closed
from tests.formats.lexing import files, lexed, prose


def closed(text: str, *, whole: bool = False) -> list[Closed]:
    """Return the files of *text*."""
    return [event for event in lexed("udiff", text, whole=whole) if isinstance(event, Closed)]


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("a/src/x.py", "b/src/x.py", "src/x.py"),
        ("src/x.py", "src/x.py", "src/x.py"),
        ("i/x.py", "w/x.py", "x.py"),
        ("x.py.orig\t2026-01-01 10:00:00.0 +0000", "x.py\t2026-01-01 10:00:01", "x.py"),
        ("x.py 2026-01-01 10:00:00", "x.py 2026-01-01 10:00:00", "x.py"),
        ('"a/\\303\\251 \\"q\\".py"', '"b/\\303\\251 \\"q\\".py"', '\u00e9 "q".py'),
        ("a/x y.py", "b/x y.py", "x y.py"),
        ("./x.py", "./x.py", "x.py"),
    ],
)
def test_the_path_is_what_the_head_means(old: str, new: str, path: str) -> None:
    (file,) = closed(f"--- {old}\n+++ {new}\n@@ -1 +1 @@\n-a\n+b\n")
    assert (file.start.path, file.start.op) == (path, "edit")
    assert file.complete


def test_a_path_that_leads_out_is_refused() -> None:
    events = lexed("udiff", "--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n")
    assert [event.refused for event in events if isinstance(event, FileStart)] == ["parent"]


@pytest.mark.parametrize(
    ("text", "complete", "rest"),
    [
        pytest.param("@@ -1 +1 @@\n-a\n+b\n", True, "", id="its numbers say that it is whole"),
        pytest.param("@@ -1,2 +1,2 @@\n-a\n+b\n", False, "", id="its numbers say that more was to come"),
        pytest.param("@@\n-a\n+b\n", False, "", id="nothing says so"),
        pytest.param("@@\n-a\n+b\nDone.\n", True, "Done.\n", id="prose follows"),
        pytest.param("@@ -1 +1 @@\n-a\n+b\n\n- an item\n", True, "\n- an item\n", id="a list follows"),
        pytest.param("@@\n-a\n+b\n\n\nDone.\n", True, "\n\nDone.\n", id="blank lines follow"),
        pytest.param("@@\n-a\n+b\n--- a\n", False, "", id="what may be a head is a line"),
    ],
)
def test_a_bare_diff_ends_where_its_lines_do(text: str, complete: bool, rest: str) -> None:
    whole = f"--- x\n+++ x\n{text}"
    assert [each for _, _, each in files(lexed("udiff", whole))] == [complete]
    assert prose(lexed("udiff", whole)) == rest
    assert closed(whole, whole=True)[0].complete


def test_in_a_fence_it_ends_with_the_fence() -> None:
    text = "```diff\n--- x\n+++ x\n@@\n-a\n\nlost its blank\n+b\n```\n"
    ((_, body, complete),) = files(lexed("udiff", text))
    assert body == "@@\n-a\n\nlost its blank\n+b\n"
    assert complete
    assert not files(lexed("udiff", text.replace("```\n", "")[:-1]))[0][2]
    assert not closed(text.removesuffix("```\n"), whole=True)[0].complete


def test_several_files_may_stand_in_one_fence_or_follow_each_other() -> None:
    one = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    two = one.replace("/x", "/y")
    git = "diff --git a/z b/z\nindex 12..34 100644\n" + one.replace("/x", "/z")
    for text in (f"```diff\n{one}{two}{git}```\n", one + two + git, f"```\n{one}```\nand\n```\n{two}{git}```\n"):
        assert [(path, complete) for path, _, complete in files(lexed("udiff", text))] == [
            ("x", True),
            ("y", True),
            ("z", True),
        ]


def test_what_git_says_without_hunks_is_read() -> None:
    text = (
        "diff --git a/a b/b\nsimilarity index 100%\nrename from a\nrename to b\n"
        "diff --git a/empty b/empty\nnew file mode 100644\nindex 00..00\n"
        "diff --git a/gone b/gone\ndeleted file mode 100644\nindex 00..00\n"
        "diff --git a/mode b/mode\nold mode 100644\nnew mode 100755\n"
    )
    found = [(each.start.op, each.start.path, each.start.to, each.complete) for each in closed(text)]
    assert found == [("rename", "a", "b", True), ("create", "empty", None, True), ("delete", "gone", None, True)]
    assert "old mode 100644" in prose(lexed("udiff", text))


def test_a_new_file_comes_as_its_text() -> None:
    text = "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1,3 @@\n+x\n+\n++y\n\\ No newline at end of file\n"
    (file,) = closed(text)
    assert (file.start.op, file.start.format, file.start.path, file.text) == (
        "create",
        "full_content",
        "new.py",
        "x\n\n+y\n",
    )
    assert file.complete
    assert not closed(text.replace("+1,3", "+1,4"))[0].complete


def test_lines_that_look_like_a_head_are_lines_where_the_numbers_say_so() -> None:
    body = "@@ -1,2 +1,2 @@\n a\n--- b\n+++ c\n@@ -9 +9 @@\n-d\n+e\n"
    (file,) = closed(f"--- x\n+++ x\n{body}")
    assert [(edit.old, edit.new) for edit in file.edits] == [(("a", "-- b"), ("a", "++ c")), (("d",), ("e",))]
    assert [each.start.path for each in closed(f"--- x\n+++ x\n{body.replace('1,2', '1')}")] == ["x", "c"]


@pytest.mark.parametrize(
    "text", ["--- \n+++ \n", "--- a\n+++ b\nno hunk\n", "--- a\n\n+++ b\n@@\n", "+++ b\n@@\n-a\n", "---\ntitle\n---\n"]
)
def test_what_is_no_head_is_prose(text: str) -> None:
    assert prose(lexed("udiff", text)) == text
