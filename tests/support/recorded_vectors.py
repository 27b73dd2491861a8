"""Recorded answers with vectors, as the oracle of the recordings reads them, where they are at hand."""

import base64
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

from tests.support import corpus
from tests.support.corpus import Exchange
from tests.support.fake_services import Answer
from tests.support.lines import Object

ROOT = corpus.ROOT.parent / "corpus2"

PROVIDERS = {
    "azure": {},
    "bedrock": {"settings": {"region": "us-east-1"}},
    "cohere": {},
    "copilot": {},
    "gemini": {},
    "mistral": {},
    "ollama": {},
    "openai": {},
    "openrouter": {},
    "vertex": {"settings": {"project": "p-1", "location": "us-central1", "access_token": "CANARY-google-token-123"}},
    "voyage": {},
}
"""What a request to each needs beside the model. All others are asked as servers of the user's own."""

KEY = "CANARY-recorded-1234567890"

ENV = {
    "AWS_BEARER_TOKEN_BEDROCK": KEY,
    "AZURE_OPENAI_API_KEY": KEY,
    "AZURE_OPENAI_RESOURCE": "contoso",
    "COHERE_API_KEY": KEY,
    "GEMINI_API_KEY": KEY,
    "MISTRAL_API_KEY": KEY,
    "OLLAMA_HOST": "https://ollama.example",
    "OPENAI_API_KEY": KEY,
    "OPENROUTER_API_KEY": KEY,
    "VOYAGE_API_KEY": KEY,
}

OWN = '[providers.own]\nwire = "openai_chat"\nbase_url = "https://own.example/v1"\n'

WIRES = {
    "bedrock.invoke.cohere": "cohere",
    "bedrock.invoke.nova": "nova",
    "bedrock.invoke.titan": "titan",
    "cohere.embed_v1": "cohere",
    "cohere.embed_v2": "cohere",
    "gemini.batch_embed": "gemini",
    "gemini.embed_content": "gemini_content",
    "ollama.embed": "ollama",
    "vertex.embed_content": "gemini_content",
    "vertex.predict": "gemini_predictions",
}
"""The wire of each shape that is not the usual one."""


def list_exchanges() -> list[Exchange]:
    """Return the recorded exchanges with vectors, none where there are no recordings."""
    found = (Exchange(path.parent) for path in sorted(ROOT.glob("*/*-embed-*/meta.json")))
    return [each for each in found if "input:image" not in each.meta["tags"]]


def make_request(exchange: Exchange, encoding: str) -> tuple[str, Object]:
    """Return the provider and the params of a request that this exchange answers."""
    meta = exchange.meta
    sent = meta["request"]["body"] or {}
    provider = exchange.provider if exchange.provider in PROVIDERS else "own"
    params: Object = {"model": meta["model"], "inputs": _list_texts(sent), "encoding": encoding}
    if exchange.provider == "copilot":
        provider = "own"
    if meta["api"] == "gemini.embed_content":
        # Gemini is asked for several texts at once; this is the shape of the cloud.
        provider, params["model"] = "vertex", "gemini-embedding-2"
    if exchange.provider == "perplexity":
        params["dimensions"] = sent["dimensions"]
    return provider, params | PROVIDERS.get(provider, {})


def _list_texts(sent: Any) -> list[str]:
    if "requests" in sent:
        return [each["content"]["parts"][0]["text"] for each in sent["requests"]]
    if "instances" in sent:
        return [each["content"] for each in sent["instances"]]
    if "content" in sent:
        return [sent["content"]["parts"][0]["text"]]
    if "singleEmbeddingParams" in sent:
        return [sent["singleEmbeddingParams"]["text"]["value"]]
    texts = sent.get("input") or sent.get("texts") or sent.get("inputText")
    return [texts] if isinstance(texts, str) else list(texts)


def answer(exchange: Exchange) -> Answer:
    """Return the recorded answer."""
    kept = {name: each for name, each in exchange.headers.items() if name not in corpus.HOP_BY_HOP}
    return Answer(exchange.body, exchange.status, {"content-type": "application/json"} | kept)


def read_numbers(body: bytes) -> list[list[str]]:
    """Return the vectors in *body* that are lists of numbers, each number as it is written."""
    found: list[list[str]] = []
    _collect(json.loads(body, parse_float=str, parse_int=str), found)
    return found


def _collect(value: Any, found: list[list[str]]) -> None:
    if isinstance(value, list) and len(value) > 3 and all(isinstance(each, str) for each in value):
        found.append(value)
    elif isinstance(value, list):
        for each in value:
            _collect(each, found)
    elif isinstance(value, dict):
        for each in value.values():
            _collect(each, found)


def unpack(text: str) -> Sequence[float]:
    """Return the numbers of a vector in `f32_base64`."""
    data = base64.b64decode(text, validate=True)
    return struct.unpack(f"<{len(data) // 4}f", data)


def check(exchange: Exchange, vectors: Sequence[Sequence[float]], tolerance: float) -> None:
    """Assert that *vectors* are those of the oracle."""
    expected = exchange.expected
    assert len(vectors) == expected["vectors"]
    assert {len(each) for each in vectors} == {expected["dimensions"]}
    for vector, first, total in zip(vectors, expected["first3"], expected["sum"], strict=True):
        assert all(math.isclose(a, b, rel_tol=tolerance) for a, b in zip(vector, first, strict=False))
        assert math.isclose(math.fsum(vector), total, rel_tol=max(tolerance, 1e-9), abs_tol=tolerance)
