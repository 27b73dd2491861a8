"""Providers' lists of models: each in its own shape, remembered, and stale after a failure.

A provider that stands in the table of providers alone, and not in `lists.json`, is answered in the usual shape.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.providers.model_names import MAX_COMPARED, find_similar
from sidecar.upstream import model_lists
from tests.support.fake_services import Answer, Services, document
from tests.support.in_process import online
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.provider_rows import ROWS, params, secrets

LISTS: dict[str, Any] = json.loads((Path(__file__).parent / "lists.json").read_text(encoding="utf-8"))
"""Provider → `answers`, what its service says by address, and `models`, what must come out of it."""

LISTING = [name for name, row in ROWS.items() if row.models.lists and not row.models.are_deployments]


def usual(name: str) -> Object:
    """Return a list of the usual shape at every address of *name*."""
    row = ROWS[name]
    addresses = [(row.address.list_base_url or row.address.base_url) + listing.path for listing in row.models.lists]
    return {
        "answers": {each: {"data": [{"id": "x-1"}]} for each in addresses},
        "models": [{"id": "x-1"}] * len(addresses),
    }


def priced_by_provider(model: Object) -> Object:
    return {"pricing": {"source": "provider"}} if "cost" in model else {}


@pytest.mark.parametrize("name", LISTING)
def test_a_list_is_read_in_its_providers_own_shape(services: Services, keyed: Program, name: str) -> None:
    lists = LISTS.get(name) or usual(name)
    for address, answer in lists["answers"].items():
        services.answer(f"GET {address}", document(answer))
    data = keyed.ask("list_models", {"refresh": True}, provider=name)["data"]
    expected = [{"provider": name} | each | priced_by_provider(each) for each in lists["models"]]
    # Which models complete text is no part of a list.
    assert [_without_completion(each) for each in data["models"]] == expected
    assert (data["source"], data["warnings"]) == ("provider", [])
    assert [seen.url for seen in services.asked()] == list(lists["answers"])
    assert all(secrets(seen) == {f"CANARY-{name}"} for seen in services.asked())


def _without_completion(model: Object) -> Object:
    rest = {name: value for name, value in model.get("capabilities", {}).items() if name != "completion"}
    return {name: value for name, value in model.items() if name != "capabilities"} | (
        {"capabilities": rest} if rest else {}
    )


def test_a_model_that_completes_text_is_listed_so(services: Services, tmp_path: Path) -> None:
    services.answer("GET *", document({"data": [{"id": "codestral-latest"}, {"id": "mistral-large-3"}]}))
    with online(services, tmp_path, MISTRAL_API_KEY="CANARY-key") as sidecar:
        models = sidecar.ask("list_models", provider="mistral")["data"]["models"]
    assert [each["capabilities"]["completion"] for each in models] == [True, False]


def ids(data: Object) -> list[str]:
    return [model["id"] for model in data["models"]]


def openai_models(*names: str) -> Any:
    return document({"data": [{"id": name} for name in names]})


def test_a_list_is_remembered_refreshed_and_served_stale(services: Services, tmp_path: Path) -> None:
    services.answer("GET *", openai_models("old"), openai_models("new"), document({"error": {"message": "down"}}, 503))
    with online(services, tmp_path, OPENAI_API_KEY="CANARY-key") as sidecar:

        def models(**more: Any) -> Object:
            data: Object = sidecar.ask("list_models", more, provider="openai")["data"]
            return data

        first = models()
        again = models()
        assert (ids(first), first["source"]) == (["old"], "provider")
        assert (ids(again), again["source"], again["fetched_at"]) == (["old"], "cache", first["fetched_at"])
        assert len(services.asked()) == 1
        fresh = models(refresh=True)
        assert (ids(fresh), fresh["source"]) == (["new"], "provider")
        stale = models(refresh=True)
        assert (ids(stale), stale["source"], stale["fetched_at"]) == (["new"], "stale", fresh["fetched_at"])
        assert [warning["code"] for warning in stale["warnings"]] == ["stale_list"]
        assert "down" in stale["warnings"][0]["message"]
        # Another key has another list, and nothing remembered.
        error = sidecar.ask("list_models", {"api_key": "CANARY-other"}, provider="openai")["error"]
        assert error["code"] == "provider_overloaded"


STRANGE: list[tuple[Any, str | None]] = [
    (document({"error": {"message": "no"}}, 401), "auth_failed"),
    (document({"error": {"message": "slow down"}}, 429, retry_after="7"), "rate_limited"),
    (document("not a list"), "provider_error"),
    (document({}), None),
    (document({"data": None}), None),
    (document({"data": [{"id": "x", "context_length": "\u00b2"}]}), None),
    (document({"data": [{"id": "x", "context_length": "9" * 5000}]}), None),
    (document({"data": [None, 1, {}, {"id": 7}, {"id": ""}, {"id": "x", "context_length": "many"}]}), None),
]


@pytest.mark.parametrize("at", range(len(STRANGE)))
def test_a_list_that_fails_or_is_strange(bare: Program, services: Services, at: int) -> None:
    answer, code = STRANGE[at]
    services.answer("GET *", answer)
    reply = bare.ask("list_models", {"api_key": f"CANARY-{at}"}, provider="openai")
    if code is None:
        assert ids(reply["data"]) == (["x"] if at >= len(STRANGE) - 3 else [])
    else:
        assert reply["error"]["code"] == code
        assert reply["error"].get("retry_after_ms") == {"rate_limited": 7000}.get(code)


def test_a_price_that_no_number_can_be_is_none(services: Services, tmp_path: Path) -> None:
    told = ("1e999999999", "1e-999999999", "1e30000", True, [1], "-1", "NaN", "0.000002")
    entries = [{"id": f"m{number}", "pricing": {"prompt": price}} for number, price in enumerate(told)]
    services.answer("GET *", document({"data": entries}))
    with online(services, tmp_path, OPENROUTER_API_KEY="CANARY-key") as sidecar:
        models = sidecar.ask("list_models", provider="openrouter")["data"]["models"]
    assert [model.get("cost") for model in models] == [None] * (len(told) - 1) + [{"input": "2"}]


def test_a_model_that_is_not_there_comes_with_the_names_nearest_to_it(services: Services, tmp_path: Path) -> None:
    services.answer("GET *", openai_models("gpt-x-large", "gpt-x-small", "whisper"))
    services.answer("POST *", document({"error": {"message": "no such model", "code": "model_not_found"}}, 404))
    with online(services, tmp_path, OPENAI_API_KEY="CANARY-key", ANTHROPIC_API_KEY="CANARY-claude") as sidecar:
        sidecar.ask("list_models", provider="openai")
        error = sidecar.ask("stream_chat", params() | {"model": "gpt-x-larg"}, provider="openai")["error"]
        assert (error["code"], error["hint"]) == ("model_not_found", "Similar models: gpt-x-large, gpt-x-small.")
        # Without a list at hand, the catalogue's names.
        error = sidecar.ask("stream_chat", params() | {"model": "claude-sonet-5-5"}, provider="anthropic")["error"]
        assert (error["code"], "claude-sonnet-5-5" in error["hint"]) == ("model_not_found", True)


def test_a_list_of_a_provider_without_a_key_is_refused(bare: Program, services: Services) -> None:
    assert bare.ask("list_models", provider="openai")["error"]["code"] == "auth_required"
    assert not services.asked()


@pytest.mark.parametrize("action", ["list_models", "count_tokens"])
def test_where_one_key_is_refused_another_asks(services: Services, tmp_path: Path, action: str) -> None:
    refused = document({"error": {"type": "authentication_error", "message": "invalid x-api-key"}}, 401)
    whole = {"list_models": {"data": [{"id": "x-1"}], "has_more": False}, "count_tokens": {"input_tokens": 7}}
    services.answer("*", refused, document(whole[action]))
    keys = '[providers.anthropic]\napi_keys = ["CANARY-first", "CANARY-second"]\n'
    more = params() | {"options": {}, "exact": True} if action == "count_tokens" else {}
    with online(services, tmp_path, keys) as sidecar:
        reply = sidecar.ask(action, more, provider="anthropic")
    assert reply["success"], reply
    assert {key for seen in services.asked() for key in secrets(seen)} == {"CANARY-first", "CANARY-second"}
    assert [len(secrets(seen)) for seen in services.asked()] == [1, 1]


def test_a_suggestion_is_similar_and_not_the_name_itself() -> None:
    assert find_similar("gpt-5.2", ["gpt-5.2", "gpt-5.1", "claude"]) == ["gpt-5.1"]


def test_a_huge_list_is_compared_in_part() -> None:
    names = [f"unlike-{number}" for number in range(MAX_COMPARED)]
    assert find_similar("gpt-5.2", ["gpt-5.1", *names, "gpt-5.3"]) == ["gpt-5.1"]


@pytest.mark.long
def test_a_list_is_cut_and_a_page_that_is_too_large_is_refused(tmp_path: Path, services: Services) -> None:
    rows = [{"id": f"m{number}", "object": "model"} for number in range(model_lists.MAX_MODELS + 5)]
    services.answer("GET https://api.openai.com/*", document({"data": rows}))
    with online(services, tmp_path, OPENAI_API_KEY="k") as sidecar:
        listed = sidecar.ask("list_models", {"refresh": True}, provider="openai")["data"]["models"]
        assert len(listed) == model_lists.MAX_MODELS
    services.answer("GET https://api.groq.com/*", Answer(b" " * (model_lists.MAX_PAGE_BYTES + 1)))
    with online(services, tmp_path, GROQ_API_KEY="k") as sidecar:
        error = sidecar.ask("list_models", {}, provider="groq")["error"]
        assert (error["code"], error["reason"]) == ("provider_error", "event_too_large")
