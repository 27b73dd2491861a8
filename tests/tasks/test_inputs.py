"""The inputs of a task: what is taken, what each becomes in a prompt, and where it is cut."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.task_rows import KindName, TaskRow
from sidecar.core.errors import SidecarError
from sidecar.formats.code import extract_code
from sidecar.tasks.inputs import KINDS, Bounds, check_values, render


def rendered(kind: str, value: Any, **bounds: Any) -> str:
    """Return the text that *value* becomes."""
    row = TaskRow(input={"x": kind}, prompt="$x", **bounds)
    return render(row, "x", check_values("t", row, {"x": value})).text


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("text", "a $b ${c} $$", "a $b ${c} $$"),
        ("text", " \n", "(none)"),
        ("path", "src/a.py", "src/a.py"),
        ("paths", ["a", "b"], "- a\n- b"),
        ("paths", [], "(none)"),
        ("files", {"a.py": "x = 1\n", "b": "y"}, "a.py\n```\nx = 1\n```\n\nb\n```\ny\n```"),
        ("files", {}, "(none)"),
        ("files", {"a.md": "```py\n````\n"}, "a.md\n`````\n```py\n````\n`````"),
        ("phase", {"name": "N", "description": "D", "files": [{"path": "a"}]}, "N\nD\nFiles:\n- a"),
        ("phases", [{"name": "N", "description": "D"}, {"name": "M", "description": "E"}], "1. N\nD\n\n2. M\nE"),
        ("issues", [{"path": "a", "line": 3, "severity": "error", "message": "m"}], "- a:3: error: m"),
        ("issues", [{"path": "a", "message": "m"}], "- a: m"),
        ("image", {"url": "https://host.example/x.png"}, "(none)"),
    ],
)
def test_a_kind_has_one_rendering(kind: str, value: Any, text: str) -> None:
    assert rendered(kind, value) == text


def test_an_input_that_is_left_out_or_null_is_told_as_none() -> None:
    row = TaskRow(input={"x": "text?"}, prompt="$x")
    assert [render(row, "x", check_values("t", row, given)).text for given in ({}, {"x": None})] == ["(none)"] * 2


@given(st.text("`~ \nax", max_size=40))
def test_no_text_of_a_file_closes_the_fence_around_it(text: str) -> None:
    (block,) = extract_code(rendered("files", {"a": text or "x"})).blocks if text.strip() else [None]
    if block is not None:
        assert block.code.rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("text", "x" * 120, "x" * 100 + "\n[Cut: these are the first 100 of 120 characters.]"),
        ("files", {"a": "x" * 60}, "a\n```\n" + "x" * 50 + "\n```\n[Cut: these are the first 50 of 60 characters.]"),
    ],
)
def test_what_is_too_long_is_cut_and_says_so(kind: str, value: Any, text: str) -> None:
    assert rendered(kind, value, max_chars=100, max_file_chars=50) == text


def test_files_for_which_there_is_no_room_are_named() -> None:
    files = dict.fromkeys("abcd", "x" * 50)
    text = rendered("files", files, max_chars=100, max_file_chars=1000)
    assert text.endswith("[Cut: 2 more files are not shown:]\n- c\n- d")
    assert text.count("x") == 99


@pytest.mark.parametrize("chars", [0, 1, 99, 100, 101, 1000])
def test_what_is_said_to_be_cut_is_what_is_missing(chars: int) -> None:
    bounds = Bounds(max_chars=100, max_file_chars=60)
    for kind, value in (("text", "x" * chars), ("files", {"a": "x" * chars, "b": "x" * chars})):
        rendering = KINDS[kind].render(value, bounds)
        total = len(value) if isinstance(value, str) else sum(map(len, value.values()))
        assert rendering.text.count("x") + rendering.cut_chars == total + rendering.text.count("text")


def test_ten_thousand_files_are_rendered_within_their_bounds() -> None:
    files = {f"src/file_{number}.py": "x = 1\n" * 100 for number in range(10_000)}
    assert len(rendered("files", files)) < 2 * TaskRow().max_chars


@pytest.mark.parametrize(
    ("row", "given", "param", "words"),
    [
        ({"x": "text"}, {}, "params.input.x", "is required by the task `t`: a string."),
        ({"x": "text"}, {"x": None}, "params.input.x", "is required"),
        ({"x": "text"}, {"x": 7}, "params.input.x", "expected `str`"),
        ({"x": "text"}, {"x": "a", "y": 1}, "params.input.y", "is not an input of the task `t`. Its inputs are: `x`."),
        ({"x": "text"}, {"x": "a", "a\nb": 1}, "params.input.…", "is not an input"),
        ({"x": "path"}, {"x": "a\nb"}, "params.input.x", "matching"),
        ({"x": "path"}, {"x": ""}, "params.input.x", "length >= 1"),
        ({"x": "paths"}, {"x": ["a", 1]}, "params.input.x[1]", "expected `str`"),
        ({"x": "phase"}, {"x": {"name": "n"}}, "params.input.x.description", "is required"),
        ({"x": "issues"}, {"x": [{"path": "a"}]}, "params.input.x[0].message", "is required"),
        ({"x": "image"}, {"x": {}}, "params.input.x", "either `data` or `url`"),
    ],
)
def test_a_wrong_input_is_named_with_what_to_do(
    row: dict[str, str], given: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(SidecarError) as caught:
        check_values("t", TaskRow(input=row, prompt="$x"), given)
    assert caught.value.body.code == "invalid_request"
    assert caught.value.body.param == param
    assert words in caught.value.body.message


def test_a_misspelt_input_comes_with_the_likely_name() -> None:
    with pytest.raises(SidecarError) as caught:
        check_values("t", TaskRow(input={"description": "text?"}), {"descripton": "x"})
    assert caught.value.body.hint == "Did you mean `params.input.description`? Otherwise leave it out."


def test_a_choice_is_one_of_those_of_the_row_and_becomes_its_text() -> None:
    row = TaskRow(input={"x": "text"}, prompt="$x", choices={"x": {"a": "The first.", "b": "The second."}})
    assert render(row, "x", check_values("t", row, {"x": "b"})).text == "The second."
    with pytest.raises(SidecarError, match="must be one of `a`, `b`"):
        check_values("t", row, {"x": "c"})


def test_every_kind_that_a_row_may_name_is_there() -> None:
    assert KINDS.keys() == {*get_args(KindName)}
