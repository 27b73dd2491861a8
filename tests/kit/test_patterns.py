"""Patterns: what fits, what does not, and what is said of it."""

from typing import Any

import pytest

from sidecar.kit.patterns import expand, find_mismatch, find_sequence_mismatch, make_done, show


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (1, 1),
        (1, 1.0),
        ({"a": 1}, {"a": 1, "more": 2}),
        ({"a": None}, {}),
        ({"a": None}, {"a": None}),
        ({"a": {"$absent": True}}, {}),
        ({"$any_of": [1, 2]}, 2),
        ({"$exactly": {"a": []}}, {"a": []}),
        ({"$contains": "line 3"}, "in line 3:"),
        ([{"a": 1}, 2], [{"a": 1, "b": 2}, 2]),
    ],
)
def test_a_value_fits(pattern: Any, value: Any) -> None:
    assert find_mismatch(pattern, value) is None


@pytest.mark.parametrize(
    ("pattern", "value", "mismatch"),
    [
        (1, True, "it is true"),
        (False, 0, "it is 0"),
        (1, "1", 'it is "1"'),
        ({"a": 1}, {"a": 2}, "a is 2"),
        ({"a": {"b": 1}}, {"a": {}}, "a.b is missing"),
        ({"a": {"b": 1}}, {"a": []}, "a is []"),
        ({"a": None}, {"a": {}}, "a is {}"),
        ({"a": {"$absent": True}}, {"a": None}, "a is there"),
        ({"$any_of": [1, 2]}, 3, "it fits none of [1, 2]"),
        ({"a": {"$exactly": {}}}, {"a": []}, "a is []"),
        ({"a": {"$exactly": {"b": 1}}}, {"a": {"b": 1, "c": 2}}, 'a is {"b": 1, "c": 2}'),
        ({"$contains": "line 3"}, None, "it is null"),
        ({"a": [1, 2]}, {"a": [1]}, "a has 1 elements"),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "a[1].b is 3"),
    ],
)
def test_a_value_does_not_fit_and_the_place_is_named(pattern: Any, value: Any, mismatch: str) -> None:
    assert find_mismatch(pattern, value) == mismatch


@pytest.mark.parametrize(
    ("patterns", "values", "mismatch"),
    [
        ([1, 2], [1, 2], None),
        ([1, {"$optional": 2}, 3], [1, 3], None),
        ([1, {"$optional": 2}, 3], [1, 2, 3], None),
        ([{"$times": [3, 7]}], [7, 7, 7], None),
        ([{"$times": [3, 7]}], [7, 7], ("as number 3 7", "nothing")),
        ([1, 2], [1], ("as number 2 2", "nothing")),
        ([1], [1, 2], ("nothing more", "2")),
        ([1, 2], [1, 3], ("as number 2 2", "3: it is 3")),
    ],
)
def test_reports_come_in_their_order(patterns: list[Any], values: list[Any], mismatch: Any) -> None:
    assert find_sequence_mismatch(patterns, values) == mismatch


def test_short_forms_are_written_out() -> None:
    short = {"id": "$a", "data": {"$done": {"text": {"$repeat": ["xy", 2]}}}, "list": ["$b", "$ 5"]}
    assert expand(short, {"a": 1, "b": "two"}) == {
        "id": 1,
        "data": make_done({"text": "xyxy"}),
        "list": ["two", "$ 5"],
    }
    assert expand({"$initialized": {"protocol_version": 2}}, {})["protocol_version"] == 2


def test_a_name_that_nothing_has_bound_is_a_mistake_of_the_script() -> None:
    with pytest.raises(KeyError):
        expand({"id": "$nobody"}, {})


def test_what_is_shown_is_short_and_harmless() -> None:
    assert show("a\x1b[31m\n\u2028") == '"a\\x1b[31m\\n\\u2028"'
    assert len(show("x" * 10_000)) < 250
    assert "(10000 characters)" in show("x" * 10_000)
