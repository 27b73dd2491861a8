"""No credential goes to a server that it was not given for."""

from typing import Any

import pytest

from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret, Source
from sidecar.providers.credential_rules import check_prefix, describe_server, select_credential
from sidecar.providers.rows import get_provider
from sidecar.providers.setup import Setup
from sidecar.providers.values import BaseAddress, Provider

SOURCES: tuple[Source, ...] = ("request", "configuration", "store", "environment")


def provider(name: str = "openai", env: dict[str, str] | None = None, **table: Any) -> Provider:
    return get_provider(Setup(Config(path="", providers={name: table} if table else {}, env=env or {})), name)


def address(source: Any) -> BaseAddress:
    return BaseAddress("https://somewhere.test/v1", source)


@pytest.mark.parametrize(
    ("source", "addresses"),
    [
        ("request", {"none", "gateway", "request", "configuration", "environment"}),
        ("configuration", {"none", "gateway", "configuration"}),
        ("environment", {"none", "gateway", "environment"}),
        ("store", {"none", "gateway", "configuration", "environment"}),
    ],
)
def test_a_credential_goes_to_the_address_of_its_own_source_and_to_the_providers_own(
    source: Source, addresses: set[str]
) -> None:
    # What is stored belongs to the server that was set then.
    secret = Secret("k", source, server="built-in")
    for where in ("none", "gateway", "request", "configuration", "environment"):
        if where in addresses:
            assert select_credential(provider(), address(where), secret) is secret
        else:
            with pytest.raises(SidecarError) as caught:
                select_credential(provider(), address(where), secret)
            assert caught.value.body.code == ("invalid_request" if where == "request" else "auth_required")


def test_a_stored_credential_belongs_to_one_server() -> None:
    secret = Secret("k", "store", server="https://mine.test:443")
    mine = provider(base_url="https://mine.test/v1")
    assert select_credential(mine, address("configuration"), secret) is secret
    with pytest.raises(SidecarError) as caught:
        select_credential(provider(), address("none"), secret)
    assert caught.value.body.hint == "Log in again with `authenticate`."


def test_a_key_of_the_environment_belongs_to_the_address_that_the_row_names() -> None:
    secret = Secret("k", "environment")
    ollama = provider("ollama")
    assert select_credential(ollama, BaseAddress("https://ollama.com", "configuration"), secret) is secret
    assert select_credential(ollama, BaseAddress("http://127.0.0.1:11434", "none"), secret) is None


def test_a_provider_that_needs_no_credential_is_asked_without_one() -> None:
    mine = provider("mine", wire="openai_chat", base_url="http://127.0.0.1:8000")
    for where in ("none", "configuration", "request"):
        assert select_credential(mine, address(where), None) is None


@pytest.mark.parametrize(
    ("name", "env", "hint"),
    [
        (
            "openai",
            {},
            "Set OPENAI_API_KEY, put `api_key` into the provider's table of the configuration, or send `params.",
        ),
        ("copilot", {}, "Log in with `authenticate`, set GH_COPILOT_TOKEN or COPILOT_GITHUB_TOKEN, put `api_key`"),
        (
            "openai",
            {"OPENAI_SERVICE_ACCOUNT_ID": "s"},
            "Set OPENAI_API_KEY or all of OPENAI_IDENTITY_PROVIDER_ID, OPENAI_SERVICE_ACCOUNT_ID, put `api_key`",
        ),
    ],
)
def test_whoever_has_no_credential_learns_every_place_for_one(name: str, env: dict[str, str], hint: str) -> None:
    with pytest.raises(SidecarError) as caught:
        select_credential(provider(name, env), address("none"), None)
    assert caught.value.body.code == "auth_required"
    assert (caught.value.body.hint or "").startswith(hint)


@pytest.mark.parametrize(
    ("name", "table", "server"),
    [
        ("openai", {}, "built-in"),
        ("openai", {"base_url": "https://mine.test:8443/v1"}, "https://mine.test:8443"),
        ("azure", {"resource": "mine"}, "built-in resource=mine"),
        ("copilot", {}, "built-in domain=github.com"),
        ("copilot", {"domain": "ghe.test"}, "built-in domain=ghe.test"),
    ],
)
def test_a_server_is_named_by_its_origin_and_the_settings_that_select_it(
    name: str, table: dict[str, Any], server: str
) -> None:
    assert describe_server(provider(name, **table)) == server


@pytest.mark.parametrize("source", SOURCES)
def test_a_key_of_another_provider_is_not_sent_and_not_repeated(source: Source) -> None:
    secret = Secret("sk-ant-made-up", source)
    with pytest.raises(SidecarError) as caught:
        check_prefix(provider(), address("none"), secret)
    assert caught.value.body.message == "The key for OpenAI looks like a key for Anthropic."
    assert caught.value.body.param == ("params.api_key" if source == "request" else None)


@pytest.mark.parametrize(
    ("secret", "where"),
    [
        (Secret("sk-ant-made-up", "configuration"), "configuration"),
        (Secret("sk-ant-made-up", "request", "token"), "none"),
        (Secret("sk-proj-made-up", "request"), "none"),
        (Secret("anything", "request"), "none"),
    ],
)
def test_a_key_is_judged_by_its_prefix_only_at_the_providers_own_address(secret: Secret, where: str) -> None:
    check_prefix(provider(), address(where), secret)
