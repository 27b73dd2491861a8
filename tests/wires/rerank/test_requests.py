"""Requests of reranks, field by field."""

from typing import Any

import msgspec
import pytest

from sidecar.wires.rerank import registry
from sidecar.wires.rerank.bedrock_agent import make_arn
from sidecar.wires.rerank.types import RerankFields, RerankQuestion
from sidecar.wires.shared.types import Route

QUESTION = RerankQuestion("q", ["a", "b\x00"], 1)


def encoded(wire: str, fields: RerankFields | None = None, **route: Any) -> Any:
    to = {"provider": "lab", "wire": "none", "model": "m-1", "base_url": "https://lab.test/v1"} | route
    request = registry.load(wire).encode(QUESTION, Route(path="/rerank", **to), fields or RerankFields())
    assert (request.method, request.url) == ("POST", "https://lab.test/v1/rerank")
    assert request.headers["content-type"] == "application/json"
    return msgspec.json.decode(request.body)


def test_the_usual_request() -> None:
    assert encoded("usual") == {"model": "m-1", "query": "q", "documents": ["a", "b\x00"], "top_n": 1}


def test_without_a_wish_no_number_of_results_is_sent() -> None:
    route = Route(provider="lab", wire="none", model="m-1", base_url="https://lab.test/v1", path="/rerank")
    request = registry.load("usual").encode(RerankQuestion("q", ["a"]), route, RerankFields())
    assert msgspec.json.decode(request.body) == {"model": "m-1", "query": "q", "documents": ["a"]}


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (RerankFields(top="top_k"), {"model": "m-1", "query": "q", "documents": ["a", "b\x00"], "top_k": 1}),
        (RerankFields(documents="texts", top="", model=""), {"query": "q", "texts": ["a", "b\x00"]}),
        (
            RerankFields(model="", fixed={"api_version": 2}),
            {"query": "q", "documents": ["a", "b\x00"], "top_n": 1, "api_version": 2},
        ),
    ],
)
def test_fields_have_the_names_that_the_table_gives(fields: RerankFields, body: dict[str, Any]) -> None:
    assert encoded("usual", fields) == body


def test_the_operation_of_an_agent_runtime() -> None:
    text = {"type": "TEXT", "textDocument": {"text": "a"}}
    body = encoded("agent", model="amazon.rerank-v1:0", settings={"region": "eu-central-1"})
    assert body["queries"] == [{"type": "TEXT", "textQuery": {"text": "q"}}]
    assert body["sources"][0] == {"type": "INLINE", "inlineDocumentSource": text}
    configuration = body["rerankingConfiguration"]["bedrockRerankingConfiguration"]
    arn = "arn:aws:bedrock:eu-central-1::foundation-model/amazon.rerank-v1:0"
    assert configuration == {"modelConfiguration": {"modelArn": arn}, "numberOfResults": 1}


@pytest.mark.parametrize(
    ("model", "region", "arn"),
    [
        ("m", "cn-north-1", "arn:aws-cn:bedrock:cn-north-1::foundation-model/m"),
        ("arn:aws:bedrock:eu-west-1::foundation-model/m", "us-east-1", "arn:aws:bedrock:eu-west-1::foundation-model/m"),
    ],
)
def test_a_model_is_named_by_its_arn(model: str, region: str, arn: str) -> None:
    assert make_arn(model, region) == arn
