"""Reading other people's JSON: what is missing or of the wrong type is empty."""

from typing import Any

import pytest

from sidecar.core.json_values import parse_json, read_count, read_object, read_objects, read_text


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
