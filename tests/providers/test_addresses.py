"""The base address of a provider: which source wins, and the paths below it."""

from typing import Any

import msgspec
import pytest

from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.providers.addresses import (
    find_base_address,
    find_check_path,
    find_list_base_url,
    find_path,
    make_gateway_headers,
)
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.setup import Setup
from sidecar.providers.values import BaseAddress, ResolvedProvider, TargetSpec
from sidecar.wires.shared.types import Route

GATEWAY = {"kind": "cloudflare", "account_id": "acc", "gateway": "gw", "token": "t-gateway"}


def resolve(provider: str, config: dict[str, Any] | None = None, **spec: Any) -> ResolvedProvider:
    wanted = msgspec.convert({"provider": provider} | spec, TargetSpec)
    return resolve_provider(Setup(Config(path="", **(config or {}))), wanted)


@pytest.mark.parametrize(
    ("spec", "config", "url", "source"),
    [
        ({}, {}, "https://api.openai.com/v1", "none"),
        ({}, {"gateway": {"prefix": "https://gate.test/{provider}/"}}, "https://gate.test/openai", "gateway"),
        ({}, {"env": {"SIDECAR_OPENAI_BASE_URL": "https://env.test/v1"}}, "https://env.test/v1", "environment"),
        (
            {},
            {
                "env": {"SIDECAR_OPENAI_BASE_URL": "https://env.test/v1"},
                "providers": {"openai": {"base_url": "https://file.test/v1/"}},
            },
            "https://file.test/v1",
            "configuration",
        ),
        ({"settings": {"base_url": "https://own.test/v1"}}, {}, "https://own.test/v1", "request"),
        (
            {"base_url": "https://first.test/v1", "settings": {"base_url": "https://own.test/v1"}},
            {"providers": {"openai": {"base_url": "https://file.test/v1"}}},
            "https://first.test/v1",
            "request",
        ),
    ],
)
def test_the_first_source_that_has_an_address_wins(
    spec: dict[str, Any], config: dict[str, Any], url: str, source: str
) -> None:
    address = find_base_address(resolve("openai", config, **spec), has_key=True)
    assert (address.url, address.source) == (url, source)


@pytest.mark.parametrize(
    ("base_url", "settings", "url"),
    [
        ("https://own.test", {}, "https://own.test/openai/v1"),
        ("https://own.test", {"api_version": "2024"}, "https://own.test/openai"),
        ("https://own.test/v7", {}, "https://own.test/v7"),
    ],
)
def test_a_host_without_a_path_gets_the_path_of_the_providers_sdk(
    base_url: str, settings: dict[str, str], url: str
) -> None:
    resolved = resolve("azure", base_url=base_url, settings={"resource": "r"} | settings)
    assert find_base_address(resolved, has_key=True).url == url


def test_plain_http_to_a_private_address_is_the_users_decision_alone() -> None:
    table = {"providers": {"openai": {"base_url": "http://10.0.0.1/v1"}}}
    assert find_base_address(resolve("openai", table), has_key=True).url == "http://10.0.0.1/v1"
    for refused in (
        resolve("openai", base_url="http://10.0.0.1/v1"),
        resolve("openai", {"env": {"SIDECAR_OPENAI_BASE_URL": "http://10.0.0.1/v1"}}),
    ):
        with pytest.raises(SidecarError) as caught:
            find_base_address(refused, has_key=True)
        assert caught.value.body.code == "invalid_request"


def test_a_host_variable_names_a_server_without_its_scheme() -> None:
    address = find_base_address(resolve("ollama", {"env": {"OLLAMA_HOST": "10.0.0.1"}}), has_key=False)
    assert (address.url, address.source) == ("http://10.0.0.1:11434", "environment")


@pytest.mark.parametrize(
    ("gateway", "url"),
    [
        (GATEWAY, "https://gateway.ai.cloudflare.com/v1/acc/gw/openai"),
        (GATEWAY | {"providers": ["openai"]}, "https://gateway.ai.cloudflare.com/v1/acc/gw/openai"),
        (GATEWAY | {"providers": ["groq"]}, "https://api.openai.com/v1"),
    ],
)
def test_a_gateway_is_for_all_providers_or_for_those_that_it_names(gateway: dict[str, Any], url: str) -> None:
    resolved = resolve("openai", {"gateway": gateway})
    address = find_base_address(resolved, has_key=True)
    assert address.url == url
    headers = make_gateway_headers(resolved.provider, address)
    assert headers.get("cf-aig-authorization") == ("Bearer t-gateway" if address.source == "gateway" else None)


def test_a_provider_without_a_place_behind_a_gateway_is_asked_directly() -> None:
    resolved = resolve("vercel", {"gateway": GATEWAY})
    address = find_base_address(resolved, has_key=True)
    assert (address.url, address.source) == ("https://ai-gateway.vercel.sh/v1", "none")
    assert make_gateway_headers(resolved.provider, address) == {}


def test_a_list_is_at_its_own_address_as_long_as_the_provider_is() -> None:
    resolved = resolve("bedrock", settings={"region": "eu-west-1"})
    own = find_base_address(resolved, has_key=True)
    assert find_list_base_url(resolved, own) == "https://bedrock.eu-west-1.amazonaws.com"
    other = BaseAddress("https://other.test", "configuration")
    assert find_list_base_url(resolved, other) == "https://other.test"


@pytest.mark.parametrize(
    ("wire", "has_key", "path"),
    [
        ("gemini", True, "/v1beta1/publishers/google/models/m:streamGenerateContent?alt=sse"),
        (
            "gemini",
            False,
            "/v1beta1/projects/p/locations/eu/publishers/google/models/m:streamGenerateContent?alt=sse",
        ),
        ("ollama", False, None),
    ],
)
def test_a_path_depends_on_the_wire_and_on_whether_there_is_a_key(wire: str, has_key: bool, path: str | None) -> None:
    row = resolve("vertex").provider.row
    settings = {"project": "p", "location": "eu"}
    route = Route(provider="vertex", wire=wire, model="m", base_url="https://x.test", settings=settings)
    assert find_path(row, route, has_key=has_key) == path


@pytest.mark.parametrize(
    ("provider", "settings", "path"),
    [
        ("openai", {}, "/models"),
        ("openrouter", {}, "/key"),
        ("azure", {"resource": "r"}, "/models"),
        ("azure", {"resource": "r", "api_version": "2024"}, "/models?api-version=2024"),
    ],
)
def test_a_credential_is_tested_by_a_path_of_the_row_or_else_by_the_list(
    provider: str, settings: dict[str, str], path: str
) -> None:
    assert find_check_path(make_target(resolve(provider, api_key="made-up", settings=settings))) == path
