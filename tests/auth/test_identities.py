"""Identities that a machine has at a cloud, from the request to the provider: when they count, and where they go."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import app
from tests.support.app import Host, chat
from tests.support.fake_services import document
from tests.support.in_memory import RuledServer
from tests.support.lines import Object
from tests.support.provider_rows import text_of

GRANTED = document({"access_token": "CANARY-minted", "expires_in": 3600, "token_type": "Bearer"})


class Identity(msgspec.Struct, frozen=True):
    """The identity that a machine has at one provider."""

    provider: str
    wire: str
    env: dict[str, str]
    key: str
    """The variable that the provider's key is in."""
    header: str = "authorization"
    """Where the key goes."""


IDENTITIES = [
    Identity(
        "anthropic",
        "anthropic_messages",
        {
            "ANTHROPIC_FEDERATION_RULE_ID": "fdrl_1",
            "ANTHROPIC_ORGANIZATION_ID": "org_1",
            "ANTHROPIC_IDENTITY_TOKEN": "CANARY-identity",
        },
        "ANTHROPIC_API_KEY",
    ),
    Identity(
        "openai",
        "openai_chat",
        {"OPENAI_IDENTITY_PROVIDER_ID": "idp-1", "OPENAI_SERVICE_ACCOUNT_ID": "sa-1"},
        "OPENAI_API_KEY",
    ),
    Identity(
        "azure",
        "openai_chat",
        {
            "AZURE_OPENAI_RESOURCE": "mine",
            "AZURE_TENANT_ID": "my-tenant",
            "AZURE_CLIENT_ID": "my-client",
            "AZURE_CLIENT_SECRET": "CANARY-secret",
        },
        "AZURE_OPENAI_API_KEY",
        "api-key",
    ),
]


@pytest.fixture(params=IDENTITIES, ids=lambda identity: identity.provider)
def identity(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Identity:
    """Return each identity, in the environment that libraries read themselves too."""
    (tmp_path / "subject").write_text("CANARY-subject", encoding="utf-8")
    found: Identity = request.param
    env = found.env | {"HOME": str(tmp_path), "OPENAI_IDENTITY_TOKEN_FILE": str(tmp_path / "subject")}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return msgspec.structs.replace(found, env=env)


@pytest.fixture
def services(request: pytest.FixtureRequest) -> RuledServer:
    """Return a network in which every chat and every question for a token goes well."""
    services = RuledServer()
    if "identity" in request.fixturenames:
        services.answer("POST *", text_of(request.getfixturevalue("identity").wire))
    services.answer("POST *token", GRANTED)
    return services


async def describe(host: Host, provider: str) -> Object:
    """Return how the provider is authorized."""
    data: Object = (await host.ask("authenticate", {"op": "status"}, provider=provider))["data"]
    return data


@pytest.mark.long
async def test_an_identity_is_a_way_to_authorize(services: RuledServer, identity: Identity) -> None:
    async with app.online(services, env=identity.env) as host:
        data = await describe(host, identity.provider)
        assert (data["ready"], data["method"]) == (True, "chain")
        assert (await chat(host, identity.provider))["success"]
    token, request = services.seen
    assert token.url.endswith("token")
    assert request.headers["authorization"] == "Bearer CANARY-minted"
    assert "api-key" not in request.headers


async def test_a_key_goes_before_an_identity(services: RuledServer, identity: Identity) -> None:
    async with app.online(services, env=identity.env | {identity.key: "CANARY-key"}) as host:
        assert (await chat(host, identity.provider))["success"]
    seen = services.only()
    assert seen.headers[identity.header].removeprefix("Bearer ") == "CANARY-key"
    assert "oauth" not in seen.headers.get("anthropic-beta", "")


@pytest.mark.parametrize(
    ("variable", "provider", "wire"),
    [
        ("ANTHROPIC_AUTH_TOKEN", "anthropic", "anthropic_messages"),
        ("AZURE_OPENAI_AD_TOKEN", "azure", "openai_chat"),
    ],
)
async def test_a_token_of_the_environment_is_sent_as_it_is(
    services: RuledServer, variable: str, provider: str, wire: str
) -> None:
    services.answer("POST *", text_of(wire))
    env = {variable: "CANARY-token", "AZURE_OPENAI_RESOURCE": "mine"}
    async with app.online(services, env=env) as host:
        assert (await chat(host, provider))["success"]
    assert services.only().headers["authorization"] == "Bearer CANARY-token"


async def test_a_request_does_not_lead_an_identity_elsewhere(services: RuledServer, identity: Identity) -> None:
    ways: list[dict[str, Any]] = [{"base_url": "https://evil.example"}]
    if "AZURE_OPENAI_RESOURCE" in identity.env:
        ways.append({"settings": {"resource": "evil"}})
    async with app.online(services, env=identity.env) as host:
        for elsewhere in ways:
            error = (await chat(host, identity.provider, **elsewhere))["error"]
            assert (error["code"], error["param"]) == ("invalid_request", "params.api_key")
    assert not services.asked()


@pytest.mark.parametrize("identity", IDENTITIES[:2], indirect=True, ids=["anthropic", "openai"])
async def test_an_identity_does_not_go_to_another_address_of_the_users(
    services: RuledServer, identity: Identity
) -> None:
    providers = {identity.provider: {"base_url": "https://lab.example/v1"}}
    async with app.online(services, env=identity.env, providers=providers) as host:
        assert (await chat(host, identity.provider))["error"]["code"] == "auth_required"
        assert not (await host.ask("list_models", provider=identity.provider))["success"]
    assert not services.asked()


@pytest.mark.parametrize("identity", IDENTITIES[1:2], indirect=True, ids=["openai"])
async def test_an_identity_goes_to_the_region_that_the_user_names(services: RuledServer, identity: Identity) -> None:
    providers = {"openai": {"base_url": "https://eu.api.openai.com/v1"}}
    async with app.online(services, env=identity.env, providers=providers) as host:
        assert (await chat(host, "openai"))["success"]
    assert services.only("POST https://eu.api.openai.com/v1/*").headers["authorization"] == "Bearer CANARY-minted"


# --- metadata servers ------------------------------------------------------------------------

RESOURCE = {"AZURE_OPENAI_RESOURCE": "mine"}
METADATA = "GET http://169.254.169.254/metadata/identity/oauth2/token?*"


async def test_a_virtual_machine_is_not_asked_unless_the_user_says_so(services: RuledServer) -> None:
    async with app.online(services, env=RESOURCE) as host:
        assert (await chat(host, "azure"))["error"]["code"] == "auth_required"
        # Nor does a request have a say in it.
        error = (await chat(host, "azure", settings={"instance_metadata": True}))["error"]
        assert error["code"] == "auth_required"
        assert (await describe(host, "azure"))["ready"] is False
    assert not services.asked()


@pytest.mark.parametrize(
    "config",
    [
        {"env": RESOURCE | {"SIDECAR_AZURE_INSTANCE_METADATA": "true"}},
        {"env": RESOURCE, "providers": {"azure": {"instance_metadata": True}}},
    ],
    ids=["environment", "configuration"],
)
async def test_a_user_may_say_so_in_two_places(services: RuledServer, config: dict[str, Any]) -> None:
    services.answer(METADATA, GRANTED)
    services.answer("POST *", text_of("openai_chat"))
    async with app.online(services, **config) as host:
        data = await describe(host, "azure")
        assert (data["ready"], data["method"]) == (True, "chain")
        assert (await chat(host, "azure"))["success"]
    assert services.only("POST *").headers["authorization"] == "Bearer CANARY-minted"
