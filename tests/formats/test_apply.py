"""One text and its edits: how each is placed or refused, and what stays as it was."""

from typing import get_args

import pytest

from protocol.files import EditOutcome, Place, Tolerance
from sidecar.core.errors import SidecarError
from sidecar.formats.apply import MAX_EDITS, apply_edits
from sidecar.formats.edits import make_edit


def edited(text: str, *pairs: tuple[str, str], tolerance: Tolerance = "elision", partial: bool = False) -> EditOutcome:
    """Return what becomes of *text* when the second of each pair is put in the place of the first."""
    return apply_edits(text, [make_edit(*pair) for pair in pairs], tolerance=tolerance, partial=partial)


@pytest.mark.parametrize(
    ("text", "search", "replace", "expected", "match"),
    [
        pytest.param("a = 1\nb = 2\n", "b = 2", "b = 3", "a = 1\nb = 3\n", "exact", id="a line"),
        pytest.param("a\nb\nc\n", "b\n", "", "a\nc\n", "exact", id="a line that goes"),
        pytest.param("a\nb\nc", "c", "d\n", "a\nb\nd", "exact", id="the last line keeps no end"),
        pytest.param("a\nb", "a\nb\n", "", "", "exact", id="all of it"),
        pytest.param("", "", "x\n", "x\n", "exact", id="an empty text"),
        pytest.param("\ufeffa\r\nb\r\n", "a\n", "x\ny\n", "\ufeffx\r\ny\r\nb\r\n", "exact", id="mark and CRLF"),
        pytest.param("a\nb\r\nc\n", "b\nc\n", "b\nx\nc\n", "a\nb\r\nx\nc\n", "exact", id="mixed line ends"),
        pytest.param("a \nb\t\nc\n", "a\nb\nc\n", "a\nB\nc\n", "a \nB\nc\n", "whitespace", id="blanks at the ends"),
        pytest.param("x\na\n\ny\n", "\n\na\n\n", "\n\nb\n\n", "x\nb\n\ny\n", "whitespace", id="blank lines around"),
        pytest.param("  a\n    b\n", "a\n  b\n", "a\n  b\n  c\n", "  a\n    b\n    c\n", "indent", id="further in"),
        pytest.param("a\n  b\n", "  a\n    b\n", "  a\n    c\nd\n", "a\n  c\nd\n", "indent", id="further out"),
        pytest.param(
            "\tif x:\n\t\ty\n",
            "    if x:\n        y\n",
            "    if x:\n        if z:\n            y\n    w\n",
            "\tif x:\n\t\tif z:\n\t\t\ty\n\tw\n",
            "indent",
            id="tabs for blanks",
        ),
        pytest.param(
            "if x:\n  y\n", "if x:\n    y\n", "if x:\n        z\n", "if x:\n    z\n", "indent", id="two for four"
        ),
        pytest.param(
            "s = 'it'  # a - b\n", "s = \u2018it\u2019 # a \u2013 b", "s = 1", "s = 1\n", "punctuation", id="typography"
        ),
        pytest.param("f(1,   2)\n", "f(1, 2)", "f(3)", "f(3)\n", "punctuation", id="runs of blanks"),
        pytest.param("x = f(1) + g(1)\n", "f(1)", "f(2)", "x = f(2) + g(1)\n", "substring", id="within a line"),
        pytest.param("x = f(1)\n", "f(1)", "(\n  2\n)", "x = (\n  2\n)\n", "substring", id="one line into three"),
        pytest.param(
            "def f():\n    a\n    b\n    c\n    d\n",
            "def f():\n    a\n    ...\n    d\n",
            "def f():\n    A\n    ...\n    D\n",
            "def f():\n    A\n    b\n    c\n    D\n",
            "elision",
            id="lines left out",
        ),
        pytest.param(
            "a1\nb\nc\nd1\n",
            "a1\n# ... existing code ...\nd1\n",
            "a2\n# ... existing code ...\nd2\n",
            "a2\nb\nc\nd2\n",
            "elision",
            id="lines left out by a comment",
        ),
        pytest.param("a\u2028b\nc\n", "a\u2028b\n", "d\n", "d\nc\n", "exact", id="U+2028 ends no line"),
        pytest.param("a\rb\nc\n", "c\n", "d\n", "a\rb\nd\n", "exact", id="a lone CR ends none"),
        pytest.param("a\\1\n", "a\\1", "\\g<0>$&", "\\g<0>$&\n", "exact", id="nothing in it is a pattern"),
    ],
)
def test_an_edit_is_placed(text: str, search: str, replace: str, expected: str, match: str) -> None:
    outcome = edited(text, (search, replace))
    assert outcome.text == expected
    assert [each.match for each in outcome.applied] == [match]


@pytest.mark.parametrize(
    ("text", "search", "problem", "candidates"),
    [
        pytest.param("x\ny\nx\n", "x", "ambiguous", [Place(1, 1), Place(3, 3)], id="two places"),
        pytest.param("x \nx\t\n", "x\n", "ambiguous", [Place(1, 1), Place(2, 2)], id="two but for blanks"),
        pytest.param("  x\n    x\n", "x\n", "ambiguous", [Place(1, 1), Place(2, 2)], id="two but for how far in"),
        pytest.param("f(1, 1)\n", "1", "ambiguous", [Place(1, 1), Place(1, 1)], id="twice in a line"),
        pytest.param("a\na\na\n", "a\na\n", "ambiguous", [Place(1, 2), Place(2, 3)], id="overlapping places"),
        pytest.param("x\n", "y", "not_found", [], id="nowhere"),
        pytest.param("x\n", "", "not_found", [], id="nothing to find"),
        pytest.param("a\nb\n", "a\n...\nb\n", "not_found", [], id="an ellipsis on one side alone"),
        pytest.param("if a:\n    b\nc\n", "if a:\nb\n", "not_found", [], id="a line that is not further in"),
        pytest.param("x\n" * 50, "x", "ambiguous", [Place(at, at) for at in range(1, 11)], id="ten of many"),
    ],
)
def test_an_edit_is_refused(text: str, search: str, problem: str, candidates: list[Place]) -> None:
    outcome = edited(text, (search, "new"))
    assert outcome.text == text
    assert [(each.problem, each.candidates) for each in outcome.failed] == [(problem, candidates)]
    assert not outcome.applied


LADDER = {
    "exact": ("a b\n", "a b\n"),
    "whitespace": ("a b\n", "a b \n"),
    "indent": ("a b\n", "  a b\n"),
    "punctuation": ("a b\n", "a  b\n"),
    "elision": ("x\na b\ny\n", "x\n...\ny\n"),
    "similar": ("a long line of text\n", "a long line of test\n"),
}


@pytest.mark.parametrize("needed", LADDER)
@pytest.mark.parametrize("tolerance", get_args(Tolerance))
def test_no_more_is_tolerated_than_was_asked_for(tolerance: Tolerance, needed: str) -> None:
    text, search = LADDER[needed]
    order = list(LADDER)
    outcome = edited(text, (search, search.replace("y", "z")), tolerance=tolerance)
    assert bool(outcome.applied) is (order.index(needed) <= order.index(tolerance))
    assert all(each.match == needed for each in outcome.applied)


def test_what_is_only_similar_must_be_so_in_the_middle_and_without_a_rival() -> None:
    line = "the same words in every line but for a number"
    text = "".join(f"{line} {at}\n" for at in (1, 2))
    assert edited(text, (f"{line} 3", "x"), tolerance="similar").failed[0].problem == "not_found"
    block = "first line\n" + "middle\n" * 3 + "last line\n"
    assert edited(block, (block.replace("middle", "something else"), "x"), tolerance="similar").failed


def test_all_edits_refer_to_the_text_as_it_is() -> None:
    outcome = edited("a\nb\n", ("a", "b"), ("b", "a"))
    assert outcome.text == "b\na\n"
    assert [(each.start_line, each.end_line) for each in outcome.applied] == [(1, 1), (2, 2)]


def test_edits_may_share_context_but_not_what_they_change() -> None:
    shared = edited("a\nb\nc\n", ("a\nb\n", "A\nb\n"), ("b\nc\n", "b\nC\n"))
    assert shared.text == "A\nb\nC\n"
    both = edited("a\nb\nc\n", ("a\nb\n", "A\nB\n"), ("b\nc\n", "x\nc\n"))
    assert [(each.edit, each.problem) for each in both.failed] == [(1, "overlap")]
    inside = edited("a\nb\nc\n", ("a\nb\nc\n", ""), ("a\nb\n", "a\nx\nb\n"))
    assert inside.failed[0].problem == "overlap"


def test_additions_in_one_place_come_in_the_order_of_the_edits() -> None:
    assert edited("a\nb\n", ("a\n", "a\n1\n"), ("b\n", "2\nb\n")).text == "a\n1\n2\nb\n"


def test_where_one_fails_none_is_applied_unless_that_is_wanted() -> None:
    pairs = (("a", "A"), ("x", "y"))
    assert edited("a\nb\n", *pairs) == EditOutcome(text="a\nb\n", applied=[], failed=edited("a\nb\n", *pairs).failed)
    outcome = edited("a\nb\n", *pairs, partial=True)
    assert outcome.text == "A\nb\n"
    assert ([each.edit for each in outcome.applied], [each.edit for each in outcome.failed]) == ([0], [1])


def test_a_refusal_says_what_helps_without_repeating_the_text() -> None:
    text = "".join(f"line number {at}\n" for at in range(9))
    near = edited(text, ("line number 3\nline number 4x\nline number 5\n", "z"))
    there = edited("done\n", ("to do", "done"))
    assert near.failed[0].hint == "Lines 4 to 6 are the nearest. Quote them exactly."
    assert there.failed[0].hint == "The replacement is already in the text, at line 1."
    assert edited("q\n", ("x", "y")).failed[0].hint is None


def test_a_line_that_stays_is_the_text_s_own() -> None:
    """Ours: what edit and text differ in by tolerance does not get into lines that the edit leaves as they are."""
    text = "def f(a):  \n\tx  =  1 \n\ty\n\treturn 'x' \n"
    outcome = edited(
        text,
        (
            "def f(a):\n    x = 1\n    y\n    return \u2019x\u2019\n",
            "def f(a):\n    x = 1\n    z\n    return \u2019x\u2019\n",
        ),
    )
    assert outcome.text == "def f(a):  \n\tx  =  1 \n\tz\n\treturn 'x' \n"
    assert outcome.applied[0].match == "punctuation"


# --- patches ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "patch",
    [
        "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n",
        "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n",
        "@@ -70,9 +80,2 @@\n a\n-b\n+B\n c",
        "@@\n-b\n+B\n",
        "```diff\n--- a/f\n+++ b/f\n@@ @@\n a\n-b\n+B\n c\n```\n",
        "*** Begin Patch\n*** Update File: f\n-b\n+B\n*** End Patch\n",
        "*** Update File: f\n-b\n+B\n",
        "f\n<<<<<<< SEARCH\nb\n=======\nB\n>>>>>>> REPLACE\n",
        "@@\na\n-b\n+B\nc\n",
    ],
)
def test_a_patch_may_be_of_any_kind(patch: str) -> None:
    assert apply_edits("a\nb\nc\n", patch).text == "a\nB\nc\n"


@pytest.mark.parametrize(
    ("patch", "text", "expected", "match"),
    [
        ("@@\n a\n b\n-c\n+C\n stale\n", "a\nb\nc\nd\n", "a\nb\nC\nd\n", "context"),
        ("@@\n stale\n b\n+new\n c\n d\n", "a\nb\nc\nd\n", "a\nb\nnew\nc\nd\n", "context"),
        ("@@\n stale\n-b\n+B\n c\n", "a\nb\nc\nd\n", "a\nB\nc\nd\n", "context"),
        ("@@\n a\n-b\n+B\n e\n-f\n+F\n", "a\nb\nc\nd\ne\nf\n", "a\nB\nc\nd\ne\nF\n", "split"),
        ("@@\n a\n-b\n+B\n \n c\n\n", "a\nb\n\nc\n", "a\nB\n\nc\n", "exact"),
    ],
)
def test_a_hunk_whose_context_is_not_quite_right_is_placed(patch: str, text: str, expected: str, match: str) -> None:
    outcome = apply_edits(text, patch)
    assert outcome.text == expected
    assert outcome.applied[0].match == match


@pytest.mark.parametrize(
    "patch", ["@@\n stale\n-x\n+y\n stale\n", "@@\n stale\n+y\n b\n", "@@\n stale\n-x\n+y\n stale\n-b\n+c\n"]
)
def test_a_hunk_of_whose_context_nothing_is_right_is_refused(patch: str) -> None:
    """Ours: the lines that go may well stand where nobody meant them."""
    assert apply_edits("a\nx\nb\n", patch).failed[0].problem == "not_found"


def test_hunks_in_their_order_tell_places_apart() -> None:
    text = "x\na\nx\nb\nx\n"
    both = "@@\n-a\n+A\n@@\n-x\n+X\n@@\n-b\n+B\n"
    assert apply_edits(text, both).text == "x\nA\nX\nB\nx\n"
    assert apply_edits(text, "@@\n-x\n+X\n").failed[0].problem == "ambiguous"


def test_numbers_are_believed_where_another_hunk_shows_that_they_are_right() -> None:
    text = "".join(f"{line}\n" for line in ["x", "x", "x", "only", "x", "x", "x"])
    right = "@@ -4 +4 @@\n-only\n+ONE\n@@ -6 +6 @@\n-x\n+X\n"
    assert apply_edits(text, right).text == text.replace("only", "ONE")[: -len("x\nx\n")] + "X\nx\n"
    assert apply_edits(text, right.replace("-4", "-3")).text == text.replace("only", "ONE")[: -len("x\n")] + "X\n"
    assert apply_edits(text, right.replace("-6", "-60")).failed[0].problem == "ambiguous"
    assert apply_edits(text, "@@ -6 +6 @@\n-x\n+X\n").failed[0].problem == "ambiguous"


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ("", "The patch changes nothing."),
        ("What a nice day.", "The patch changes nothing."),
        (
            "--- a/f\n+++ b/f\n@@\n-a\n+b\n--- a/g\n+++ b/g\n@@\n-a\n+b\n",
            "The patch changes several files, but there is only one text.",
        ),
    ],
)
def test_a_patch_of_no_file_or_of_several_is_refused(patch: str, message: str) -> None:
    with pytest.raises(SidecarError) as caught:
        apply_edits("a\n", patch)
    assert (caught.value.body.code, caught.value.body.message) == ("invalid_request", message)
    assert caught.value.body.param == "params.patch"


def test_more_edits_than_there_may_be_are_refused() -> None:
    with pytest.raises(SidecarError) as caught:
        apply_edits("a\n", [make_edit("a", "b")] * (MAX_EDITS + 1))
    assert caught.value.body.param == "params.edits"
