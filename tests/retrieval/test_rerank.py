"""The action `rerank`, from line to line."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from protocol.rerank import MAX_DOCUMENTS
from sidecar.config import loader
from sidecar.config.values import ConfigError
from tests.support.fake_services import Answer, Services, document
from tests.support.in_process import online
from tests.support.lines import Object
from tests.support.program import Program

TEXTS = ["Paris is the capital of France.", "Berlin is in Germany.", "Cats sleep."]

ADDRESSES = {
    "cohere": "https://api.cohere.com/v2/rerank",
    "voyage": "https://api.voyageai.com/v1/rerank",
    "jina": "https://api.jina.ai/v1/rerank",
    "openrouter": "https://openrouter.ai/api/v1/rerank",
    "bedrock": "https://bedrock-runtime.eu-west-1.amazonaws.com/model/m-1/invoke",
}

BODIES: dict[str, Object] = {
    "cohere": {"model": "m-1", "query": "capital", "documents": TEXTS, "top_n": 2},
    "voyage": {"model": "m-1", "query": "capital", "documents": TEXTS, "top_k": 2},
    "jina": {"model": "m-1", "query": "capital", "documents": TEXTS, "top_n": 2, "return_documents": False},
    "openrouter": {"model": "m-1", "query": "capital", "documents": TEXTS, "top_n": 2},
    "bedrock": {"query": "capital", "documents": TEXTS, "top_n": 2, "api_version": 2},
}


def params(**changes: Any) -> Object:
    return {"model": "m-1", "query": "capital", "documents": TEXTS} | changes


def ranking(*scores: float, **more: Any) -> Answer:
    """Return a reply with the *scores* of the documents in their order."""
    return document({"results": [{"index": at, "relevance_score": each} for at, each in enumerate(scores)]} | more)


@pytest.mark.parametrize("name", ADDRESSES)
def test_each_provider_is_asked_at_its_address_in_its_words(keyed: Program, services: Services, name: str) -> None:
    services.answer(f"POST {ADDRESSES[name]}", ranking(0.25, 0.5))
    data = keyed.ask("rerank", params(top=2), provider=name)["data"]
    assert data["results"] == [{"index": 1, "score": 0.5}, {"index": 0, "score": 0.25}]
    assert (data["provider"], data["model"], data["warnings"]) == (name, "m-1", [])
    seen = services.only()
    assert (seen.url, seen.json) == (ADDRESSES[name], BODIES[name])
    assert seen.headers["authorization"] == f"Bearer CANARY-{name}"


def test_amazons_own_model_is_asked_at_the_agent_runtime(keyed: Program, services: Services) -> None:
    address = "https://bedrock-agent-runtime.eu-west-1.amazonaws.com/rerank"
    services.answer(f"POST {address}", document({"results": [{"index": 0, "relevanceScore": 0.75}]}))
    data = keyed.ask("rerank", params(model="amazon.rerank-v1:0", top=1), provider="bedrock")["data"]
    assert data["results"] == [{"index": 0, "score": 0.75}]
    assert data["usage"] == {"input_tokens": None, "search_units": 1, "estimated": True}
    assert (data["cost"]["usd"], data["cost"]["parts"]) == ("0.001", {"search": "0.001"})
    assert services.only().url == address


def test_a_server_of_the_users_own_needs_an_address_and_no_chat(services: Services, tmp_path: Path) -> None:
    config = '[providers.lab]\nwire = "none"\nbase_url = "https://lab.test/v1"\n'
    services.answer("POST https://lab.test/v1/rerank", ranking(-4.5, 0.82, -8.25))
    with online(services, tmp_path, config) as sidecar:
        data = sidecar.ask("rerank", params(), provider="lab")["data"]
    assert [each["score"] for each in data["results"]] == [0.82, -4.5, -8.25]
    assert data["cost"] == {"usd": None, "reason": "model_unknown"}


def test_a_server_with_words_of_its_own_is_described_in_the_configuration(services: Services, tmp_path: Path) -> None:
    config = (
        '[providers.tei]\nwire = "none"\nbase_url = "https://lab.test"\n'
        'rerank = { path = "/rank", max_documents = 3, fields = { documents = "texts", top = "", model = "" } }\n'
    )
    reply = [{"index": 2, "score": 0.9}, {"index": 0, "score": 0.5}, {"index": 1, "score": 0.1}]
    services.answer("POST https://lab.test/rank", document(reply))
    with online(services, tmp_path, config) as sidecar:
        data = sidecar.ask("rerank", params(top=1), provider="tei")["data"]
        refused = sidecar.ask("rerank", params(documents=["a"] * 4), provider="tei")["error"]
    assert data["results"] == [{"index": 2, "score": 0.9}]
    assert services.only().json == {"query": "capital", "texts": TEXTS}
    assert (refused["param"], "3 at once" in refused["message"]) == ("params.documents", True)


@pytest.mark.parametrize(
    ("rerank", "problem"),
    [
        ('{ wire = "chat" }', "must be one of usual"),
        ('{ colour = "red" }', "there is no key colour"),
        ("{ max_documents = true }", "max_documents"),
    ],
)
def test_a_mistake_in_such_a_table_is_named(tmp_path: Path, rerank: str, problem: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[providers.lab]\nwire = "none"\nbase_url = "https://lab.test/v1"\nrerank = {rerank}\n')
    with pytest.raises(ConfigError, match=problem):
        loader.load(path=str(config), env={})


# --- what it costs ---------------------------------------------------------------------------


class Bill(NamedTuple):
    """What a reply says of its cost, and what comes out of it."""

    provider: str
    model: str
    billed: Object
    usage: tuple[int | None, int | None]
    usd: str
    source: str = "catalogue"


UNITS = {"meta": {"billed_units": {"search_units": 3}}}
TOKENS = {"meta": {"billed_units": {"input_tokens": 500}}}
STATED = {"usage": {"total_tokens": 17, "cost": 3.4e-7}}

BILLS = [
    Bill("voyage", "rerank-2.5", {"usage": {"total_tokens": 2000}}, (2000, None), "0.0001"),
    Bill("cohere", "rerank-v4.0-pro", UNITS, (None, 3), "0.0075"),
    Bill("cohere", "rerank-v5.0-fast", TOKENS, (500, None), "0.00001"),
    Bill("openrouter", "voyageai/rerank-2.5-lite", STATED, (17, None), "0.00000034", "provider"),
]


@pytest.mark.parametrize("bill", BILLS, ids=lambda bill: bill.model)
def test_a_rerank_costs_what_its_tokens_or_searches_do(keyed: Program, services: Services, bill: Bill) -> None:
    services.answer("POST *", ranking(0.1, 0.2, 0.3, **bill.billed))
    data = keyed.ask("rerank", params(model=bill.model), provider=bill.provider)["data"]
    assert data["usage"] == {"input_tokens": bill.usage[0], "search_units": bill.usage[1]}
    assert (data["cost"]["usd"], data["cost"]["source"]) == (bill.usd, bill.source)
    report = keyed.ask("usage_report", {"by": ["kind", "model"], "provider": bill.provider})["data"]
    mine = [each for each in report["rows"] if each["group"] == {"kind": "rerank", "model": bill.model}]
    assert [(each["requests"], each["cost_usd"]) for each in mine] == [(1, bill.usd)]


def test_without_a_count_a_cost_is_unknown_and_not_nothing(keyed: Program, services: Services) -> None:
    services.answer("POST *", ranking(0.1, 0.2, 0.3))
    data = keyed.ask("rerank", params(model="rerank-v3.5"), provider="cohere")["data"]
    assert data["cost"] == {"usd": None, "reason": "usage_unknown"}


def test_a_budget_that_is_spent_refuses_a_rerank(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", ranking(0.1, 0.2, 0.3, meta={"billed_units": {"search_units": 400}}))
    with online(services, tmp_path, "[budgets]\nday_usd = 0.5\n", COHERE_API_KEY="CANARY-cohere") as sidecar:
        assert sidecar.ask("rerank", params(model="rerank-v3.5"), provider="cohere")["success"]
        error = sidecar.ask("rerank", params(model="rerank-v3.5"), provider="cohere")["error"]
    assert (error["code"], error["reason"]) == ("quota_exceeded", "budget_day")
    assert len(services.asked()) == 1


# --- what goes wrong -------------------------------------------------------------------------


def test_a_failure_that_passes_is_asked_again(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", document({"detail": "Busy."}, 503), ranking(0.1, 0.2, 0.3))
    with online(services, tmp_path, VOYAGE_API_KEY="CANARY-voyage", SIDECAR_MAX_ATTEMPTS="2") as sidecar:
        assert sidecar.ask("rerank", params(), provider="voyage")["success"]
    assert len(services.asked()) == 2


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}], "document 0 twice"),
        ([{"index": 9, "relevance_score": 1}], "document 9 of 3"),
        ([{"index": 1, "relevance_score": None}], "score of document 1"),
        ([{"index": 1, "relevance_score": 1}], "did not rank document 0"),
    ],
)
def test_a_strange_ranking_is_an_error_and_not_bought_twice(
    keyed: Program, services: Services, results: list[Object], message: str
) -> None:
    services.answer("POST *", document({"results": results}))
    error = keyed.ask("rerank", params(), provider="cohere")["error"]
    assert (error["code"], error["reason"], error["retryable"]) == ("provider_error", "bad_ranking", False)
    assert message in error["message"]
    assert len(services.asked()) == 1


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"documents": []}, "params.documents"),
        ({"documents": ["a"] * (MAX_DOCUMENTS + 1)}, "params.documents"),
        ({"documents": ["a"] * 1001}, "params.documents"),
        ({"documents": ["a", " \n"]}, "params.documents[1]"),
        ({"documents": ["a", "b", 7]}, "params.documents[2]"),
        ({"query": ""}, "params.query"),
        ({"top": 0}, "params.top"),
    ],
)
def test_what_cannot_be_ranked_is_refused_before_it_is_sent(
    keyed: Program, services: Services, changes: Object, param: str
) -> None:
    error = keyed.ask("rerank", params(**changes), provider="voyage")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)
    assert not services.asked()


def test_a_text_that_is_too_long_is_named_by_its_index(keyed: Program, services: Services) -> None:
    long = params(model="amazon.rerank-v1:0", documents=["a", "b" * 32_001])
    error = keyed.ask("rerank", long, provider="bedrock")["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "params.documents[1]")
    assert "32001 characters" in error["message"]
    assert not services.asked()


def test_a_nul_is_a_character_like_others(keyed: Program, services: Services) -> None:
    services.answer("POST *", ranking(0.5))
    assert keyed.ask("rerank", params(documents=["a\x00b"]), provider="voyage")["success"]
    assert services.only().json["documents"] == ["a\x00b"]


@pytest.mark.parametrize("name", ["anthropic", "openai"])
def test_a_provider_without_reranks_says_what_it_has(keyed: Program, services: Services, name: str) -> None:
    error = keyed.ask("rerank", params(), provider=name)["error"]
    assert (error["code"], error["reason"], error["param"]) == ("invalid_request", "no_reranks", "params.model")
    assert "voyage" in error["hint"]
    assert not services.asked()


def test_a_preset_names_a_model_of_reranks(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", ranking(0.1, 0.2, 0.3))
    config = '[models.best]\nmodel = "rerank-2.5"\nprovider = "voyage"\n'
    with online(services, tmp_path, config, VOYAGE_API_KEY="CANARY-voyage") as sidecar:
        data = sidecar.ask("rerank", params(model="best"))["data"]
    assert (data["provider"], data["model"]) == ("voyage", "rerank-2.5")


def test_a_rerank_that_is_cancelled_leaves_the_provider(keyed: Program, services: Services) -> None:
    services.answer("POST *", Answer(b'{"results": [', headers={"content-type": "application/json"}, stalls=True))
    request_id = keyed.send("rerank", params(), provider="voyage")
    services.wait(lambda: len(services.asked()) == 1, "the question")
    assert keyed.ask("cancel", {"id": request_id})["data"]["found"]
    assert keyed.stream(request_id)[-1].data["error"]["code"] == "cancelled"
    services.wait(lambda: services.only().closed_at is not None, "the end of the connection")


def test_a_key_that_is_refused_makes_room_for_another(services: Services, tmp_path: Path) -> None:
    services.answer("POST *", document({"detail": "Provided API key is invalid."}, 401), ranking(0.1, 0.2, 0.3))
    config = '[providers.voyage]\napi_keys = ["CANARY-one", "CANARY-two"]\n'
    with online(services, tmp_path, config) as sidecar:
        assert sidecar.ask("rerank", params(), provider="voyage")["success"]
    assert len({seen.headers["authorization"] for seen in services.asked()}) == 2
