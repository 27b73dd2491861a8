"""Where a request goes and with which credential: precedence, and keys that stay with their origin."""

from typing import Any

import msgspec
import pytest

from protocol.requests import Chat
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.providers.model_names import apply_preset
from sidecar.providers.resolve import make_target, resolve_provider
from sidecar.providers.setup import Setup
from sidecar.providers.values import Target, make_chat_spec


def target(provider: str, config: Config, **params: Any) -> Target:
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | params
    return make_target(resolve_provider(Setup(config), make_chat_spec(provider, msgspec.convert(chat, Chat))))


def refused(provider: str, config: Config, **params: Any) -> tuple[str, str | None]:
    with pytest.raises(SidecarError) as caught:
        target(provider, config, **params)
    return caught.value.body.code, caught.value.body.param


STORED = Config(
    path="",
    env={"AZURE_OPENAI_API_KEY": "stored-key", "AZURE_OPENAI_RESOURCE": "mine", "GH_COPILOT_TOKEN": "gho_stored"},
)


def test_a_stored_key_stays_with_the_resource_that_the_user_set() -> None:
    assert target("azure", STORED).route.base_url == "https://mine.openai.azure.com/openai/v1"
    assert target("azure", STORED, settings={"resource": "mine"}).credential is not None
    assert refused("azure", STORED, settings={"resource": "other"}) == ("invalid_request", "params.api_key")
    own = target("azure", STORED, settings={"resource": "other"}, api_key="request-key")
    assert own.route.base_url == "https://other.openai.azure.com/openai/v1"
    assert own.credential is not None
    assert own.credential.reveal() == "request-key"


def test_a_stored_token_stays_with_the_domain_that_the_user_set() -> None:
    assert refused("copilot", STORED, settings={"domain": "evil.example"}) == ("invalid_request", "params.api_key")


@pytest.mark.parametrize("value", ["a.b", "x@evil", "a:1", "a/b"])
def test_a_setting_in_a_host_name_is_one_label(value: str) -> None:
    code, param = refused("azure", STORED, settings={"resource": value}, api_key="request-key")
    assert (code, param) == ("invalid_request", "params.settings.resource")


def test_a_missing_setting_is_named_with_every_place_for_it() -> None:
    with pytest.raises(SidecarError) as caught:
        target("bedrock", Config(path=""), api_key="request-key")
    assert caught.value.body.param == "params.settings.region"
    assert "AWS_REGION" in (caught.value.body.hint or "")
    assert "[providers.bedrock]" in (caught.value.body.hint or "")


def test_the_request_goes_before_the_configuration_and_that_before_the_environment() -> None:
    config = Config(
        path="",
        env={"OPENAI_API_KEY": "from-environment", "SIDECAR_OPENAI_BASE_URL": "https://environment.example/v1"},
        providers={"openai": {"api_key": "from-file", "base_url": "https://file.example/v1"}},
    )
    stored = target("openai", config)
    assert (stored.route.base_url, stored.credential and stored.credential.source) == (
        "https://file.example/v1",
        "configuration",
    )
    asked = target("openai", config, api_key="from-request", base_url="http://127.0.0.1:9/v1")
    assert (asked.route.base_url, asked.credential and asked.credential.source) == ("http://127.0.0.1:9/v1", "request")


def test_a_key_of_the_environment_does_not_go_to_an_address_of_the_file() -> None:
    config = Config(
        path="",
        env={"OPENAI_API_KEY": "from-environment"},
        providers={"openai": {"base_url": "https://file.example/v1"}},
    )
    assert refused("openai", config)[0] == "auth_required"


def test_a_preset_gives_the_model_and_the_options_that_the_request_leaves_open() -> None:
    config = Config(path="", models={"fast": {"model": "groq/llama", "options": {"max_tokens": 5, "temperature": 0.5}}})
    chat = msgspec.convert(
        {"model": "fast", "messages": [{"role": "user", "content": "Hi"}], "options": {"max_tokens": 9}}, Chat
    )
    provider, chosen = apply_preset(config, "openai", chat)
    assert (provider, chosen.model) == (None, "groq/llama")
    assert (chosen.options.max_tokens, chosen.options.temperature) == (9, 0.5)


def test_a_key_beside_a_list_of_keys_is_one_of_them() -> None:
    table = {"api_key": "sk-own", "api_key_env": "MINE", "api_keys": ["sk-one"], "api_keys_env": ["TWO", "NONE"]}
    config = Config(path="", providers={"openai": table}, env={"MINE": "sk-mine", "TWO": "sk-two"})
    found = target("openai", config).keys
    assert [key.reveal() for key in found] == ["sk-own", "sk-mine", "sk-one", "sk-two"]
    alone = Config(path="", providers={"openai": {"api_key": "sk-own", "api_key_env": "MINE"}}, env=config.env)
    assert [key.reveal() for key in target("openai", alone).keys] == ["sk-own"]


@pytest.mark.parametrize("table", [{"api_key_env": "UNSET"}, {"api_keys_env": ["UNSET", "NONE"]}])
def test_where_the_user_names_variables_the_usual_ones_do_not_count(table: dict[str, Any]) -> None:
    config = Config(path="", providers={"openai": table}, env={"OPENAI_API_KEY": "sk-another"})
    assert refused("openai", config) == ("auth_required", None)
