"""What to do about a refusal that is none of the model's: another API, another version, another address."""

from typing import Any

import pytest

from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.providers import refusals
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.setup import Setup
from sidecar.providers.values import Target, TargetSpec
from sidecar.wires import registry
from tests.support import app

DEPLOYMENT = b'{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}'
OPERATION = (
    b'{"error":{"code":"OperationNotSupported","message":"The chatCompletion operation does not work with the '
    b'specified model, claude-sonnet-4-5. Please choose different model and try again."}}'
)
RESOURCE = b'{"error":{"code":"404","message":"Resource not found"}}'
FIELD = b'{"error":{"message":"Unrecognized request argument supplied: stream_options","code":null}}'


def azure(model: str, **settings: str) -> Target:
    config = Config(
        path="", env={"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_RESOURCE": "r"}, providers={"azure": settings}
    )
    return make_target(resolve_provider(Setup(config), TargetSpec(provider="azure", model=model)))


def own(model: str | None, **table: Any) -> Target:
    rows = {"own": {"wire": "openai_chat", "base_url": "http://127.0.0.1:1", "auth_optional": True} | table}
    return make_target(
        resolve_provider(Setup(Config(path="", providers=rows)), TargetSpec(provider="own", model=model))
    )


def suggest(target: Target, status: int, body: bytes) -> str | None:
    error = registry.load(target.route.wire).classify(status, {}, body)
    return refusals.suggest(target, error.body)


@pytest.mark.parametrize(("status", "body"), [(404, DEPLOYMENT), (400, OPERATION), (404, RESOURCE)])
@pytest.mark.parametrize("version", [{}, {"api_version": "2024-10-21"}])
def test_a_model_with_another_api_is_told_with_the_place_of_that_api(
    status: int, body: bytes, version: dict[str, str]
) -> None:
    hint = suggest(azure("claude-sonnet-4-5", **version), status, body) or ""
    assert 'wire = "anthropic_messages"' in hint
    assert "services.ai.azure.com/anthropic" in hint


async def test_whoever_does_what_the_hint_says_asks_that_api() -> None:
    table = {
        "wire": "anthropic_messages",
        "auth_header": "x-api-key",
        "api_key_env": "FOUNDRY_KEY",
        "base_url": "https://res.services.ai.azure.com/anthropic",
    }
    hint = suggest(azure("claude-sonnet-4-5"), 404, DEPLOYMENT) or ""
    assert all(f"`{key}" in hint for key in table)
    async with app.running(providers={"foundry": table}, env={"FOUNDRY_KEY": "CANARY-key"}) as host:
        host.http.answer_with({"error": {"message": "No."}}, 400)
        chat = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}]}
        await host.ask("generate", chat, provider="foundry")
        (asked,) = host.http.asked
    assert asked.request.url == "https://res.services.ai.azure.com/anthropic/v1/messages"
    assert asked.request.headers["x-api-key"] == "CANARY-key"
    assert "anthropic-version" in asked.request.headers


@pytest.mark.parametrize(("status", "body"), [(404, RESOURCE), (400, FIELD), (404, b"")])
def test_a_classic_version_that_is_too_old_is_told_with_the_newer_form(status: int, body: bytes) -> None:
    assert "api_version" in (suggest(azure("gpt-x", api_version="2023-05-15"), status, body) or "")
    assert "api_version" not in (suggest(azure("gpt-x", api_version="preview"), status, body) or "")
    assert "api_version" not in (suggest(azure("gpt-x"), status, body) or "")


def test_what_the_wire_says_of_a_missing_deployment_stays() -> None:
    assert suggest(azure("gpt-x", api_version="2024-10-21"), 404, DEPLOYMENT) is None


@pytest.mark.parametrize("body", [b'{"detail":"Not Found"}', b"<html>404</html>", b"404 page not found", RESOURCE])
def test_a_404_that_names_no_model_is_about_the_address(body: bytes) -> None:
    assert "`base_url`" in (suggest(own("m"), 404, body) or "")
    assert "`base_url`" in (suggest(own(None), 404, body) or "")


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b'{"error":{"message":"model tiny not found"}}'), (404, b'{"error":"no such m-1"}'), (400, b"")],
)
def test_a_refusal_that_may_be_about_the_model_is_not(status: int, body: bytes) -> None:
    assert suggest(own("m-1"), status, body) is None


def test_an_address_of_the_providers_own_is_not_doubted() -> None:
    target = make_target(
        resolve_provider(Setup(Config(path="")), TargetSpec(provider="openai", model="m", api_key="k"))
    )
    assert suggest(target, 404, b"404 page not found") is None


def test_a_server_that_wants_a_key_and_got_none_is_told_so() -> None:
    error = SidecarError("auth_failed", "No.", provider_status=401, hint="Check the key, or log in again.")
    assert "`api_key_env` in [providers.own]" in (refusals.suggest(own("m"), error.body) or "")
    assert refusals.suggest(own("m", api_key="k"), error.body) is None


def test_only_a_refusal_gets_a_suggestion() -> None:
    error = SidecarError("rate_limited", "Too many.", provider_status=429)
    assert refusals.suggest(azure("claude-x", api_version="2024-10-21"), error.body) is None
