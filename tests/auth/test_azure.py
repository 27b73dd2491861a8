"""Azure with the identity of the machine: an application, a hosted service, a developer's own login."""

import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs

import pytest

from sidecar.auth import authorize
from sidecar.auth.memory import Memory
from sidecar.auth.schemes import azure_identity
from sidecar.core.secret import Secret
from tests.support.answer_rules import DOWN, Answering
from tests.support.fake_exchange import FakeExchange
from tests.support.fake_services import Answer, document
from tests.support.scheme_calls import (
    MIN_AGE_SECONDS,
    UNAUTHORIZED,
    Authorizer,
    TokenClock,
    gather_bearers,
    get_bearer,
    get_failure,
)

APPLICATION = {"AZURE_TENANT_ID": "my-tenant", "AZURE_CLIENT_ID": "my-client"}
SECRET = APPLICATION | {"AZURE_CLIENT_SECRET": "CANARY-secret"}
ENTRA = "POST https://login.microsoftonline.com/my-tenant/oauth2/v2.0/token"
TOKEN = document({"access_token": "CANARY-entra", "expires_in": 3599, "token_type": "Bearer"})
MANAGED = document({"access_token": "CANARY-managed", "expires_in": "86400"})
METADATA: dict[str, Any] = {"instance_metadata": True}
SCOPES = pytest.mark.parametrize(
    ("settings", "scope"),
    [
        ({}, "https://ai.azure.com"),
        ({"api_version": "2024-10-21"}, "https://cognitiveservices.azure.com"),
    ],
    ids=["v1", "classic"],
)


@pytest.fixture
def azure(exchange: FakeExchange, memory: Memory) -> Authorizer:
    return Authorizer("azure", exchange, memory)


# --- keys and tokens -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credential", "header", "value"),
    [
        (Secret("CANARY-key", "environment"), "api-key", "CANARY-key"),
        (Secret("CANARY-token", "environment", "token"), "authorization", "Bearer CANARY-token"),
    ],
)
async def test_a_key_or_token_goes_before_the_identity(
    azure: Authorizer, exchange: FakeExchange, credential: Secret, header: str, value: str
) -> None:
    call = azure.make_call(SECRET, credential)
    made = await authorize.make_headers(call)
    assert (made.headers, made.list_secrets()) == ({header: value}, [credential.reveal()])
    assert await authorize.prepare(call) is call.target
    assert await authorize.renew(call, UNAUTHORIZED) is None
    assert not exchange.asked()


# --- an application --------------------------------------------------------------------------


@SCOPES
async def test_an_application_gets_one_token_for_all(
    azure: Authorizer, exchange: FakeExchange, settings: dict[str, str], scope: str
) -> None:
    exchange.answer(ENTRA, TOKEN)
    call = azure.make_call(SECRET, settings=settings)
    assert await gather_bearers(call, 20) == ["CANARY-entra"] * 20
    assert parse_qs(exchange.only(ENTRA).body.decode()) == {
        "client_id": ["my-client"],
        "client_secret": ["CANARY-secret"],
        "grant_type": ["client_credentials"],
        "scope": [f"{scope}/.default"],
    }
    assert not exchange.questions[0].link_local


async def test_each_family_of_addresses_has_a_token_of_its_own(azure: Authorizer, exchange: FakeExchange) -> None:
    exchange.answer(ENTRA, TOKEN)
    for settings in ({}, {"api_version": "2024-10-21"}, {}):
        await get_bearer(azure.make_call(SECRET, settings=settings))
    assert len(exchange.asked()) == 2


async def test_a_token_is_replaced_when_it_is_refused_or_expires(
    azure: Authorizer, exchange: FakeExchange, token_clock: TokenClock
) -> None:
    tokens = [document({"access_token": f"CANARY-{number}", "expires_in": 3600}) for number in range(3)]
    exchange.answer(ENTRA, *tokens)
    call = azure.make_call(SECRET)
    assert await get_bearer(call) == "CANARY-0"
    assert await authorize.renew(call, UNAUTHORIZED) is None
    token_clock.pass_by(MIN_AGE_SECONDS)
    assert await authorize.renew(call, UNAUTHORIZED.with_fields(provider_status=403)) is None
    assert await authorize.renew(call, UNAUTHORIZED) is call.target
    assert await get_bearer(call) == "CANARY-1"
    # Five minutes before its end.
    token_clock.pass_by(3310)
    assert await get_bearer(call) == "CANARY-2"


@SCOPES
async def test_a_pod_of_kubernetes_has_a_federated_token(
    azure: Authorizer, exchange: FakeExchange, tmp_path: Path, settings: dict[str, str], scope: str
) -> None:
    file = tmp_path / "token"
    file.write_text("CANARY-federated\n", encoding="utf-8")
    exchange.answer(ENTRA, TOKEN)
    # As the webhook of AKS sets it, with its slash.
    authority = {"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/"}
    env = APPLICATION | authority | {"AZURE_FEDERATED_TOKEN_FILE": str(file)}
    assert await get_bearer(azure.make_call(env, settings=settings)) == "CANARY-entra"
    form = parse_qs(exchange.only(ENTRA).body.decode())
    assert form["scope"] == [f"{scope}/.default"]
    assert form["client_assertion"] == ["CANARY-federated"]
    assert form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    assert "client_secret" not in form


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (APPLICATION | {"AZURE_FEDERATED_TOKEN_FILE": "/nowhere/token"}, "AZURE_FEDERATED_TOKEN_FILE"),
        (SECRET | {"AZURE_TENANT_ID": "../evil"}, "AZURE_TENANT_ID"),
        (SECRET | {"AZURE_TENANT_ID": "é"}, "AZURE_TENANT_ID"),
    ],
)
async def test_a_variable_that_cannot_be_used_is_named(
    azure: Authorizer, exchange: FakeExchange, env: dict[str, str], message: str
) -> None:
    body = (await get_failure(azure.make_call(env))).body
    assert (body.code, message in body.message) == ("auth_required", True)
    assert not exchange.asked()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (document({"error": "CANARY-secret", "error_description": "AADSTS70002: CANARY-secret"}, 401), "auth_failed"),
        (document({"error": "invalid_client"}, 400), "auth_failed"),
        (Answer(b"<html>", 200), "auth_failed"),
        (Answer(status=503), "provider_error"),
        (DOWN, "network_error"),
    ],
)
async def test_a_token_that_is_not_given_is_an_error(
    azure: Authorizer, exchange: FakeExchange, answer: Answering, code: str
) -> None:
    exchange.answer(ENTRA, answer)
    body = (await get_failure(azure.make_call(SECRET))).body
    assert body.code == code
    assert "CANARY" not in str(body)


async def test_without_an_identity_a_key_is_required(azure: Authorizer, exchange: FakeExchange) -> None:
    for env in ({}, {"AZURE_CLIENT_SECRET": "CANARY-secret"}):
        body = (await get_failure(azure.make_call(env))).body
        assert (body.code, "AZURE_TENANT_ID" in (body.hint or "")) == ("auth_required", True)
    assert not exchange.asked()


# --- a managed identity ----------------------------------------------------------------------


@SCOPES
async def test_a_hosted_service_has_an_identity(
    azure: Authorizer, exchange: FakeExchange, settings: dict[str, str], scope: str
) -> None:
    exchange.answer("GET http://169.254.129.2:8081/msi/token?*", MANAGED)
    env = {"IDENTITY_ENDPOINT": "http://169.254.129.2:8081/msi/token", "IDENTITY_HEADER": "CANARY-header"}
    assert await get_bearer(azure.make_call(env, settings=settings)) == "CANARY-managed"
    seen = exchange.only()
    assert seen.query == {"api-version": ["2019-08-01"], "resource": [scope]}
    assert seen.headers["x-identity-header"] == "CANARY-header"
    assert exchange.questions[0].link_local


@SCOPES
@pytest.mark.parametrize("client", [None, "my-client"], ids=["its own", "one of several"])
async def test_a_virtual_machine_has_an_identity_where_the_user_says_so(
    azure: Authorizer, exchange: FakeExchange, settings: dict[str, str], scope: str, client: str | None
) -> None:
    exchange.answer("GET http://169.254.169.254/metadata/identity/oauth2/token?*", MANAGED)
    env = {"AZURE_CLIENT_ID": client} if client else {}
    call = azure.make_call(env, settings=METADATA | settings)
    assert await gather_bearers(call, 10) == ["CANARY-managed"] * 10
    chosen = {"client_id": [client]} if client else {}
    seen = exchange.only()
    assert seen.query == {"api-version": ["2018-02-01"], "resource": [scope]} | chosen
    assert seen.headers["metadata"] == "true"


async def test_another_metadata_server_may_be_named(azure: Authorizer, exchange: FakeExchange) -> None:
    exchange.answer("GET http://127.0.0.1:9/metadata/identity/oauth2/token?*", MANAGED)
    env = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9/"}
    assert await get_bearer(azure.make_call(env, settings=METADATA)) == "CANARY-managed"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (document({"error": "invalid_request", "error_description": "Identity not found"}, 400), "auth_required"),
        (Answer(b"<html>", 404), "auth_required"),
        (Answer(status=401), "auth_required"),
        (Answer(status=410), "provider_error"),
        (Answer(status=429), "provider_error"),
        (Answer(status=500), "provider_error"),
        (DOWN, "auth_required"),
        (DOWN.with_fields(phase="headers"), "network_error"),
    ],
)
async def test_a_virtual_machine_without_an_identity_is_told_so(
    azure: Authorizer, exchange: FakeExchange, answer: Answering, code: str
) -> None:
    exchange.answer("GET *", answer)
    assert (await get_failure(azure.make_call({}, settings=METADATA))).body.code == code


@pytest.mark.parametrize("seconds", ["86400", 3600, "soon", None, []])
async def test_a_life_may_be_written_as_text_or_not_at_all(
    azure: Authorizer, exchange: FakeExchange, seconds: object
) -> None:
    exchange.answer("GET *", document({"access_token": "CANARY-managed", "expires_in": seconds}))
    call = azure.make_call({}, settings=METADATA)
    assert [await get_bearer(call) for _ in range(2)] == ["CANARY-managed"] * 2
    assert len(exchange.asked()) == 1


# --- a machine of Azure Arc ------------------------------------------------------------------


@pytest.fixture
def arc(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a machine that Azure Arc manages, with a file of its agent's and one of another's."""
    key = tmp_path / "data\\AzureConnectedMachineAgent\\Tokens\\1.key"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("CANARY-agent", encoding="ascii")
    (tmp_path / "1.key").write_text("CANARY-other", encoding="ascii")
    endpoint = "http://localhost:40342/metadata/identity/oauth2/token"
    return {"IDENTITY_ENDPOINT": endpoint, "IMDS_ENDPOINT": "http://localhost:40342", "PROGRAMDATA": f"{tmp_path}/data"}


@pytest.mark.parametrize(
    ("realm", "is_own"),
    [
        ("Basic realm={folder}/data\\AzureConnectedMachineAgent\\Tokens\\1.key", True),
        ("Basic realm={folder}/1.key", False),
        ("Basic realm={folder}/data\\AzureConnectedMachineAgent\\Tokens\\..\\1.key", False),
        ("Bearer realm={folder}/data\\AzureConnectedMachineAgent\\Tokens\\1.key", False),
        ("Basic realm={folder}/data\\AzureConnectedMachineAgent\\Tokens\\2.key", False),
        ("", False),
    ],
)
async def test_a_machine_of_azure_arc_shows_that_it_may_read_the_agents_key(
    azure: Authorizer, exchange: FakeExchange, arc: dict[str, str], tmp_path: Path, realm: str, is_own: bool
) -> None:
    challenge = Answer(b"", 401, {"www-authenticate": realm.format(folder=tmp_path)})
    exchange.answer("GET *", challenge, MANAGED)
    call = azure.make_call(arc)
    if is_own:
        assert await get_bearer(call) == "CANARY-managed"
    else:
        assert (await get_failure(call)).body.code == "auth_required"
    asked = [seen.headers.get("authorization") for seen in exchange.asked()]
    assert asked == [None, "Basic CANARY-agent"][: 2 if is_own else 1]


async def test_an_agent_that_refuses_its_own_key_is_not_asked_again(
    azure: Authorizer, exchange: FakeExchange, arc: dict[str, str], tmp_path: Path
) -> None:
    realm = f"Basic realm={tmp_path}/data\\AzureConnectedMachineAgent\\Tokens\\1.key"
    exchange.answer("GET *", Answer(b"", 401, {"www-authenticate": realm}))
    assert (await get_failure(azure.make_call(arc))).body.code == "auth_required"
    assert len(exchange.asked()) == 2


# --- a developer's own login -----------------------------------------------------------------


class ClientAuthenticationError(Exception):
    """As the package has it."""


class Credential:
    """What the package asks the program with."""

    fails = False

    def __init__(self, process_timeout: int) -> None:
        assert process_timeout == azure_identity.LIMIT_SECONDS

    def get_token(self, scope: str) -> Any:
        if self.fails:
            raise ClientAuthenticationError("CANARY-what-the-program-said")
        token = ModuleType("token")
        vars(token).update(token=f"CANARY-cli-{scope}", expires_on=time.time() + 3600)
        return token


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> type[Credential]:
    """Install a package `azure-identity`."""
    identity, exceptions = ModuleType("azure.identity"), ModuleType("azure.core.exceptions")
    kind = type("Credential", (Credential,), {})
    vars(identity).update(AzureCliCredential=kind)
    vars(exceptions).update(ClientAuthenticationError=ClientAuthenticationError)
    for module in (ModuleType("azure"), ModuleType("azure.core"), identity, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return kind


@SCOPES
async def test_a_developers_own_login_is_used_where_its_package_is(
    azure: Authorizer, package: type[Credential], settings: dict[str, str], scope: str
) -> None:
    call = azure.make_call({}, settings=settings)
    assert await gather_bearers(call, 3) == [f"CANARY-cli-{scope}/.default"] * 3
    assert not package.fails


async def test_a_developer_who_is_not_logged_in_is_told_so(azure: Authorizer, package: type[Credential]) -> None:
    package.fails = True
    body = (await get_failure(azure.make_call({}))).body
    assert (body.code, body.hint) == ("auth_required", "Run `az login`.")
    assert "CANARY" not in str(body)
