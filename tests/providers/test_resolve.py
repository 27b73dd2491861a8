"""Where a request goes and with which credential: precedence, and keys that stay with their origin."""

from typing import Any

import msgspec
import pytest

from protocol.requests import Chat, ListModels
from protocol.settings import Settings
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.providers.resolve import add_settings, change_wire, make_target, resolve_provider
from sidecar.providers.setup import Setup
from sidecar.providers.values import Target, TargetSpec, make_chat_spec, make_list_spec


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


@pytest.mark.parametrize(
    ("provider", "model", "table", "options", "wire"),
    [
        ("openai", "made-up", {}, {}, "openai_chat"),
        ("openai", "gpt-7-made-up", {}, {}, "openai_responses"),
        ("openai", "gpt-7-made-up", {"wire": "openai_chat"}, {}, "openai_chat"),
        ("openai", "gpt-7-made-up", {}, {"wire": "anthropic_messages"}, "anthropic_messages"),
        # The catalogue's row of a model goes before the provider's rules.
        ("xai", "grok-4.20-multi-agent-0309", {}, {}, "openai_responses"),
        ("openai", "gpt-4o", {"wire": "openai_responses"}, {}, "openai_responses"),
    ],
)
def test_the_first_that_names_a_wire_wins(
    provider: str, model: str, table: dict[str, Any], options: dict[str, str], wire: str
) -> None:
    config = Config(path="", providers={provider: table} if table else {})
    assert target(provider, config, model=model, options=options, api_key="made-up").route.wire == wire


def test_a_recording_is_named_by_its_wire_and_case() -> None:
    for model, expected in (("default", "text"), ("gemini/tools", "tools")):
        route = target("replay", Config(path=""), model=model).route
        assert (route.wire, route.model) == ("gemini" if "/" in model else "anthropic_messages", expected)


def test_a_target_of_a_whole_provider_has_no_model_and_no_path() -> None:
    spec = make_list_spec("google", ListModels(api_key="AIza-made-up"))
    made = make_target(resolve_provider(Setup(Config(path="")), spec))
    assert (made.route.provider, made.route.model, made.route.path, made.model_row) == ("gemini", "", None, None)


def test_discovered_settings_fill_what_nobody_has_set() -> None:
    spec = TargetSpec(provider="vertex", model="m", settings=Settings(location="eu"))
    resolved = add_settings(resolve_provider(Setup(Config(path="")), spec), {"project": "p", "location": "us"})
    assert resolved.settings == {"project": "p", "location": "eu"}
    assert make_target(resolved).route.path == (
        "/v1beta1/projects/p/locations/eu/publishers/google/models/m:streamGenerateContent?alt=sse"
    )
    with pytest.raises(SidecarError) as caught:
        add_settings(resolved, {"project": "p q"})
    assert caught.value.body.param == "params.settings.project"


def test_another_wire_has_another_path() -> None:
    made = target("gemini", Config(path=""), api_key="AIza-made-up")
    changed = change_wire(made, "openai_chat")
    assert (made.route.path, changed.route.path) == (None, "/v1beta/openai/chat/completions")
    assert (changed.route.wire, changed.credential) == ("openai_chat", made.credential)


def test_an_address_that_is_not_the_rows_own_is_custom() -> None:
    assert not target("openai", Config(path=""), api_key="made-up").has_custom_address
    assert target("openai", Config(path=""), api_key="made-up", base_url="https://own.test").has_custom_address
    gateway = Config(path="", gateway={"prefix": "https://gate.test/{provider}"})
    assert target("openai", gateway, api_key="made-up").has_custom_address


def test_neither_a_spec_nor_a_setup_shows_its_secrets() -> None:
    config = Config(path="", env={"OPENAI_API_KEY": "CANARY"}, providers={"openai": {"api_key": "CANARY"}})
    spec = TargetSpec(provider="openai", api_key="CANARY", settings=Settings(api_key="CANARY"))
    resolved = resolve_provider(Setup(config), spec)
    for shown in (spec, resolved.provider, resolved, make_target(resolved).keys):
        assert "CANARY" not in repr(shown)


OWN_URL = "https://api.openai.com/v1"
OTHER_URL = "http://127.0.0.1:1234/v1"


@pytest.mark.parametrize(
    ("config", "params", "has_marker"),
    [
        (Config(path=""), {}, True),
        (Config(path="", providers={"openai": {"base_url": OWN_URL}}), {}, True),
        (Config(path="", providers={"openai": {"base_url": OTHER_URL}}), {}, False),
        (Config(path="", env={"SIDECAR_OPENAI_BASE_URL": OTHER_URL}), {}, False),
        (Config(path="", env={"OPENAI_BASE_URL": OTHER_URL}), {}, False),
        (Config(path=""), {"base_url": OTHER_URL}, False),
        (Config(path="", providers={"openai": {"quirks": {"done_marker": True}}}), {"base_url": OTHER_URL}, True),
    ],
    ids=["own", "own, configured", "configured", "environment", "the SDK's variable", "requested", "quirk"],
)
def test_a_stream_of_another_server_may_end_without_its_marker(
    config: Config, params: dict[str, Any], has_marker: bool
) -> None:
    # The key is only for the address that the request names.
    given = {"api_key": "request-key"} | params
    assert target("openai", config, **given).route.quirks.done_marker is has_marker
