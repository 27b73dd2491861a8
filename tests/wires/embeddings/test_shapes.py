"""The requests and replies of each wire for vectors."""

import json
from typing import Any

import pytest

from sidecar.core.errors import SidecarError
from sidecar.wires.embeddings import registry
from sidecar.wires.embeddings.types import EmbedQuestion, read_header_usage
from sidecar.wires.shared.types import Route

TEXTS = ["a", "b"]
MODEL = {"model": "m-1"}

REQUESTS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "usual": ({"dimensions": 2}, "/embeddings", MODEL | {"input": TEXTS, "dimensions": 2}),
    "gemini": (
        {"taskType": "CLUSTERING"},
        "/v1beta/models/m-1:batchEmbedContents",
        {
            "requests": [
                {"model": "models/m-1", "content": {"parts": [{"text": text}]}, "taskType": "CLUSTERING"}
                for text in TEXTS
            ]
        },
    ),
    "gemini_predictions": (
        {"task_type": "CLUSTERING", "outputDimensionality": 2},
        "/v1/models/m-1:predict",
        {
            "instances": [{"content": text, "task_type": "CLUSTERING"} for text in TEXTS],
            "parameters": {"outputDimensionality": 2},
        },
    ),
    "cohere": (
        {"input_type": "search_query"},
        "/v2/embed",
        MODEL | {"texts": TEXTS, "embedding_types": ["float"], "input_type": "search_query"},
    ),
    "ollama": ({"truncate": False}, "/api/embed", MODEL | {"input": TEXTS, "truncate": False}),
    "cloudflare": ({}, "/run/m-1", {"text": TEXTS}),
}

OF_ONE: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "gemini_content": (
        {"autoTruncate": False},
        "/v1beta/models/m-1:embedContent",
        {"content": {"parts": [{"text": "a"}]}, "embedContentConfig": {"autoTruncate": False}},
    ),
    "titan": ({"dimensions": 256}, "/model/m-1/invoke", {"inputText": "a", "dimensions": 256}),
    "nova": (
        {"embeddingDimension": 256, "truncationMode": "NONE"},
        "/model/m-1/invoke",
        {
            "taskType": "SINGLE_EMBEDDING",
            "singleEmbeddingParams": {"embeddingDimension": 256, "text": {"value": "a", "truncationMode": "NONE"}},
        },
    ),
}

REPLIES: dict[str, tuple[Any, list[str], int | None]] = {
    "usual": (
        {
            "data": [{"index": 0, "embedding": [1.50]}, {"index": 1, "embedding": "AAAAAA=="}],
            "usage": {"total_tokens": 3},
        },
        ["[1.5]", '"AAAAAA=="'],
        3,
    ),
    "gemini": ({"embeddings": [{"values": [1]}], "usageMetadata": {"promptTokenCount": 2}}, ["[1]"], 2),
    "gemini_content": ({"embedding": {"values": [1]}, "usageMetadata": {"promptTokenCount": 2}}, ["[1]"], 2),
    "gemini_predictions": (
        {"predictions": [{"embeddings": {"values": [1], "statistics": {"token_count": 4.0, "truncated": True}}}]},
        ["[1]"],
        4,
    ),
    "cohere": ({"embeddings": {"float": [[1]]}, "meta": {"billed_units": {"input_tokens": 5}}}, ["[1]"], 5),
    "ollama": ({"embeddings": [[1], [2]], "prompt_eval_count": 6}, ["[1]", "[2]"], 6),
    "cloudflare": ({"result": {"shape": [1, 1], "data": [[1]]}, "success": True}, ["[1]"], None),
    "titan": ({"embedding": [1], "inputTextTokenCount": 7}, ["[1]"], 7),
    "nova": ({"embeddings": [{"embeddingType": "TEXT", "embedding": [1]}]}, ["[1]"], None),
}


def _route() -> Route:
    return Route(provider="p", wire="embeddings", model="m-1", base_url="https://p.example")


@pytest.mark.parametrize("name", sorted(REQUESTS | OF_ONE))
def test_texts_and_fields_stand_where_the_shape_has_them(name: str) -> None:
    fields, path, body = (REQUESTS | OF_ONE)[name]
    texts = TEXTS if name in REQUESTS else TEXTS[:1]
    request = registry.load(name).encode(EmbedQuestion(texts=texts, fields=fields), _route())
    assert (request.method, request.url) == ("POST", f"https://p.example{path}")
    assert json.loads(request.body) == body


@pytest.mark.parametrize("name", sorted(registry.WIRES))
def test_vectors_come_out_as_they_were_written(name: str) -> None:
    document, vectors, tokens = REPLIES[name]
    reply = registry.load(name).decode(json.dumps(document, separators=(",", ":")).encode())
    assert [raw and bytes(raw).decode() for raw, _ in reply.found] == vectors
    assert (reply.usage and reply.usage.input_tokens) == tokens


@pytest.mark.parametrize("name", sorted(registry.WIRES))
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"data": 1}', b"<html>", b'{"embeddings": {"float": 1}}', b"\xff"]
)
def test_a_document_of_another_shape_is_an_error(name: str, body: bytes) -> None:
    try:
        found = registry.load(name).decode(body).found
    except SidecarError as error:
        assert error.body.code == "provider_error"  # noqa: PT017 - some shapes read it as no vectors
    else:
        assert found == []


def test_what_is_no_number_is_null_and_leaves_the_other_vectors_as_they_are() -> None:
    body = b'{"data": [{"embedding": [0.10, 2]}, {"embedding": [NaN, -Infinity]}]}'
    found = registry.load("usual").decode(body).found
    assert [bytes(raw or b"") for raw, _ in found] == [b"[0.10, 2]", b"[null, null]"]


@pytest.mark.parametrize(("value", "tokens"), [("7", 7), ("", None), ("-1", None), ("x", None), ("٣", None)])
def test_tokens_may_be_in_a_header(value: str, tokens: int | None) -> None:
    usage = read_header_usage({"x-tokens": value}, "x-tokens")
    assert (usage and usage.input_tokens) == tokens
