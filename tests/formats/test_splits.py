"""Every format: any split of the text gives the same events, and every file ends once."""

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.files import FileChunk, FormatName
from protocol.replies import Content
from sidecar.formats.auto import make_lexer
from sidecar.formats.lines import MAX_MARKER_CHARS
from tests.formats.lexing import NONCE, cut, files, lexed

pytestmark = pytest.mark.long

FORMATS = get_args(FormatName)

MARKERS: dict[str, list[str]] = {
    "blocks": [
        *(f"<<<< {word} {NONCE} {rest}" for word, rest in (("file", "a.py"), ("edit", "b.py # why"), ("file", "../c"))),
        *(f"<<<< {each}" for each in (f"search {NONCE}", "search 0000", f"delete {NONCE} d", f"run {NONCE} npm i")),
        *(f"==== {NONCE}", "====", f">>>> search {NONCE}", f">>>> file {NONCE}", f">>>> edit {NONCE}", f">>>> {NONCE}"),
        *(f"<<<< rename {NONCE} a -> b", "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "a.py", "------- SEARCH"),
    ],
    "whole": [
        "src/a.py",
        "### `b.md`",
        "```",
        "```python",
        "````",
        "~~~",
        "**c.js**:",
        "``` `",
        "   ```",
        "no file.py",
    ],
    "patch": [
        *("*** Begin Patch", "*** End Patch", "*** Add File: a.py", "*** Update File: b.py", "*** Move to: c.py"),
        *("*** Delete File: d.py", "@@ def f():", "@@", "*** End of File", " *** Begin Patch", "***", "*** x"),
    ],
    "udiff": [
        *("--- a/x.py", "+++ b/x.py", "@@ -1,2 +1,2 @@", "@@ -1 +1 @@ def f():", "--- /dev/null", "+++ /dev/null"),
        *("diff --git a/x.py b/x.py", "index 12..34 100644", "rename from x", "rename to y", "new file mode 100644"),
        *("```diff", "```", "\\ No newline at end of file", "--", "---", "+++ ", "deleted file mode 100644"),
    ],
    "heredoc": [
        *(
            "cat > a.py << 'EOF'",
            "cat << EOF | patch b.py",
            "EOF",
            "  EOF",
            "EOFX",
            "# what it is for",
            "npm install x",
        ),
        *("cat > s.sh <<'EOF'", 'cat > "a b" << "END"', "END", "cat <<EOF", "category", "#!/bin/sh"),
    ],
    "artifact": [
        *(
            '<boltArtifact id="x" title="a > b">',
            "</boltArtifact>",
            '<boltAction type="file" filePath="a.js">',
            "<",
            "<b",
        ),
        *("</boltAction>", '"</boltAction>";', '<boltAction type="shell">npm i', "<boltAct", "  </boltAction>  "),
        *('<boltAction type="file" filePath="b.js">x</boltAction><boltAction type="start">y</boltAction>', "a < b"),
    ],
    "fences": [
        "```python src/a.py",
        "```",
        "# src/b.py",
        "```js title='c.js'",
        "<!-- x.html -->",
        "```text",
        "@@ -1 +1 @@",
    ],
}
MARKERS["fences"] += MARKERS["whole"]
MARKERS["auto"] = [marker for markers in MARKERS.values() for marker in markers]

CONTENT = [
    *(
        "",
        " ",
        "x = 1",
        "+added",
        "-gone",
        " kept",
        "\tindented",
        "Prose, of which there are several words.",
        "é\u2028ü",
    ),
    *("```", "<<<<<<< HEAD", "\x0b\x0c\x85", "+", "-", "\ufeffstart", "😀", "---", "# a comment", "x" * 5000),
    "<" * (MAX_MARKER_CHARS + 1),
]
ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n", "", "\r"])


def texts(name: str) -> st.SearchStrategy[str]:
    line = st.one_of(st.sampled_from(MARKERS[name]), st.sampled_from(MARKERS[name]), st.sampled_from(CONTENT))
    return st.lists(st.tuples(line, ENDS), max_size=14).map(lambda lines: "".join(map("".join, lines)))


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=150)
@given(st.data())
def test_any_split_gives_the_same_events(name: FormatName, data: st.DataObject) -> None:
    text = data.draw(texts(name))
    whole = lexed(name, text)
    assert lexed(name, *cut(text, data.draw(st.lists(st.integers(0, 10_000), max_size=12)))) == whole
    assert lexed(name, *text) == whole


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60)
@given(st.text(alphabet="abc \n\t`~#<>=*@+-/.\"'", max_size=200), st.lists(st.integers(0, 300), max_size=9))
def test_noise_is_read_the_same_however_it_is_split(name: FormatName, text: str, places: list[int]) -> None:
    assert lexed(name, *cut(text, places)) == lexed(name, text) == lexed(name, *text)


OPENERS: dict[FormatName, tuple[str, str]] = {
    "blocks": (f"<<<< file {NONCE} a.py\n", ""),
    "whole": ("a.py\n```\n", ""),
    "patch": ("*** Begin Patch\n*** Add File: a.py\n", "+"),
    "udiff": ("--- a/a.py\n+++ b/a.py\n@@\n", " "),
    "heredoc": ("cat > a.py << 'EOF'\n", ""),
    "artifact": ('<boltAction type="file" filePath="a.py">\n', ""),
    "fences": ("```python a.py\n", ""),
    "auto": ("a.py\n```\n", ""),
}


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_no_marker_comes_as_it_is_written(name: FormatName) -> None:
    """Ours: a host shows the beginning of a line before its end is there, in a file and in the prose."""
    reader = make_lexer(name, NONCE)
    reader.feed("Here is what you have asked for, and")
    assert [each for each in reader.feed(" more") if isinstance(each, Content)] == [Content(" more")]
    opener, sign = OPENERS[name]
    reader.feed(f"\n{opener}{sign}x")
    said = [
        each.content for piece in ("value = 1", ", 2") for each in reader.feed(piece) if isinstance(each, FileChunk)
    ]
    assert said == ["value = 1", ", 2"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_line_of_a_megabyte_is_content_whatever_it_begins_with(name: FormatName) -> None:
    opener, sign = OPENERS[name]
    begun = {"artifact": "<boltAction ", "patch": "*** ", "udiff": "--- "}.get(name, "<<<<```")
    line = f"{begun}{'x' * 1_000_000}\u2028\r\n"
    events = lexed(name, *(f"{opener}{sign}{line}"[at : at + 4000] for at in range(0, len(line) + 100, 4000)))
    assert [text.removeprefix("@@\n").removeprefix(sign) for _, text, _ in files(events)] == [line]


@pytest.mark.parametrize("name", FORMATS)
def test_an_answer_of_prose_alone_comes_out_as_it_went_in(name: FormatName) -> None:
    text = (
        "Dear all,\r\n\r\n1 < 2 and <b> is no tag.\n---\n# A heading\n* an item\n+ one more\n@@ nothing\n\ufeff\u2028"
    )
    assert lexed(name, *text) == [Content(text)]
    assert lexed(name, "") == []
