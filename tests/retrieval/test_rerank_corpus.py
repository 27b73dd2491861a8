"""Recorded reranks of real services against an independent reading of them: order, scores to the last digit, counts."""

from pathlib import Path
from typing import Any

import pytest

from tests.support import corpus
from tests.support.corpus import Exchange
from tests.support.fake_services import Answer, Services
from tests.support.in_process import online
from tests.support.lines import Object
from tests.support.program import Program

FOLDER = corpus.ROOT.parent / "corpus2"

EXCHANGES = [Exchange(path) for path in sorted(FOLDER.glob("*/*-rerank-*"))]

if not EXCHANGES:
    pytest.skip("no recordings at hand", allow_module_level=True)

OWN_SERVERS = """
[providers.llamacpp]
wire = "none"
base_url = "https://lab.test/v1"
"""


def params_of(exchange: Exchange) -> Object:
    """Return the params that ask what was asked, as far as that was recorded."""
    body = exchange.meta["request"]["body"]
    found = exchange.expected.get("results", [])
    if body is None:
        # As many documents as were ranked.
        body = {"query": "Unknown.", "documents": ["Unknown."] * len(found)}
    texts = [each["text"] if isinstance(each, dict) else each for each in body["documents"]]
    top = body.get("top_n") or body.get("top_k")
    model = exchange.meta["model"] or "unknown"
    return {"model": model, "query": body["query"], "documents": texts} | ({"top": top} if top else {})


def check(exchange: Exchange, reply: Object) -> None:
    """Assert that *reply* is what the oracle says."""
    expected = exchange.expected
    if expected.get("error"):
        error = reply["error"]
        assert (error["code"], error["provider_status"]) == ("invalid_request", expected["status"])
        assert error["message"] == expected["message"]
        return
    data, raw = reply["data"], expected["usage_raw"] or {}
    assert data["results"] == expected["results"]
    assert data["model"] == (expected["model"] or exchange.meta["model"] or "unknown")
    assert data["usage"]["input_tokens"] == raw.get("total_tokens")
    units = raw.get("billed_units", {}).get("search_units")
    assert data["usage"]["search_units"] == (1 if exchange.provider == "bedrock" else units)
    if "cost" in raw:
        assert float(data["cost"]["usd"]) == raw["cost"]


def ask(sidecar: Program, services: Services, exchange: Exchange, provider: str) -> Object:
    """Ask *provider* what was asked, and let it answer what was answered."""
    headers = {name: value for name, value in exchange.headers.items() if name not in corpus.HOP_BY_HOP}
    services.answer("POST *", Answer(exchange.body, exchange.status, headers))
    asked: dict[str, Any] = params_of(exchange)
    if not asked["documents"]:
        # An empty list is refused here; the error is read as that of another request.
        asked["documents"] = ["Unknown."]
    return sidecar.ask("rerank", asked, provider=provider)


@pytest.mark.parametrize("exchange", [pytest.param(each, id=each.name) for each in EXCHANGES])
def test_a_recorded_rerank_comes_out_as_its_oracle_says(services: Services, tmp_path: Path, exchange: Exchange) -> None:
    variable = {"voyage": "VOYAGE_API_KEY", "cohere": "COHERE_API_KEY", "openrouter": "OPENROUTER_API_KEY"}
    keys = {each: "CANARY-key" for name, each in variable.items() if name == exchange.provider}
    bedrock = {"AWS_BEARER_TOKEN_BEDROCK": "CANARY-key", "AWS_REGION": "us-west-2"}
    env = keys | (bedrock if exchange.provider == "bedrock" else {})
    with online(services, tmp_path, OWN_SERVERS, **env) as sidecar:
        check(exchange, ask(sidecar, services, exchange, exchange.provider))
    recorded, seen = exchange.meta["request"], services.only("POST *")
    if recorded["body"] and "/v1/rerank" not in recorded["path"]:
        # The recorded number of results may be more than there are documents.
        assert {name: seen.json.get(name) for name in SAME} == {name: recorded["body"].get(name) for name in SAME}


SAME = ("model", "query", "documents", "api_version")
