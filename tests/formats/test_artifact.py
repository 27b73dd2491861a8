"""`artifact`: raw text in tags, which a file may speak of."""

import pytest

from protocol.files import CommandChunk
from sidecar.formats.events import Closed
from tests.formats.lexing import files, lexed, prose

OPEN = '<boltAction type="file" filePath="a.js">'


@pytest.mark.parametrize(
    ("body", "text", "complete"),
    [
        pytest.param("\nx\n</boltAction>\n", "x\n", True, id="on lines of their own"),
        pytest.param("x</boltAction>", "x", True, id="in one line"),
        pytest.param("\nx\n  </boltAction>  \n", "x\n", True, id="an end further in"),
        pytest.param("\r\nx\r\n</boltAction>\r\n", "x\r\n", True, id="CRLF"),
        pytest.param(
            '\nt = "</boltAction>";\n</boltAction>\n', 't = "</boltAction>";\n', True, id="a file that speaks of it"
        ),
        pytest.param("\nx < y && <b>\n</boltAction>\n", "x < y && <b>\n", True, id="other signs"),
        pytest.param("\n&lt;b&gt;\n</boltAction>\n", "&lt;b&gt;\n", True, id="nothing is escaped"),
        pytest.param("\nx\n", "x\n", False, id="no end"),
        pytest.param("\nx\n</boltAct", "x\n</boltAct", False, id="half an end"),
        pytest.param("\nx\n</boltArtifact>\n", "x\n", False, id="the end of the artifact"),
        pytest.param("\n```js\nx\n```\n</boltAction>\n", "x\n", True, id="a fence around it"),
        pytest.param("</boltAction></boltArtifact>", "", True, id="nothing"),
    ],
)
def test_a_file_ends_at_its_own_tag(body: str, text: str, complete: bool) -> None:
    for name in ("artifact", "auto"):
        assert files(lexed(name, f"Here: {OPEN}{body}")) == [("a.js", text, complete)]


@pytest.mark.parametrize(
    ("tag", "path"),
    [
        ('<boltAction type="file" filePath="src/a b.js">', "src/a b.js"),
        ("<boltAction filePath='a.js' type='file'>", "a.js"),
        ('<boltAction\n  type="file"\n  filePath="a.js"\n>', "a.js"),
        ('<boltAction type="file" filePath="a>b.js">', "a>b.js"),
        ('<boltAction type="file" contentType="x" filePath="/srv/project/a.js">', "/srv/project/a.js"),
        ("<boltaction type=file filepath=a.js>", "a.js"),
        ("<boltAction>", ""),
    ],
)
def test_attributes_are_read_in_any_order_and_quotes(tag: str, path: str) -> None:
    (closed,) = [event for event in lexed("artifact", f"{tag}\nx\n</boltAction>\n") if isinstance(event, Closed)]
    assert closed.start.path == path
    assert closed.text == "x\n"


def test_prose_stays_and_the_tags_of_the_artifact_go() -> None:
    text = (
        f'Sure!\n\n<boltArtifact id="x" title="T">\n  {OPEN}\nx\n  </boltAction>\n</boltArtifact>\n\nDone <b>now</b>.\n'
    )
    events = lexed("artifact", text)
    assert prose(events) == "Sure!\n\n\nDone <b>now</b>.\n"
    assert files(events) == [("a.js", "x\n", True)]


def test_what_is_no_file_is_a_command_unless_it_is_cut() -> None:
    text = '<boltAction type="shell">\nnpm install\n</boltAction><boltAction type="start">npm run dev</boltAction>'
    events = lexed("artifact", text)
    assert [event.command for event in events if isinstance(event, CommandChunk)] == ["npm install", "npm run dev"]
    cut = lexed("artifact", '<boltAction type="shell">rm -rf /tmp/x')
    assert not [event for event in cut if isinstance(event, CommandChunk)]
    assert prose(cut) == "rm -rf /tmp/x"


def test_a_second_opener_ends_the_first_file_where_it_begins_a_line() -> None:
    text = f"{OPEN}\nx\n{OPEN.replace('a.js', 'b.js')}\ny\n</boltAction>\n"
    assert files(lexed("artifact", text)) == [("a.js", "x\n", False), ("b.js", "y\n", True)]
    within = f"{OPEN}\nt = `{OPEN}`\n</boltAction>\n"
    assert files(lexed("artifact", within)) == [("a.js", f"t = `{OPEN}`\n", True)]
