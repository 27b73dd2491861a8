"""The credential of a provider: which source wins, and what can be one."""

from typing import Any

import msgspec
import pytest

from sidecar.config.values import Config
from sidecar.core.errors import SidecarError
from sidecar.core.secret import Secret
from sidecar.providers.credentials import find_credential, has_identity, list_keys
from sidecar.providers.rows import get_provider
from sidecar.providers.setup import Found, Setup
from sidecar.providers.values import Provider, TargetSpec

STORED = Secret("k-stored", "store")
NOTHING = TargetSpec()


def provider(
    name: str = "anthropic", *, env: dict[str, str] | None = None, stored: Secret | None = None, **table: Any
) -> Provider:
    config = Config(path="", providers={name: table} if table else {}, env=env or {})
    return get_provider(Setup(config, Found(credentials={name: stored} if stored else {})), name)


@pytest.mark.parametrize(
    ("spec", "table", "stored", "env", "expected"),
    [
        ({"api_key": "k-request"}, {"api_key": "k-file"}, STORED, "k-env", ("k-request", "request", "key")),
        ({"settings": {"api_key": "k-own"}}, {"api_key": "k-file"}, STORED, "k-env", ("k-own", "request", "key")),
        ({"settings": {"access_token": "t-own"}}, {}, STORED, "k-env", ("t-own", "request", "token")),
        ({}, {"api_key": "k-file"}, STORED, "k-env", ("k-file", "configuration", "key")),
        ({}, {"access_token": "t-file"}, STORED, "k-env", ("t-file", "configuration", "token")),
        ({}, {"api_key_env": "MINE"}, STORED, "k-env", ("k-mine", "configuration", "key")),
        ({}, {"api_key_env": "UNSET"}, STORED, "k-env", ("k-stored", "store", "key")),
        ({}, {"api_keys": ["k-one", "k-two"]}, STORED, "k-env", ("k-one", "configuration", "key")),
        ({}, {}, STORED, "k-env", ("k-stored", "store", "key")),
        ({}, {}, None, "k-env", ("k-env", "environment", "key")),
    ],
)
def test_the_first_source_that_has_a_credential_wins(
    spec: dict[str, Any], table: dict[str, Any], stored: Secret | None, env: str, expected: tuple[str, str, str]
) -> None:
    variables = {"ANTHROPIC_API_KEY": env, "MINE": "k-mine"}
    wanted = msgspec.convert(spec, TargetSpec)
    credential = find_credential(provider(env=variables, stored=stored, **table), wanted)
    assert credential
    assert (credential.reveal(), credential.source, credential.kind) == expected


def test_a_token_of_the_environment_comes_after_its_key() -> None:
    env = {"ANTHROPIC_AUTH_TOKEN": "t-env"}
    token = find_credential(provider(env=env), NOTHING)
    assert token
    assert (token.reveal(), token.kind) == ("t-env", "token")
    key = find_credential(provider(env=env | {"ANTHROPIC_API_KEY": "k-env"}), NOTHING)
    assert key
    assert key.reveal() == "k-env"


@pytest.mark.parametrize("table", [{"api_key_env": "UNSET"}, {"api_keys_env": ["UNSET", "NONE"]}])
def test_where_the_user_names_variables_the_usual_ones_do_not_count(table: dict[str, Any]) -> None:
    assert find_credential(provider(env={"ANTHROPIC_API_KEY": "k-env"}, **table), NOTHING) is None


def test_a_key_may_be_a_document_where_the_provider_accepts_one() -> None:
    document = '{"type": "service_account"}'
    found = find_credential(provider("vertex"), TargetSpec(api_key=document))
    assert found
    assert (found.kind, found.reveal()) == ("document", document)
    with pytest.raises(SidecarError) as caught:
        find_credential(provider("anthropic"), TargetSpec(api_key=document))
    assert caught.value.body.param == "params.api_key"


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ({"api_key": "two words"}, "providers.anthropic.api_key"),
        ({"api_keys": ["fine", "two words"]}, "providers.anthropic.api_keys[1]"),
        ({"api_key_env": "MINE"}, "MINE"),
    ],
)
def test_what_cannot_be_a_credential_is_refused_with_its_place_and_not_its_value(
    table: dict[str, Any], where: str
) -> None:
    with pytest.raises(SidecarError) as caught:
        find_credential(provider(env={"MINE": "two words"}, **table), NOTHING)
    assert caught.value.body.param == where
    assert "two words" not in caught.value.body.message


def test_a_key_beside_a_list_of_keys_is_one_of_them() -> None:
    table: dict[str, Any] = {
        "api_key": "k-own",
        "api_key_env": "MINE",
        "api_keys": ["k-one", "k-own"],
        "api_keys_env": ["TWO", "NO"],
    }
    mine = provider(env={"MINE": "k-mine", "TWO": "k-two"}, **table)
    keys = list_keys(mine, find_credential(mine, NOTHING))
    assert [key.reveal() for key in keys] == ["k-own", "k-mine", "k-one", "k-two"]


def test_a_credential_from_elsewhere_has_no_other_beside_it() -> None:
    mine = provider(api_keys=["k-one", "k-two"])
    requested = find_credential(mine, TargetSpec(api_key="k-request"))
    assert list_keys(mine, requested) == (requested,)
    assert list_keys(mine, None) == ()


@pytest.mark.parametrize(
    ("env", "table", "expected"),
    [
        ({}, {}, False),
        ({"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}, {}, False),
        ({"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"}, {}, True),
        ({}, {"instance_metadata": True}, True),
        ({}, {"instance_metadata": False}, False),
        ({"SIDECAR_AZURE_INSTANCE_METADATA": "true"}, {}, True),
    ],
)
def test_an_identity_is_a_whole_group_of_variables_or_a_switch_that_is_on(
    env: dict[str, str], table: dict[str, Any], expected: bool
) -> None:
    assert has_identity(provider("azure", env=env, **table)) is expected
