"""A provider's settings: which source wins, and what an address cannot have."""

from collections.abc import Mapping
from typing import Any

import pytest

from protocol.settings import Settings
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.providers.rows import get_provider
from sidecar.providers.settings import changes_server, find_undiscovered, is_on, merge_settings, read_settings
from sidecar.providers.setup import Found, Setup
from sidecar.providers.values import Provider


def provider(
    name: str, env: Mapping[str, str] | None = None, found: Mapping[str, str] | None = None, **table: Any
) -> Provider:
    config = Config(path="", providers={name: table} if table else {}, env=env or {})
    return get_provider(Setup(config, Found(settings={name: found or {}})), name)


@pytest.mark.parametrize(
    ("requested", "table", "env", "found", "location"),
    [
        ("a", {"location": "b"}, {"GOOGLE_CLOUD_LOCATION": "c"}, {"location": "d"}, "a"),
        (None, {"location": "b"}, {"GOOGLE_CLOUD_LOCATION": "c"}, {"location": "d"}, "b"),
        (None, {}, {"SIDECAR_VERTEX_LOCATION": "c", "GOOGLE_CLOUD_LOCATION": "e"}, {"location": "d"}, "c"),
        (None, {}, {"CLOUD_ML_REGION": "c"}, {"location": "d"}, "c"),
        (None, {}, {}, {"location": "d"}, "d"),
        (None, {}, {}, {}, "global"),
    ],
)
def test_the_first_source_that_has_a_value_wins(
    requested: str | None, table: dict[str, str], env: dict[str, str], found: dict[str, str], location: str
) -> None:
    given = Settings(location=requested) if requested else None
    assert merge_settings(provider("vertex", env, found, **table), given)["location"] == location


def test_what_the_machine_knows_counts_only_for_settings_that_it_may_know() -> None:
    assert merge_settings(provider("azure", found={"resource": "theirs"}), None) == {}


def test_only_settings_are_merged_and_no_secret() -> None:
    requested = Settings(api_key="k-request", access_token="t-request", base_url="https://x.test", region="eu")
    mine = provider("bedrock", api_key="k-file", base_url="https://y.test", headers={"a": "b"})
    assert merge_settings(mine, requested) == {"region": "eu"}


def test_a_value_that_no_address_can_have_is_refused() -> None:
    with pytest.raises(SidecarError) as caught:
        merge_settings(provider("azure"), Settings(resource="a b"))
    assert (caught.value.body.code, caught.value.body.param) == ("invalid_request", "params.settings.resource")
    assert "a b" not in caught.value.body.message


def test_a_path_is_fine_for_a_setting_that_stands_in_no_address() -> None:
    mine = provider("vertex", credentials_file="/home/me/my file.json")
    assert merge_settings(mine, None)["credentials_file"] == "/home/me/my file.json"


def test_what_somebody_has_set_is_not_to_be_discovered() -> None:
    assert find_undiscovered(provider("vertex"), None) == {"project", "location"}
    assert find_undiscovered(provider("vertex", project="p"), Settings(location="eu")) == frozenset()
    assert find_undiscovered(provider("vertex", {"GCLOUD_PROJECT": "p"}), None) == {"location"}
    assert find_undiscovered(provider("openai"), None) == frozenset()


def test_a_default_is_set_by_nobody() -> None:
    assert read_settings(provider("copilot"), None) == {}
    assert merge_settings(provider("copilot"), None) == {"domain": "github.com"}


@pytest.mark.parametrize(
    ("requested", "changes"),
    [
        (None, False),
        (Settings(), False),
        (Settings(resource="mine"), False),
        (Settings(api_version="2024"), False),
        (Settings(resource="other"), True),
    ],
)
def test_a_request_changes_the_server_by_another_value_than_the_users(
    requested: Settings | None, changes: bool
) -> None:
    assert changes_server(provider("azure", resource="mine"), requested) is changes


@pytest.mark.parametrize(("value", "on"), [(True, True), ("true", True), ("TRUE", True), (False, False), ("1", False)])
def test_a_switch_is_on_if_it_says_true(value: object, on: bool) -> None:
    assert is_on({"switch": value}, "switch") is on
    assert not is_on({}, "switch")


def test_what_is_stored_with_a_key_counts_after_the_environment_and_not_beside_a_key_of_the_file() -> None:
    found = Found(stored_settings={"azure": {"resource": "stored"}})
    for env, table, resource in (
        ({}, {}, "stored"),
        ({"AZURE_OPENAI_RESOURCE": "set"}, {}, "set"),
        ({}, {"resource": "filed"}, "filed"),
        ({}, {"api_key": "k"}, None),
    ):
        config = Config(path="", env=env, providers={"azure": table})
        assert merge_settings(get_provider(Setup(config, found), "azure"), None).get("resource") == resource
