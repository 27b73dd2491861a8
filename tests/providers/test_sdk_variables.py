"""Addresses in the variables of the providers' own SDKs: for a key of the environment, and for no other."""

from typing import Any

import pytest

from sidecar.catalogue.provider_rows import read_providers
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.core.url_policy import get_origin
from sidecar.providers.credential_rules import describe_server
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.rows import get_provider
from sidecar.providers.setup import Found, Setup
from sidecar.providers.values import Target, TargetSpec

GATEWAY = "https://gate.test:8443/llm"
NEEDED = {
    "bedrock": {"AWS_REGION": "eu-west-1"},
    "cloudflare": {"CLOUDFLARE_ACCOUNT_ID": "acc"},
    "vertex": {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "global"},
}
"""What else a provider needs."""

VARIABLES = [(name, each) for name, row in read_providers().items() for each in row.address.base_url_env]


def resolve(
    provider: str, env: dict[str, str], table: dict[str, Any] | None = None, stored: Secret | None = None, **spec: Any
) -> Target:
    config = Config(path="", env=env, providers={provider: table} if table else {})
    setup = Setup(config, Found(credentials={provider: stored} if stored else {}))
    return make_target(resolve_provider(setup, TargetSpec(provider=provider, **spec)))


def test_every_sdk_that_reads_such_a_variable_is_in_the_table() -> None:
    assert {name for name, _ in VARIABLES} == {
        "anthropic",
        "azure",
        "bedrock",
        "cerebras",
        "cloudflare",
        "cohere",
        "gemini",
        "groq",
        "openai",
        "vertex",
    }


@pytest.mark.parametrize(("name", "variable"), VARIABLES)
def test_a_gateways_key_goes_to_the_gateway_and_not_to_the_provider(name: str, variable: str) -> None:
    row = read_providers()[name]
    key = (row.auth.key_env + row.auth.token_env)[0]
    target = resolve(name, {variable: GATEWAY, key: "gateways-own"} | NEEDED.get(name, {}))
    assert target.route.base_url == GATEWAY + row.address.base_url_env_path.replace("{account_id}", "acc")
    assert get_origin(target.list_base_url) == get_origin(GATEWAY)
    assert target.credential is not None
    assert target.credential.reveal() == "gateways-own"
    assert target.has_custom_address


@pytest.mark.parametrize(
    ("env", "table", "spec", "url"),
    [
        ({}, {}, {}, GATEWAY),
        ({"SIDECAR_OPENAI_BASE_URL": "https://own.test/v1"}, {}, {}, "https://own.test/v1"),
        ({}, {"base_url": "https://file.test/v1", "api_key": "k"}, {}, "https://file.test/v1"),
        ({}, {}, {"base_url": "https://asked.test/v1", "api_key": "k"}, "https://asked.test/v1"),
        ({}, {}, {"api_key": "k"}, GATEWAY),
        ({"OPENAI_BASE_URL": " "}, {}, {}, "https://api.openai.com/v1"),
        ({"OPENAI_BASE_URL": "https://api.openai.com/v1/"}, {}, {}, "https://api.openai.com/v1"),
    ],
)
def test_what_is_said_to_the_sidecar_itself_takes_precedence(
    env: dict[str, str], table: dict[str, Any], spec: dict[str, Any], url: str
) -> None:
    target = resolve("openai", {"OPENAI_BASE_URL": GATEWAY, "OPENAI_API_KEY": "k"} | env, table, **spec)
    assert target.route.base_url == url


@pytest.mark.parametrize(
    ("name", "variable"), [each for each in VARIABLES if not read_providers()[each[0]].auth.optional]
)
@pytest.mark.parametrize(
    ("table", "stored"),
    [
        ({"api_key": "CANARY"}, None),
        ({"api_key_env": "MY_KEY"}, None),
        ({}, Secret("CANARY", "store", server="built-in")),
        ({}, Secret("CANARY", "store", server="https://gate.test:8443")),
    ],
)
def test_a_key_from_elsewhere_goes_neither_to_the_gateway_nor_past_it(
    name: str, variable: str, table: dict[str, Any], stored: Secret | None
) -> None:
    with pytest.raises(SidecarError) as caught:
        resolve(name, {variable: GATEWAY, "MY_KEY": "CANARY"} | NEEDED.get(name, {}), table, stored)
    assert caught.value.body.code == "auth_required"
    assert (caught.value.body.hint or "").startswith(f"{variable} is an address for a key of the environment alone")
    assert "gate.test" not in repr(caught.value.body)


AZURE = {"AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com/", "AZURE_OPENAI_API_KEY": "k"}


@pytest.mark.parametrize(
    ("env", "table", "url", "path"),
    [
        ({}, {}, "https://res.openai.azure.com/openai/v1", None),
        (
            {"AZURE_OPENAI_ENDPOINT": "https://res.services.ai.azure.com"},
            {},
            "https://res.services.ai.azure.com/openai/v1",
            None,
        ),
        ({"AZURE_OPENAI_ENDPOINT": "https://res.test/openai/v1/"}, {}, "https://res.test/openai/v1", None),
        (
            {"OPENAI_API_VERSION": "2024-10-21"},
            {},
            "https://res.openai.azure.com/openai",
            "/deployments/m/chat/completions?api-version=2024-10-21",
        ),
        (
            {"AZURE_OPENAI_API_VERSION": "2025-04-01-preview", "OPENAI_API_VERSION": "2024-10-21"},
            {},
            "https://res.openai.azure.com/openai",
            "/deployments/m/chat/completions?api-version=2025-04-01-preview",
        ),
        ({"OPENAI_API_VERSION": "preview"}, {}, "https://res.openai.azure.com/openai/v1", None),
        ({"AZURE_OPENAI_RESOURCE": "own"}, {}, "https://own.openai.azure.com/openai/v1", None),
        ({}, {"resource": "own", "api_key": "k"}, "https://own.openai.azure.com/openai/v1", None),
    ],
)
def test_a_resource_is_named_as_its_vendors_sdk_names_it(
    env: dict[str, str], table: dict[str, Any], url: str, path: str | None
) -> None:
    target = resolve("azure", AZURE | env, table, model="m")
    assert (target.route.base_url, target.route.path) == (url, path)


def test_an_endpoint_of_a_service_is_asked_with_the_machines_own_login() -> None:
    env = {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": GATEWAY,
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "https://all.test",
    }
    target = resolve("bedrock", env)
    assert (target.route.base_url, target.list_base_url, target.credential) == (GATEWAY, GATEWAY, None)


def test_a_key_that_is_stored_while_the_variable_is_set_is_the_providers() -> None:
    provider = get_provider(Setup(Config(path="", env={"OPENAI_BASE_URL": GATEWAY})), "openai")
    assert describe_server(provider) == "built-in"


@pytest.mark.parametrize("value", ["gate.test", "http://gate.test/v1", "https://user:CANARY@gate.test/v1"])
def test_an_address_that_cannot_be_used_stops_the_request(value: str) -> None:
    with pytest.raises(SidecarError) as caught:
        resolve("openai", {"OPENAI_BASE_URL": value, "OPENAI_API_KEY": "k"})
    assert (caught.value.body.code, caught.value.body.param) == ("invalid_request", "OPENAI_BASE_URL")
    assert "CANARY" not in repr(caught.value.body)
