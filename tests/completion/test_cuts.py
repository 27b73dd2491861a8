"""The rules that cut a model's text: a table of cases for each, and what holds for all texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.completion import cuts
from sidecar.completion.cuts import Cut, Place
from sidecar.completion.trim import clean_start, may_be_start, settle, trim

RETURN = "def area(r):\n    return "
PRINT = "\n\nprint(area(2))\n"


def place(prefix: str = RETURN, suffix: str = PRINT, lines: str = "auto", *tokens: str) -> Place:
    """Return a place."""
    return Place(prefix=prefix, suffix=suffix, lines=lines, tokens=tokens)


LINE_CASES = {
    "a statement ends with its line": (place(), "PI * r * r\nfoo()", "PI * r * r"),
    "a line goes on after a comma": (place("f(", ""), "1,\n  2)\ng()", "1,\n  2)\ng()"),
    "a line goes on after a colon": (place("for x in ", ""), "xs:\n    print(x)\ny", "xs:\n    print(x)\ny"),
    "a block ends before a line further left": (place("if x:\n    ", ""), "a()\n    b()\nc()", "a()\n    b()"),
    "a block ends at a blank line before another": (place("", ""), "def f():\n    a\n\ndef g()", "def f():\n    a"),
    "a blank line within a block stays": (place("", ""), "def f():\n    a\n\n    b", "def f():\n    a\n\n    b"),
    "text after the cursor leaves room for one line": (place("x = f(", ")\n"), "1\n2", "1"),
    "one line is one line": (place("", "", "one"), "a = 1\nb = 2", "a = 1"),
    "one line may be none": (place("", "", "one"), "\na = 1", ""),
    "many lines are as many as come": (place(lines="many"), "PI\n\nfoo()", "PI\n\nfoo()"),
}


@pytest.mark.parametrize(("where", "text", "left"), LINE_CASES.values(), ids=LINE_CASES)
def test_lines_end_where_they_are_wanted(where: Place, text: str, left: str) -> None:
    at = cuts.find_end_of_lines(text, where, is_final=True)
    assert text[:at] == left


OVERLAP_CASES = {
    "the text after the cursor": (place(), "PI * r * r\n\nprint(area(2))\n", "PI * r * r"),
    "the beginning of it": (place(), "PI * r * r\n\nprint(area", "PI * r * r"),
    "the line below": (place("a(\n    ", "\n    two,\n)\n"), "one,\n    two,\n    three,", "one,"),
    "a bracket that was not opened": (place("f(", ")"), "x, y)", "x, y"),
    "a bracket that was opened": (place("f(", ")"), "g(x)", "g(x)"),
    "a quote too many": (place('s = "', '"'), 'abc"', "abc"),
    "a line that is short and balanced": (place("{\n  ", "\n}\n"), "if (x) {\n    y\n}", "if (x) {\n    y\n}"),
    "a line that closes what was open before": (place("{\n  ", "\n}\n"), "y();\n}", "y();"),
    "nothing of it": (place(), "PI * r * r", "PI * r * r"),
}


@pytest.mark.parametrize(("where", "text", "left"), OVERLAP_CASES.values(), ids=OVERLAP_CASES)
def test_the_text_after_the_cursor_is_not_written_twice(where: Place, text: str, left: str) -> None:
    at = cuts.find_overlap(text, where, is_final=True)
    assert text[:at] == left


REPEAT_CASES = {
    "the line above": (place("import os\n", ""), "import os\nimport re", ""),
    "a line again and again": (place("", ""), "a = 1\nb = 22\nb = 22\nb = 22\n", "a = 1\nb = 22"),
    "a line twice": (place("", ""), "total += 1\ntotal += 1", "total += 1\ntotal += 1"),
    "a block": (place("", ""), "x = 11\ny = 22\nx = 11\ny = 22\nx = 11", "x = 11\ny = 22"),
    "brackets": (place("", ""), "}\n}\n}\n}", "}\n}\n}\n}"),
    "nothing": (place("a\n", ""), "b = 1\nc = 2", "b = 1\nc = 2"),
}


@pytest.mark.parametrize(("where", "text", "left"), REPEAT_CASES.values(), ids=REPEAT_CASES)
def test_repetitions_end_the_text(where: Place, text: str, left: str) -> None:
    at = cuts.find_repeat(text, where, is_final=True)
    assert text[:at] == left


FENCE_CASES = {
    "around the text": ("```python\nx = 1\n```", Cut("x = 1", "fence")),
    "with prose after it": ("```\nx = 1\n```\nThis sets x.", Cut("x = 1", "fence")),
    "without its end": ("```python\nx = 1", Cut("x = 1", "fence")),
    "on one line": ("```x = 1```", Cut("x = 1", "fence")),
    "after the text": ("x = 1\n```\nThis sets x.", Cut("x = 1", "fence")),
    "none": ("x = 1", Cut("x = 1")),
}


@pytest.mark.parametrize(("text", "cut"), FENCE_CASES.values(), ids=FENCE_CASES)
def test_a_fence_is_no_part_of_the_text(text: str, cut: Cut) -> None:
    assert cuts.cut_fence(text, is_final=True) == cut


TOKEN_CASES = {
    "the first of several": ("a<|fim_pad|>b<|endoftext|>", ("<|endoftext|>", "<|fim_pad|>"), "a"),
    "none": ("a < b", ("<|endoftext|>",), "a < b"),
    "half of one": ("a<|endof", ("<|endoftext|>",), "a<|endof"),
}


@pytest.mark.parametrize(("text", "tokens", "left"), TOKEN_CASES.values(), ids=TOKEN_CASES)
def test_a_token_is_no_text(text: str, tokens: tuple[str, ...], left: str) -> None:
    assert text[: cuts.find_token(text, tokens)] == left


START_CASES = {
    "indentation that is there": (place("def f():\n    ", ""), "    return 1", "return 1"),
    "indentation that is not there": (place("def f():\n", ""), "    return 1", "    return 1"),
    "a second blank": (place("x = ", ""), " 1", "1"),
    "a first blank": (place("foo", ""), " = var", " = var"),
    "a line break too many": (place("x\n\n", ""), "\ny", "y"),
    "the beginning of the line": (place("    return ", ""), "return x", "x"),
}


@pytest.mark.parametrize(("where", "text", "left"), START_CASES.values(), ids=START_CASES)
def test_what_stands_before_the_cursor_is_not_written_twice(where: Place, text: str, left: str) -> None:
    assert clean_start(text, where) == left


TRIM_CASES = {
    "a line": (place(), "PI * r * r\n\nprint(area(2))", Cut("PI * r * r", "line")),
    "a whole answer": (place(), "PI * r * r", Cut("PI * r * r")),
    "blanks alone": (place("", ""), "  \n ", Cut("")),
    "blanks at the end": (place("x = ", "\ny"), "1  ", Cut("1")),
    "blanks before text": (place("x = ", "+ 2\ny"), "1 ", Cut("1 ")),
    "a token": (place("x = ", "", "many", "<EOT>"), "1<EOT>2", Cut("1", "token")),
    "a fence": (place("", "", "many"), "```\nx\n```", Cut("x", "fence")),
}


@pytest.mark.parametrize(("where", "text", "cut"), TRIM_CASES.values(), ids=TRIM_CASES)
def test_the_rules_apply_one_after_the_other(where: Place, text: str, cut: Cut) -> None:
    assert trim(text, where, is_final=True) == cut


def test_a_fence_is_a_part_of_markdown() -> None:
    where = Place(prefix="", suffix="", lines="many", is_markdown=True)
    assert trim("```\nx\n```", where, is_final=True) == Cut("```\nx\n```")


PARTS = ["x = 1", "\n", "    ", "}", ")", "```", "<EOT>", "print(area(2))", "return ", "if y:", " ", "y", "```python"]
PREFIXES = [RETURN, "", "x = 1\n", "if y:\n    ", "x = f(", "x = 1\n\n"]
SUFFIXES = ["", PRINT, ")\n", "\n}\n", "\n    x = 1\n", "y\n"]


@given(
    parts=st.lists(st.sampled_from(PARTS), max_size=14),
    prefix=st.sampled_from(PREFIXES),
    suffix=st.sampled_from(SUFFIXES),
    lines=st.sampled_from(["auto", "one", "many"]),
)
def test_what_is_given_early_is_the_beginning_of_what_is_given_at_the_end(
    parts: list[str], prefix: str, suffix: str, lines: str
) -> None:
    where, begun, given_early = place(prefix, suffix, lines, "<EOT>"), "", ""
    for part in parts:
        begun += part
        if not may_be_start(begun, where):
            settled = settle(clean_start(begun, where), where)
            assert settled.startswith(given_early) or given_early.startswith(settled)
            given_early = max(given_early, settled, key=len)
    final = trim(clean_start(begun, where), where, is_final=True).text
    assert final.startswith(given_early), (begun, given_early, final)


@given(text=st.text("ab", max_size=12), suffix=st.text("ab", max_size=12))
def test_an_overlap_is_the_longest_there_is(text: str, suffix: str) -> None:
    sizes = range(min(len(text), len(suffix)), -1, -1)
    assert cuts.count_overlap(text, suffix) == next(size for size in sizes if text.endswith(suffix[:size]))
