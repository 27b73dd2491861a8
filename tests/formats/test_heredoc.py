"""`heredoc`: files as here-documents, with the cases in which other readers are known to go wrong."""

import pytest

from protocol.files import CommandChunk, FileStart
from sidecar.formats.events import Closed
from tests.formats.lexing import files, lexed, prose


@pytest.mark.parametrize(
    "opener",
    [
        "cat > a.py << 'EOF'",
        "cat > a.py <<EOF",
        'cat >a.py <<"EOF"',
        "CAT  >  a.py  <<  'EOF'  ",
        "cat<<'EOF'>a.py",
        "cat << EOF > 'a.py'",
        "cat > \"a.py' << 'EOF'",
        "cat > a.py <<-'EOF",
        "$ cat > a.py << \\EOF",
    ],
)
def test_an_opener_may_be_written_in_many_ways(opener: str) -> None:
    assert files(lexed("heredoc", f"{opener}\nx\n\ny\nEOF\n")) == [("a.py", "x\n\ny\n", True)]


@pytest.mark.parametrize(
    "line", ["cat a.py", "cat >> a.py << EOF", "cat > a.py", "concat > a << EOF", "cat <<EOF", "echo > a <<EOF"]
)
def test_what_opens_no_file_is_prose(line: str) -> None:
    assert lexed("heredoc", f"{line}\n") == lexed("heredoc", *f"{line}\n")
    assert prose(lexed("heredoc", f"{line}\n")) == f"{line}\n"


@pytest.mark.parametrize(
    ("body", "text", "complete"),
    [
        pytest.param("x\n\n\ny\nEOF\n", "x\n\n\ny\n", True, id="blank lines stay"),
        pytest.param("EOFx\nEOF\n", "EOFx\n", True, id="a line that begins with the mark"),
        pytest.param("  EOF\nEOF\n", "  EOF\n", True, id="the mark further in"),
        pytest.param("x EOF\nEOF", "x EOF\n", True, id="no line end after the mark"),
        pytest.param("x\n", "x\n", False, id="no end"),
        pytest.param("x\r\nEOF\r\n", "x\r\n", True, id="CRLF"),
        pytest.param("sql <<EOF\nq\nEOF\ny\nEOF\n", "sql <<EOF\nq\nEOF\ny\n", True, id="one within"),
        pytest.param("sql <<EOF\nq\nEOF\n", "sql <<EOF\nq\nEOF\n", False, id="one end for two"),
        pytest.param("x <<< EOF\n1 << 2\nEOF\n", "x <<< EOF\n1 << 2\n", True, id="other signs"),
        pytest.param("", "", False, id="nothing at all"),
    ],
)
def test_a_file_ends_at_its_own_mark(body: str, text: str, complete: bool) -> None:
    assert files(lexed("heredoc", f"cat > a.py << 'EOF'\n{body}")) == [("a.py", text, complete)]


def test_a_second_opener_ends_the_first_file_but_for_scripts_and_other_marks() -> None:
    both = "cat > {} << EOF\nx\ncat > b.py << EOF\ny\nEOF\n"
    assert files(lexed("heredoc", both.format("a.py"))) == [("a.py", "x\n", False), ("b.py", "y\n", True)]
    assert files(lexed("heredoc", both.format("a.sh") + "EOF\n")) == [("a.sh", "x\ncat > b.py << EOF\ny\nEOF\n", True)]
    script = both.format("run").replace("x\n", "#!/bin/sh\n") + "EOF\n"
    assert [path for path, _, _ in files(lexed("heredoc", script))] == ["run"]
    other = both.format("a.py").replace("b.py << EOF", "b.py << END") + "EOF\n"
    assert files(lexed("heredoc", other))[0] == ("a.py", "x\ncat > b.py << END\ny\n", True)


def test_comments_say_what_the_next_file_is_for() -> None:
    text = "# Setup\n# File purpose: the entry\ncat > a.py << E\nx\nE\n# Not for anything\nText\n"
    events = lexed("heredoc", text)
    assert [event.purpose for event in events if isinstance(event, FileStart)] == ["the entry"]
    assert prose(events) == "# Setup\n# Not for anything\nText\n"


def test_commands_of_package_managers_are_reported_outside_of_files() -> None:
    text = "bun install\nnpm install zod\ncat > a << E\nnpm install x\nE\nnpm is a program\ncargo add serde\n"
    events = lexed("heredoc", text)
    assert [event.command for event in events if isinstance(event, CommandChunk)] == [
        "bun install",
        "npm install zod",
        "cargo add serde",
    ]
    assert prose(events) == "npm is a program\n"


def test_a_patch_is_an_edit_of_the_path_on_its_line() -> None:
    text = "cat << 'EOF' | patch -p1 b.py\n--- a.py\n+++ a.py\n@@ -1 +1 @@\n-x\n+y\nEOF\n"
    (closed,) = [event for event in lexed("heredoc", text) if isinstance(event, Closed)]
    assert (closed.start.path, closed.start.op, closed.start.format) == ("b.py", "edit", "unified_diff")
    assert [(edit.old, edit.new) for edit in closed.edits] == [(("x",), ("y",))]
    assert closed.complete
