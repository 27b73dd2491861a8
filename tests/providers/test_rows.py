"""Providers as they are set up: built-in rows with the user's changes, and the user's own."""

from typing import Any

import pytest

from sidecar.catalogue.provider_rows import read_providers
from sidecar.config.values import Config
from sidecar.providers.rows import get_provider, list_providers
from sidecar.providers.setup import Found, Setup
from sidecar.providers.values import Provider


def provider(provider_id: str, found: Found | None = None, env: dict[str, str] | None = None, **table: Any) -> Provider:
    config = Config(path="", providers={provider_id: table} if table else {}, env=env or {})
    return get_provider(Setup(config, found or Found()), provider_id)


def test_without_a_table_a_row_is_the_built_in_one() -> None:
    assert provider("openai").row is read_providers()["openai"]
    assert provider("openai").table == {}


def test_a_table_changes_the_columns_that_it_names_and_no_other() -> None:
    plain = read_providers()["openai"]
    row = provider("openai", name="Mine", auth_header="x-key", headers={"x-team": "7"}, quirks={"seed_field": ""}).row
    assert (row.name, row.auth.header, row.headers, row.quirks.seed_field) == ("Mine", "x-key", {"x-team": "7"}, "")
    assert (row.address, row.models, row.auth.key_env) == (plain.address, plain.models, plain.auth.key_env)
    assert row.quirks.obfuscation_option == plain.quirks.obfuscation_option


def test_a_wire_of_the_users_has_no_exceptions() -> None:
    row = provider("openai", wire="openai_chat").row
    assert (row.wire, row.models.wire_rules) == ("openai_chat", [])
    assert read_providers()["openai"].models.wire_rules


def test_one_server_replaces_both_of_a_login() -> None:
    login = provider("copilot", login_base_url="https://ghe.test", login_client_id="mine").row.auth.login
    assert login
    assert (login.base_url, login.api_base_url, login.client_id) == ("https://ghe.test", "https://ghe.test", "mine")


def test_a_provider_of_the_users_own_needs_no_key_and_no_end_marker() -> None:
    mine = provider("mine", wire="openai_chat", base_url="http://10.0.0.1/v1")
    assert (mine.row.name, mine.row.wire) == ("mine", "openai_chat")
    assert mine.row.address.base_url == "http://10.0.0.1/v1"
    assert mine.row.address.private_network
    assert mine.row.auth.optional
    assert not mine.row.quirks.done_marker


@pytest.mark.parametrize(
    ("found", "env", "optional"),
    [
        (Found(), {}, False),
        (Found(identities=frozenset({"anthropic"})), {}, True),
        (Found(identities=frozenset({"openai"})), {}, False),
        (Found(), {"ANTHROPIC_PROFILE": "work"}, True),
    ],
)
def test_an_identity_of_the_machine_makes_a_key_optional(found: Found, env: dict[str, str], optional: bool) -> None:
    assert provider("anthropic", found, env).row.auth.optional is optional


def test_all_providers_are_listed_under_their_ids() -> None:
    listed = list_providers(Setup(Config(path="", providers={"mine": {"wire": "w", "base_url": "u"}})))
    assert listed.keys() == read_providers().keys() | {"mine"}
    assert all(name == each.id for name, each in listed.items())


def test_an_id_that_is_not_known_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        provider("nobody")
