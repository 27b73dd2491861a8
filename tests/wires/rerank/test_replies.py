"""Replies of reranks: what is read of every shape, and what is refused, by the index of the document."""

from typing import Any

import msgspec
import pytest

from sidecar.core.errors import SidecarError
from sidecar.wires.rerank import registry, replies
from sidecar.wires.rerank.types import Ranking, RerankQuestion


def asked(count: int = 3, top: int | None = None) -> RerankQuestion:
    return RerankQuestion("q", [f"document {number}" for number in range(count)], top)


def read(body: bytes, question: RerankQuestion | None = None) -> Ranking:
    return replies.decode(body, question or asked())


def order(ranking: Ranking) -> list[tuple[int, str]]:
    return [(each.index, bytes(each.score).decode()) for each in ranking.scores]


RESULTS = '[{"index":1,"%s":0.25},{"index":0,"%s":0.500},{"index":2,"%s":1e-3}]'


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ('{"results":%s}', "relevance_score"),
        ('{"object":"list","data":%s}', "relevance_score"),
        ("%s", "score"),
        ('{"results":%s,"nextToken":null}', "relevanceScore"),
    ],
)
def test_every_shape_is_sorted_and_keeps_its_digits(shape: str, name: str) -> None:
    body = shape % (RESULTS % (name, name, name))
    assert order(read(body.encode())) == [(0, "0.500"), (1, "0.25"), (2, "1e-3")]


def test_more_digits_than_a_float_holds_stay() -> None:
    body = b'{"results":[{"index":0,"relevance_score":0.12345678901234567890123},{"index":1,"relevance_score":-7}]}'
    assert order(read(body, asked(2))) == [(0, "0.12345678901234567890123"), (1, "-7")]


def test_equal_scores_stay_in_the_order_of_the_provider() -> None:
    body = b'[{"index":2,"score":0.5},{"index":0,"score":0.5},{"index":1,"score":0.50}]'
    assert [index for index, _ in order(read(body))] == [2, 0, 1]


def test_of_more_results_than_were_asked_for_the_best_are_taken() -> None:
    body = b'[{"index":0,"score":-3},{"index":1,"score":2},{"index":2,"score":1}]'
    assert order(read(body, asked(3, 2))) == [(1, "2"), (2, "1")]


@pytest.mark.parametrize(
    ("usage", "tokens", "searches", "usd"),
    [
        ({}, None, None, None),
        ({"meta": {"billed_units": {"search_units": 2}}}, None, 2, None),
        ({"meta": {"billed_units": {"input_tokens": 9}}}, 9, None, None),
        ({"meta": {"tokens": {"input_tokens": 8}}}, 8, None, None),
        ({"usage": {"total_tokens": 12}}, 12, None, None),
        ({"usage": {"prompt_tokens": 55, "total_tokens": 56}}, 55, None, None),
        ({"usage": {"total_tokens": 17, "search_units": 1, "cost": 3.4e-7}}, 17, 1, "0.00000034"),
        ({"usage": "none", "meta": [1]}, None, None, None),
        ({"usage": {"total_tokens": -1, "cost": "much"}}, None, None, None),
    ],
)
def test_what_is_billed_is_read_where_each_says_it(
    usage: dict[str, Any], tokens: int | None, searches: int | None, usd: str | None
) -> None:
    found = read(msgspec.json.encode({"results": [{"index": 0, "relevance_score": 1}]} | usage), asked(1))
    assert (found.input_tokens, found.search_units, found.cost_usd) == (tokens, searches, usd)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ('{"index":0,"score":1},{"index":1,"score":1},{"index":1,"score":1}', "document 1 twice"),
        ('{"index":0,"score":1},{"index":1,"score":1},{"index":3,"score":1}', "document 3 of 3"),
        ('{"index":-1,"score":1}', "document -1 of 3"),
        ('{"index":0,"score":1},{"index":2,"score":1}', "did not rank document 1"),
        ('{"index":0,"score":NaN},{"index":1,"score":1},{"index":2,"score":1}', "score of document 0"),
        ('{"index":0,"score":1},{"index":1,"score":-Infinity},{"index":2,"score":1}', "score of document 1"),
        ('{"index":0,"score":1},{"index":1,"score":1e999},{"index":2,"score":1}', "score of document 1"),
        ('{"index":0,"score":1},{"index":1,"score":null},{"index":2,"score":1}', "score of document 1"),
        ('{"index":0,"score":1},{"index":1,"score":"0.5"},{"index":2,"score":1}', "score of document 1"),
        ('{"index":0,"score":1},{"index":1},{"index":2,"score":1}', "score of document 1"),
        ('{"score":1}', "without the index"),
        ('{"index":true,"score":1}', "without the index"),
        ('{"index":1.5,"score":1}', "without the index"),
        ("", "did not rank document 0"),
    ],
)
def test_a_ranking_that_is_not_what_was_asked_for_names_the_index(results: str, message: str) -> None:
    with pytest.raises(SidecarError, match=message) as raised:
        read(f"[{results}]".encode())
    body = raised.value.body
    assert (body.code, body.reason, body.retryable) == ("provider_error", "bad_ranking", False)


def test_fewer_results_than_the_best_that_were_asked_for() -> None:
    with pytest.raises(SidecarError, match="ranked 1 documents, and 2 were asked for"):
        read(b'[{"index":0,"score":1}]', asked(3, 2))


DEEP = b'{"usage":' + b'{"a":' * 99_999 + b"1" + b"}" * 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"7",
        b"<html>",
        b'{"results":7}',
        b'{"results":[7]}',
        b'{"results":[',
        b"\xff",
        b"[" * 9999,
        DEEP,
    ],
)
def test_what_is_no_ranking_is_refused(body: bytes) -> None:
    with pytest.raises(SidecarError) as raised:
        read(body)
    assert raised.value.body.reason == "unexpected_content_type"


@pytest.mark.parametrize("name", registry.list_names())
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"message": "No rank today."}, "No rank today."),
        ({"id": "7", "message": "No rank today."}, "No rank today."),
    ],
)
def test_an_error_says_what_the_provider_says(name: str, body: dict[str, Any], message: str) -> None:
    error = registry.load(name).classify(400, {}, msgspec.json.encode(body))
    assert (error.body.code, error.body.message) == ("invalid_request", message)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"detail": "Model x is not supported."}, "invalid_request"),
        (
            413,
            {"error": "batch size 40 > maximum 32", "error_type": "Validation"},
            "invalid_request",
        ),
        (429, {"error": "Model is overloaded", "error_type": "Overloaded"}, "provider_overloaded"),
        (401, {"detail": "Provided API key is invalid."}, "auth_failed"),
    ],
)
def test_errors_of_several_services_are_told_apart(status: int, body: dict[str, str], code: str) -> None:
    assert registry.load("usual").classify(status, {}, msgspec.json.encode(body)).body.code == code
