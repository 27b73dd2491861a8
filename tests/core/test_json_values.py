"""Reading other people's JSON: what is missing or of the wrong type is empty."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.json_values import (
    find_lone_surrogate,
    is_too_deep,
    parse_json,
    read_count,
    read_object,
    read_objects,
    read_text,
)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":[1,null]}', {"a": [1, None]}),
        (b'"text"', "text"),
        (b"null", None),
        (b"", None),
        (b"<html>", None),
        (b'{"a":', None),
        (b'"\xff"', None),
        (b"[" * 100_000, None),
    ],
)
def test_a_body_that_is_not_json_has_no_value(body: bytes, value: Any) -> None:
    assert parse_json(body) == value


@pytest.mark.parametrize("value", [None, True, 7, 1.5, [], {}, b"x"])
def test_a_value_that_is_not_a_string_is_an_empty_text(value: object) -> None:
    assert read_text(value) == ""
    assert read_text("text") == "text"


@pytest.mark.parametrize("value", [None, True, 7, "x", [], [{}]])
def test_a_value_that_is_not_an_object_is_an_empty_object(value: object) -> None:
    assert read_object(value) == {}
    assert read_object({"a": 1}) == {"a": 1}


def test_only_the_objects_of_a_list_are_read() -> None:
    assert read_objects([{"a": 1}, None, "x", [], {}]) == [{"a": 1}, {}]
    assert read_objects({"a": 1}) == []
    assert read_objects(None) == []


@pytest.mark.parametrize("value", [None, True, False, -1, 1.0, "7", [], {}])
def test_a_count_is_a_whole_number_of_at_least_0(value: object) -> None:
    assert read_count(value) is None
    assert read_count(0) == 0
    assert read_count(7) == 7


def count_levels(value: Any) -> int:
    """Return in how many levels a value is nested."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(count_levels, inner), default=0)


JSON = st.recursive(
    st.text(alphabet='[]{}"\\,:x', max_size=6) | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[]{}"\\x', max_size=3), inner),
    max_leaves=12,
)


@given(value=JSON)
def test_levels_are_counted_outside_of_strings_alone(value: Any) -> None:
    levels = count_levels(value)
    for body in (json.dumps(value).encode(), msgspec.json.encode(value), json.dumps(value, indent=1).encode()):
        assert is_too_deep(body, levels) is False
        # Shorter ones are not looked at.
        padded = body + b" " * 50 + b"\n"
        assert levels == 0 or is_too_deep(padded, levels - 1) is True


@given(body=st.text(alphabet='[]{}"\\x', max_size=60).map(str.encode))
def test_nothing_that_is_no_json_makes_the_count_of_levels_raise(body: bytes) -> None:
    assert is_too_deep(body, 0) in (True, False)


@pytest.mark.parametrize(
    ("encoded", "path"),
    [
        (rb'{"a":["x","\ud800"]}', "p.a[1]"),
        (rb'{"a":{"b c":"\uDC00"}}', "p.a.…"),
        (rb'"\ud83d\ude00\ud83d"', "p"),
        (rb'["\ude00\ud83d"]', "p[0]"),
        (rb'["\ud83d\ude00", "\\ud800", "\n"]', None),
        (rb'["\ud800"', None),
        (b'["a"]', None),
        (b'["' + b" " * 2**20 + rb'\ud800"]', None),
    ],
)
def test_half_of_a_surrogate_pair_is_found(encoded: bytes, path: str | None) -> None:
    assert find_lone_surrogate(encoded, "p") == path
