"""`patch`: the V4A grammar, and what an independent reading of the same rules makes of made-up patches."""

import difflib
import random

import pytest

from sidecar.formats.apply import Files
from sidecar.formats.events import Closed
from tests.formats.lexing import files, lexed, prose

PATCH = """\
I will change it.
*** Begin Patch
*** Add File: src/new.py
+x = 1
+
++y
*** Update File: a.py
@@ def f():
 kept
-gone
+added
*** Delete File: b.py
*** Update File: c.py
*** Move to: d.py
@@
-last
+final
*** End of File
*** End Patch
Done.
"""


def test_every_kind_of_file_is_read() -> None:
    events = lexed("patch", PATCH)
    closed = [event for event in events if isinstance(event, Closed)]
    assert [(each.start.op, each.start.path, each.start.to) for each in closed] == [
        ("create", "src/new.py", None),
        ("edit", "a.py", None),
        ("delete", "b.py", None),
        ("rename", "c.py", "d.py"),
    ]
    assert all(each.complete for each in closed)
    assert closed[0].text == "x = 1\n\n+y\n"
    assert closed[1].edits[0].sections == ("def f():",)
    assert (closed[1].edits[0].old, closed[1].edits[0].new) == (("kept", "gone"), ("kept", "added"))
    assert closed[3].edits[0].at_end
    assert prose(events) == "I will change it.\nDone.\n"


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param("*** Begin Patch\n*** Update File: a\n@@\n-x\n+y\n*** End Patch", id="no last line end"),
        pytest.param(" *** Begin Patch \n *** Update File: a\n @@\n -x\n +y\n *** End Patch\n", id="indented"),
        pytest.param("*** Begin Patch ***\n*** Update File: a ***\n@@\n-x\n+y\n*** End Patch ***\n", id="stars"),
        pytest.param("*** Update File: a\n-x\n+y\n*** End Patch\n", id="no beginning, no @@"),
        pytest.param(
            "apply_patch <<'EOF'\n*** Begin Patch\n*** Update File: a\n@@\n-x\n+y\n*** End Patch\nEOF\n", id="shell"
        ),
        pytest.param("```\n*** begin patch\n*** update file: a\n@@\n-x\n+y\n*** end patch\n```\n", id="case, fence"),
        pytest.param("*** Begin Patch\r\n*** Update File: a\r\n@@\r\n-x\r\n+y\r\n*** End Patch\r\n", id="CRLF"),
    ],
)
def test_what_models_add_to_the_markers_is_tolerated(patch: str) -> None:
    rows = applied(patch, {"a": "w\nx\nz\n"})
    assert rows == {"a": "w\ny\nz\n"}


def applied(patch: str, existing: dict[str, str]) -> dict[str, str | None]:
    reader = Files("patch", existing=existing)
    reader.feed(patch)
    reader.end()
    return {row.to or row.path: row.content for row in reader.rows}


@pytest.mark.parametrize(
    "cut",
    ["*** Begin Patch\n*** Add File: a\n+x\n", "*** Begin Patch\n*** Add File: a\n+x\nno plus\n*** End Patch\n"],
    ids=["no end", "a line without its plus"],
)
def test_a_new_file_that_is_cut_or_unsound_is_never_complete(cut: str) -> None:
    ((_, text, complete),) = files(lexed("patch", cut))
    assert text.startswith("x\n")
    assert not complete


def test_of_a_cut_update_the_last_hunk_is_incomplete() -> None:
    reader = Files("patch", existing={"a": "1\n2\n3\n"}, partial=True)
    reader.feed("*** Begin Patch\n*** Update File: a\n@@\n-1\n+one\n@@\n-3\n+thr")
    end = reader.end()[-1]
    (row,) = reader.rows
    assert [each.problem for each in end.edits] == [None, "incomplete"]  # type: ignore[union-attr]
    assert not row.complete
    assert row.content == "one\n2\n3\n"


@pytest.mark.parametrize(
    ("hunk", "text", "expected"),
    [
        pytest.param("@@ class B:\n     def f():\n-        x\n+        y\n", "BOTH", "second", id="named scope"),
        pytest.param("@@ class B:\n@@     def f():\n-        x\n+        y\n", "BOTH", "second", id="two names"),
        pytest.param("@@\n     def f():\n-        x\n+        y\n", "BOTH", None, id="two places"),
        pytest.param("@@ class C:\n     def f():\n-        x\n+        y\n", "BOTH", None, id="unknown name"),
        pytest.param("@@ class B:\n     def g():\n-        x\n+        y\n", "BOTH", None, id="not in what is named"),
        pytest.param("@@ class B:\n+    z = 1\n", "BOTH", "below", id="addition below its name"),
        pytest.param("@@\n+    z = 1\n", "BOTH", None, id="addition without a place"),
        pytest.param("@@\n+end\n*** End of File\n", "BOTH", "end", id="addition at the end"),
    ],
)
def test_what_stands_after_the_signs_tells_places_apart(hunk: str, text: str, expected: str | None) -> None:
    """Ours: an addition whose place is not said is refused; the first reader of the format puts it at the end."""
    one = "class A:\n    def f():\n        x\n"
    text = f"{one}\n{one.replace('A', 'B')}"
    results = {
        "second": f"{one}\n{one.replace('A', 'B').replace('x', 'y')}",
        "below": text.replace("class B:\n", "class B:\n    z = 1\n"),
        "end": f"{text}end\n",
        None: None,
    }
    assert applied(f"*** Begin Patch\n*** Update File: a\n{hunk}*** End Patch\n", {"a": text}) == {
        "a": results[expected]
    }


# --- an independent reading ------------------------------------------------------------------


def reference(text: str, patch: list[str]) -> str:
    """Return *text* after the hunks of *patch*, by the first place from the last one on."""
    lines = text.split("\n")[:-1]
    at = 0
    changes: list[tuple[int, int, list[str]]] = []
    hunks: list[list[str]] = []
    for line in patch:
        if line.startswith("@@"):
            hunks.append([line])
        else:
            hunks[-1].append(line)
    for head, *body in hunks:
        if head != "@@":
            at = next(n for n in range(at, len(lines)) if lines[n] == head[3:]) + 1
        old = [line[1:] for line in body if line[0] in " -"]
        new = [line[1:] for line in body if line[0] in " +"]
        start = next(n for n in range(at, len(lines)) if lines[n : n + len(old)] == old)
        changes.append((start, start + len(old), new))
        at = start + len(old)
    for start, end, new in reversed(changes):
        lines[start:end] = new
    return "".join(f"{line}\n" for line in lines)


def made_up(chance: random.Random, words: int) -> tuple[str, str, list[str]]:
    """Return a text, what it becomes, and the hunks that lead there."""
    old = [f"{'    ' * chance.randrange(3)}line {chance.randrange(words)}" for _ in range(chance.randrange(10, 60))]
    new = [each for line in old for each in (chance.choice([[line]] * 12 + [[], [f"{line} new"], [line, "more"]]))]
    hunks: list[str] = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(3):
        hunks.append("@@")
        for tag, a, b, c, d in group:
            hunks += [f" {line}" for line in old[a:b]] if tag == "equal" else [f"-{line}" for line in old[a:b]]
            hunks += [] if tag == "equal" else [f"+{line}" for line in new[c:d]]
    return "".join(f"{each}\n" for each in old), "".join(f"{each}\n" for each in new), hunks


@pytest.mark.long
@pytest.mark.parametrize(("words", "least"), [(100_000, 250), (30, 200), (5, 50)])
def test_made_up_patches_are_applied_as_an_independent_reader_does_or_refused(words: int, least: int) -> None:
    chance = random.Random(words)
    placed = refused = 0
    for _ in range(300):
        old, new, hunks = made_up(chance, words)
        patch = "".join(f"{line}\n" for line in ("*** Begin Patch", "*** Update File: a", *hunks, "*** End Patch"))
        (content,) = applied(patch, {"a": old}).values()
        if content is None:
            refused += bool(hunks)
            continue
        assert content == new
        assert content == reference(old, hunks) or words < 100_000
        placed += 1
    assert placed >= least
    assert not refused or words < 100_000
