"""`whole` and `fences`: which fences are files, where they end, and what stays prose."""

import pytest

from protocol.files import FormatName
from sidecar.formats.events import Closed
from tests.formats.lexing import files, lexed, prose


@pytest.mark.parametrize(
    ("text", "whole", "fences"),
    [
        pytest.param("a.py\n```\nx\n```\n", ["a.py"], ["a.py"], id="above"),
        pytest.param("a.py\n\n```\nx\n```\n", [], ["a.py"], id="a blank line between"),
        pytest.param("a.py\n\n\n```\nx\n```\n", [], [], id="two of them"),
        pytest.param("a.py\nand\n```\nx\n```\n", [], [], id="a line between"),
        pytest.param("In a.py, say:\n```\nx\n```\n", [], [], id="a sentence"),
        pytest.param("```py a.py\nx\n```\n", [], ["a.py"], id="after the fence"),
        pytest.param("b.py\n```py a.py\nx\n```\n", ["b.py"], ["a.py"], id="both"),
        pytest.param("```py\n# a.py\nx\n```\n", [], ["a.py"], id="a comment"),
        pytest.param("```py\nx\n# a.py\n```\n", [], [], id="a comment further down"),
        pytest.param("a.py\n~~~~\nx\n~~~~\n", ["a.py"], ["a.py"], id="tildes"),
        pytest.param("```\na.py\n```\n```\nx\n```\n", [], [], id="a name in a fence"),
        pytest.param("a.py\n```\n```\n", ["a.py"], ["a.py"], id="an empty file"),
        pytest.param("a.py\nb.py\n```\nx\n```\n", ["b.py"], ["b.py"], id="two names"),
        pytest.param("```\na.py\n", [], [], id="a name in a fence that is open"),
    ],
)
def test_a_fence_with_a_path_is_a_file(text: str, whole: list[str], fences: list[str]) -> None:
    for name, expected in (("whole", whole), ("fences", fences)):
        events = lexed(name, text)  # type: ignore[arg-type]
        assert [(path, complete) for path, _, complete in files(events)] == [(path, True) for path in expected]
        if not expected:
            assert prose(events) == text


@pytest.mark.parametrize(
    ("body", "text", "complete"),
    [
        ("x\n```\n", "x\n", True),
        ("x\n````\n", "x\n", True),
        ("x\n", "x\n", False),
        ("x\n~~~\n```\n", "x\n~~~\n", True),
        ("x\n    ```\n```\n", "x\n    ```\n", True),
        ("# T\n```bash\nls\n```\nend\n```\n", "# T\n```bash\nls\n```\nend\n", True),
        ("# T\n```bash\nls\n```\nend\n", "# T\n```bash\nls\n```\nend\n", False),
        ("x\r\n```\r\n", "x\r\n", True),
        ("x\n```", "x\n", True),
        ("x\n``", "x\n``", False),
    ],
)
@pytest.mark.parametrize("name", ["whole", "fences", "auto"])
def test_a_file_ends_at_the_fence_that_is_its_own(name: FormatName, body: str, text: str, complete: bool) -> None:
    assert files(lexed(name, f"README.md\n```\n{body}")) == [("README.md", text, complete)]


def test_a_longer_fence_holds_shorter_ones() -> None:
    assert files(lexed("whole", "a.md\n````\n```\nx\n```\n````\n")) == [("a.md", "```\nx\n```\n", True)]


def test_the_indentation_of_the_fence_is_taken_off_its_lines() -> None:
    text = "a.py\n  ```\n  x\n    y\n z\n\n  ```\n"
    assert files(lexed("whole", text)) == [("a.py", "x\n  y\nz\n\n", True)]


def test_a_model_that_forgets_the_end_of_a_file_never_completes_it() -> None:
    text = "a.py\n```python\nx\n\nb.py\n```python\ny\n```\n"
    ((path, content, complete),) = files(lexed("whole", text))
    assert (path, complete) == ("a.py", False)
    assert content == "x\n\nb.py\n```python\ny\n```\n"


def test_a_named_fence_with_hunks_is_an_edit() -> None:
    for text in (
        "a.py\n```diff\n@@\n-x\n+y\n```\n",
        "a.py\n```\n@@ -1 +1 @@\n-x\n+y\n```\n",
        "```diff a.py\n-x\n+y\n```\n",
    ):
        (closed,) = [event for event in lexed("fences", text) if isinstance(event, Closed)]
        assert (closed.start.op, closed.start.format) == ("edit", "unified_diff")
        assert [(each.old, each.new) for each in closed.edits] == [(("x",), ("y",))]


def test_what_is_of_another_format_is_no_whole_file() -> None:
    for inner in ("<<<<<<< SEARCH\n", "*** Begin Patch\n", "--- a/x.py\n+++ b/x.py\n", "diff --git a/x b/x\n"):
        assert files(lexed("whole", f"a.py\n```\n{inner}x\n```\n")) == []
    front_matter = "---\ntitle: x\n---\n"
    assert files(lexed("whole", f"a.md\n```\n{front_matter}```\n")) == [("a.md", front_matter, True)]
