"""Providers' lists of models: what their rows find in an answer, and what a strange answer costs."""

from typing import Any

import pytest

from protocol.replies import ModelInfo
from sidecar.catalogue.listings import Listing, find_value, guess_kind, parse_page


def parse(listing: Listing, *entries: Any) -> list[ModelInfo]:
    return parse_page(listing, {"data": [*entries]}, "lab")[0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a", {"b": 1, "words": ["x", "y"]}),
        ("a.b", 1),
        ("a.c", None),
        ("a.b.c", None),
        ("a.words~x", True),
        ("a.words~z", False),
        ("a.b~x", None),
        ("text~or", True),
        ("list[id=two].value", 2),
        ("list[id=three].value", None),
        ("a[id=two]", None),
    ],
)
def test_a_path_leads_to_a_value_or_to_nothing(path: str, value: object) -> None:
    document = {
        "a": {"b": 1, "words": ["x", "y"]},
        "text": "word",
        "list": [5, {"id": "one", "value": 1}, {"id": "two", "value": 2}],
    }
    assert find_value(document, path) == value


def test_the_defaults_fit_most_servers() -> None:
    [model] = parse(Listing(), {"id": "m", "display_name": "M", "context_window": 8, "max_output_tokens": "4"})
    assert model == ModelInfo(id="m", provider="lab", name="M", context_length=8, max_output=4)


@pytest.mark.parametrize("entry", [{"max_model_len": 8}, {"meta": {"n_ctx": 8, "n_ctx_train": 32}}])
def test_the_context_is_found_where_local_servers_say_it(entry: dict[str, Any]) -> None:
    [model] = parse(Listing(), {"id": "m"} | entry)
    assert model.context_length == 8


@pytest.mark.parametrize("document", [[{"id": "m"}], {"data": [{"id": "m"}]}])
def test_a_document_may_be_the_list_itself(document: Any) -> None:
    assert [model.id for model in parse_page(Listing(), document, "lab")[0]] == ["m"]


@pytest.mark.parametrize("document", [{}, {"data": None}, {"data": "m"}, "text", None, 5])
def test_a_document_without_a_list_has_no_models(document: Any) -> None:
    assert parse_page(Listing(), document, "lab") == ([], None)


def test_a_strange_entry_is_left_out_and_the_others_stay() -> None:
    assert [model.id for model in parse(Listing(), 5, {}, {"id": 7}, {"id": ""}, {"id": "m"})] == ["m"]


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "x", "", "9" * 19, "٣", [], None])
def test_a_count_that_is_none_is_unknown(value: Any) -> None:
    assert parse(Listing(), {"id": "m", "context_length": value})[0].context_length is None


def test_prices_become_us_dollars_per_million_tokens() -> None:
    listing = Listing(prices={"input": "p.in", "output": "p.out"}, price_factor="10000", price_batch="p.batch")
    [priced, varying] = parse(
        listing, {"id": "a", "p": {"in": "0.25", "out": 2, "batch": 10}}, {"id": "b", "p": {"in": "-1", "out": "x"}}
    )
    assert priced.cost == {"input": "250", "output": "2000"}
    assert varying.cost is None


@pytest.mark.parametrize(
    ("stated", "kind"), [("LLM", "chat"), (["IMAGE", "LLM"], "chat"), ("other", "other"), (["other"], "image")]
)
def test_a_kind_is_translated_or_else_guessed_from_the_name(stated: Any, kind: str) -> None:
    listing = Listing(kind=("kind",), kinds={"LLM": "chat"})
    assert parse(listing, {"id": "my-image-model", "kind": stated})[0].kind == kind


@pytest.mark.parametrize(
    ("model", "kind"),
    [("text-embedding-3", "embedding"), ("whisper-1", "audio"), ("gpt-image-1", "image"), ("gpt-5", None)],
)
def test_a_kind_is_guessed_from_the_words_of_a_name(model: str, kind: str | None) -> None:
    assert guess_kind(model) == kind


@pytest.mark.parametrize(
    ("offered", "wire"), [(["/b", "/a"], "wire_a"), (["/b"], "wire_b"), (["/c"], None), (None, "wire_b")]
)
def test_the_preferred_endpoint_that_is_offered_gives_the_wire(offered: Any, wire: str | None) -> None:
    listing = Listing(endpoints="endpoints", endpoint_wires=(("/a", "wire_a"), ("/b", "wire_b")))
    assert parse(listing, {"id": "m", "endpoints": offered})[0].wire == wire


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"next": "t", "more": True}, "/models?limit=9&after=t"),
        ({"next": "t", "more": False}, None),
        ({"next": "", "more": True}, None),
        ({"more": True}, None),
    ],
)
def test_a_next_page_is_asked_for_by_its_token(document: dict[str, Any], path: str | None) -> None:
    listing = Listing(path="/models?limit=9", next_token="next", next_if="more", next_parameter="after")
    assert parse_page(listing, document, "lab")[1] == path


def test_the_prefix_of_an_id_and_the_words_of_a_status_are_translated() -> None:
    listing = Listing(
        id_prefix="models/",
        status=("state",),
        statuses={"LEGACY": "deprecated"},
        retires_on=("ends",),
        capabilities={"tools": "can~tools", "images": "can~images", "pdf": "unknown"},
    )
    [model] = parse(listing, {"id": "models/m", "state": "LEGACY", "ends": "2027-01-02T00:00:00Z", "can": ["tools"]})
    assert (model.id, model.status, model.retires_on) == ("m", "deprecated", "2027-01-02")
    assert model.capabilities == {"tools": True, "images": False}
