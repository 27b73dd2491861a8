"""Providers whose credential is more than a key in a header."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_services import Answer, Services
from tests.support.in_process import online
from tests.support.lines import Object
from tests.support.program import Program
from tests.support.provider_rows import MODEL, params, secrets, text_of

pytestmark = pytest.mark.long


def ask(sidecar: Program, provider: str, wire: str | None = None, **more: Any) -> Object:
    """Ask a chat and return its `done`."""
    reply = sidecar.ask("stream_chat", params(wire, **more), provider=provider)
    assert reply["success"], reply
    done: Object = reply["data"]
    return done


# --- Azure -------------------------------------------------------------------------------------

AZURE = "https://res.openai.azure.com/openai"
CLASSIC = {"api_version": "2024-10-21"}


@pytest.mark.parametrize(
    ("wire", "settings", "address"),
    [
        ("openai_chat", {}, f"{AZURE}/v1/chat/completions"),
        ("openai_responses", {}, f"{AZURE}/v1/responses"),
        ("openai_chat", CLASSIC, f"{AZURE}/deployments/some-model/chat/completions?api-version=2024-10-21"),
        ("openai_responses", CLASSIC, f"{AZURE}/responses?api-version=2024-10-21"),
        (
            "openai_chat",
            {"base_url": "https://res.services.ai.azure.com"},
            "https://res.services.ai.azure.com/openai/v1/chat/completions",
        ),
        (
            "openai_chat",
            {"base_url": "https://gate.example/llm"} | CLASSIC,
            "https://gate.example/llm/deployments/some-model/chat/completions?api-version=2024-10-21",
        ),
    ],
)
@pytest.mark.parametrize(
    ("credential", "header"),
    [
        ({"api_key": "CANARY-key"}, ("api-key", "CANARY-key")),
        ({"access_token": "CANARY-token"}, ("authorization", "Bearer CANARY-token")),
    ],
    ids=["key", "token"],
)
def test_azure_in_both_families_of_addresses(
    services: Services,
    bare: Program,
    wire: str,
    settings: Object,
    address: str,
    credential: Object,
    header: tuple[str, str],
) -> None:
    services.answer("*", text_of(wire))
    done = ask(bare, "azure", wire, settings={"resource": "res"} | settings | credential)
    seen = services.only()
    assert seen.url == address
    assert seen.headers[header[0]] == header[1]
    assert {"api-key", "authorization"} & seen.headers.keys() == {header[0]}
    assert seen.json["model"] == MODEL
    assert done["provider"] == "azure"


def test_azure_knows_a_deployment_by_its_base_model(services: Services, tmp_path: Path) -> None:
    config = """
    [providers.azure]
    api_key = "CANARY-key"
    resource = "res"
    [providers.azure.deployments.prod]
    base_model = "o3"
    [providers.azure.deployments.plain]
    """
    with online(services, tmp_path, config) as sidecar:
        services.answer("*", text_of("openai_chat"))
        chat = {"model": "prod", "options": {"wire": "openai_chat", "temperature": 0.5}}
        lines = sidecar.stream(sidecar.send("stream_chat", params() | chat, provider="azure"))
        assert [warning["param"] for warning in lines[0].data["data"]["warnings"]] == ["params.options.temperature"]
        body = services.only().json
        assert body["model"] == "prod"
        assert "temperature" not in body
        listed = sidecar.ask("list_models", provider="azure")["data"]
        assert [model["id"] for model in listed["models"]] == ["prod", "plain"]
        assert listed["models"][0]["context_length"] == 200_000
        assert listed["source"] == "built_in"
        assert len(services.asked()) == 1
        given = {"settings": {"deployments": {"other": {"base_model": "o3"}}}}
        lines = sidecar.stream(
            sidecar.send("stream_chat", params() | chat | {"model": "other"} | given, provider="azure")
        )
        assert [warning["param"] for warning in lines[0].data["data"]["warnings"]] == ["params.options.temperature"]


# --- Vertex ------------------------------------------------------------------------------------

PLACE = "projects/p/locations/europe-west4/publishers"


@pytest.mark.parametrize(
    ("model", "wire", "settings", "address", "header"),
    [
        (
            "gemini-x",
            "gemini",
            {"access_token": "CANARY-token", "project": "p", "location": "europe-west4"},
            f"https://europe-west4-aiplatform.googleapis.com/v1beta1/{PLACE}/google/models/gemini-x:streamGenerateContent?alt=sse",
            ("authorization", "Bearer CANARY-token"),
        ),
        (
            "gemini-x",
            "gemini",
            {"api_key": "CANARY-key"},
            "https://aiplatform.googleapis.com/v1beta1/publishers/google/models/gemini-x:streamGenerateContent?alt=sse",
            ("x-goog-api-key", "CANARY-key"),
        ),
        (
            "claude-x@20260101",
            "anthropic_messages",
            {"access_token": "CANARY-token", "project": "p", "location": "europe-west4"},
            f"https://europe-west4-aiplatform.googleapis.com/v1/{PLACE}/anthropic/models/claude-x@20260101:streamRawPredict",
            ("authorization", "Bearer CANARY-token"),
        ),
        (
            "meta/llama-x-maas",
            "openai_chat",
            {"access_token": "CANARY-token", "project": "p"},
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi/chat/completions",
            ("authorization", "Bearer CANARY-token"),
        ),
    ],
    ids=["gemini", "express", "claude", "open model"],
)
def test_vertex_by_model_and_credential(
    services: Services,
    bare: Program,
    model: str,
    wire: str,
    settings: Object,
    address: str,
    header: tuple[str, str],
) -> None:
    services.answer("*", text_of(wire))
    ask(bare, "vertex", model=model, settings=settings)
    seen = services.only()
    assert seen.url == address
    assert seen.headers[header[0]] == header[1]
    assert {"x-goog-api-key", "authorization"} & seen.headers.keys() == {header[0]}
    if wire == "anthropic_messages":
        assert seen.json["anthropic_version"] == "vertex-2023-10-16"
        assert "model" not in seen.json
        assert "anthropic-version" not in seen.headers


# --- Cloudflare, OpenRouter, Ollama ------------------------------------------------------------


def test_cloudflares_account_and_gateway(services: Services, bare: Program) -> None:
    services.answer("*", text_of("openai_chat"))
    settings = {"api_key": "CANARY-key", "account_id": "acc"}
    ask(bare, "cloudflare", model="@cf/meta/llama-x", settings=settings)
    ask(bare, "cloudflare", model="@cf/meta/llama-x", settings=settings | {"gateway": "mine"})
    plain, routed = services.asked()
    assert plain.url == routed.url == "https://api.cloudflare.com/client/v4/accounts/acc/ai/v1/chat/completions"
    assert plain.json["model"] == "@cf/meta/llama-x"
    assert ("cf-aig-gateway-id" in plain.headers, routed.headers["cf-aig-gateway-id"]) == (False, "mine")


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps({"id": "gen-1", "model": "maker/model"} | fields).encode() + b"\n\n"


def test_openrouters_own_cost_counts_and_its_comments_do_not(services: Services, bare: Program) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "cost": 0.00012}
    body = (
        b": OPENROUTER PROCESSING\n\n" * 3
        + event(choices=[{"index": 0, "delta": {"role": "assistant", "content": "Hi"}}])
        + b": OPENROUTER PROCESSING\n\n"
        + event(choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}])
        + event(choices=[], usage=usage)
        + b"data: [DONE]\n\n"
    )
    services.answer("*", Answer(body, headers={"content-type": "text/event-stream", "x-generation-id": "gen-1"}))
    done = ask(bare, "openrouter", model="maker/model", api_key="CANARY-key")
    assert (done["cost"]["usd"], done["cost"]["source"]) == ("0.00012", "provider")
    assert (done["usage"]["input_tokens"], done["usage"]["output_tokens"]) == (5, 2)
    assert done["request_id"] == "gen-1"
    assert services.only().json["model"] == "maker/model"


@pytest.mark.parametrize("delivered", [False, True])
def test_openrouters_error_inside_of_a_good_reply_is_an_error(
    services: Services, bare: Program, delivered: bool
) -> None:
    begun = event(choices=[{"index": 0, "delta": {"role": "assistant", "content": "Half"}}]) if delivered else b""
    error = {
        "code": 429,
        "message": "Provider returned error",
        "metadata": {"provider_name": "Maker", "raw": "slow down"},
    }
    broken = event(error=error, choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}])
    services.answer("*", Answer(begun + broken, headers={"content-type": "text/event-stream"}))
    failed = bare.ask("stream_chat", params(api_key="CANARY-key", model="maker/model"), provider="openrouter")["error"]
    assert failed["code"] == "rate_limited"
    assert failed["partial"] is delivered


@pytest.mark.parametrize(
    "form",
    [
        "127.0.0.1:{port}",
        "0.0.0.0:{port}",
        "http://127.0.0.1:{port}",
        "localhost:{port}/",
        ":{port}",
        '"127.0.0.1:{port}"',
    ],
)
def test_every_form_of_ollamas_variable(services: Services, tmp_path: Path, form: str) -> None:
    services.answer("*", text_of("ollama"))
    with online(
        services, tmp_path, OLLAMA_HOST=form.format(port=services.port), OLLAMA_API_KEY="CANARY-key"
    ) as sidecar:
        ask(sidecar, "ollama")
    seen = services.only()
    assert seen.path == "/api/chat"
    assert not secrets(seen)


def test_ollamas_hosted_service_gets_the_key_and_a_server_elsewhere_does_not(
    services: Services, tmp_path: Path
) -> None:
    services.answer("*", text_of("ollama"))
    for host, key in (
        ("ollama.com", {"CANARY-key"}),
        ("https://ollama.com", {"CANARY-key"}),
        ("https://box.example", set[str]()),
    ):
        folder = tmp_path / host.replace("/", "")
        folder.mkdir()
        with online(services, folder, OLLAMA_HOST=host, OLLAMA_API_KEY="CANARY-key") as sidecar:
            ask(sidecar, "ollama")
        assert secrets(services.asked()[-1]) == key
    assert [seen.url for seen in services.asked()] == [
        f"https://{host}/api/chat" for host in ("ollama.com", "ollama.com", "box.example")
    ]


def test_a_server_that_does_not_run_is_told_with_what_to_do(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, OLLAMA_HOST="127.0.0.1:9") as sidecar:
        error = sidecar.ask("stream_chat", params(), provider="ollama")["error"]
    assert (error["code"], error["reason"]) == ("network_error", "refused")
    assert "ollama serve" in error["hint"]
