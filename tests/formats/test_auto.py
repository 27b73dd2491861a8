"""`auto`: the first opener decides, and stays."""

import pytest

from protocol.files import FormatName
from sidecar.formats.auto import FORMATS
from sidecar.formats.events import Closed
from tests.formats.lexing import NONCE, files, lexed, prose

ANSWERS: dict[str, str] = {
    "blocks": f"<<<< file {NONCE} a.py\nx\n>>>> file {NONCE}\n",
    "whole": "a.py\n```python\nx\n```\n",
    "patch": "*** Begin Patch\n*** Add File: a.py\n+x\n*** End Patch\n",
    "udiff": "```diff\n--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+x\n```\n",
    "heredoc": "cat > a.py << 'EOF'\nx\nEOF\n",
    "artifact": '<boltArtifact id="a"><boltAction type="file" filePath="a.py">\nx\n</boltAction></boltArtifact>\n',
    "fences": "```python a.py\nx\n```\n",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_first_opener_decides(name: str) -> None:
    answer = f"I have written it, as you asked:\n\n{ANSWERS[name]}\nThat is all.\n"
    events = lexed("auto", answer)
    assert files(events) == [("a.py", "x\n", True)]
    assert events == lexed(name, answer) or name == "whole"  # type: ignore[arg-type]
    assert prose(events).startswith("I have written it")
    assert prose(events).endswith("That is all.\n")


@pytest.mark.parametrize("first", ANSWERS)
@pytest.mark.parametrize("second", ANSWERS)
def test_the_format_that_was_decided_on_stays(first: str, second: str) -> None:
    answer = ANSWERS[first] + "\n" + ANSWERS[second].replace("a.py", "b.py")
    found = [path for path, _, _ in files(lexed("auto", answer))]
    alike = {"whole": "fences"}
    assert found == (["a.py", "b.py"] if alike.get(first, first) == alike.get(second, second) else ["a.py"])


BLOCK = "<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n"


@pytest.mark.parametrize("name", ["auto", "blocks"])
def test_a_path_above_a_fence_and_in_it_names_a_block_and_no_file_of_markers(name: FormatName) -> None:
    answer = f"a.py:\n```python\na.py\n{BLOCK}```\n"
    for pieces in ([answer], [*answer]):
        ended = [event for event in lexed(name, *pieces, nonce=None) if isinstance(event, Closed)]
        assert [(each.start.path, each.start.op, each.complete) for each in ended] == [("a.py", "edit", True)]


def test_a_file_may_begin_with_its_own_path() -> None:
    for text in ("a.py\nx\n", "a.py\n", "a.py\n@@ x\n", "a.py\n\n"):
        assert files(lexed("auto", f"a.py:\n```python\n{text}```\n")) == [("a.py", text, True)]
        assert files(lexed("auto", *f"a.py:\n```python\n{text}```\n")) == [("a.py", text, True)]
    assert files(lexed("auto", "a.py:\n```python\na.py")) == [("a.py", "a.py", False)]


def test_a_fence_without_a_path_decides_nothing() -> None:
    events = lexed("auto", "```bash\nnpm install x\n```\n\n# Notes\n\n" + ANSWERS["heredoc"])
    assert files(events) == [("a.py", "x\n", True)]
    assert prose(events) == "```bash\nnpm install x\n```\n\n# Notes\n\n"


def test_openers_in_a_fence_are_openers() -> None:
    for name in ("patch", "heredoc", "artifact", "blocks"):
        events = lexed("auto", f"```\n{ANSWERS[name]}```\n")
        assert files(events) == [("a.py", "x\n", True)]


def test_a_block_of_searches_in_a_named_fence_is_no_whole_file() -> None:
    block = "```python\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n```\n"
    text = f"a.py\n{block}b.py\n{block}"
    assert [path for path, _, _ in files(lexed("auto", text))] == ["a.py", "b.py"]


def test_every_format_but_ours_is_in_the_table() -> None:
    assert set(FORMATS) | {"auto"} == set(ANSWERS) | {"auto"}


@pytest.mark.parametrize("name", ["heredoc", "artifact", "patch", "udiff"])
@pytest.mark.parametrize("above", ["```x\n", "See c.py:\n\n```x\n", "c.py\n", "c.py\n\n"])
def test_lines_above_a_file_that_do_not_open_it_are_prose(name: str, above: str) -> None:
    answer = ANSWERS[name].removeprefix("```diff\n").removesuffix("```\n")
    below = "```\n" if "```" in above else ""
    events = lexed("auto", above + answer + below)
    assert files(events) == [("a.py", "x\n", True)]
    assert prose(events) == above + below
