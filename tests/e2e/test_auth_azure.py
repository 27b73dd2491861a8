"""Azure with the identity of the machine: an application, a hosted service, a developer's own login."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.support.fake_services import Answer, Services, document
from tests.support.listening_services import online
from tests.support.process import Sidecar
from tests.support.provider_rows import params, text_of

RESOURCE = {"AZURE_OPENAI_RESOURCE": "mine"}
APPLICATION = {"AZURE_TENANT_ID": "my-tenant", "AZURE_CLIENT_ID": "my-client"}
SECRET = APPLICATION | {"AZURE_CLIENT_SECRET": "CANARY-secret"}
ENTRA = "POST https://login.microsoftonline.com/my-tenant/oauth2/v2.0/token"
CHATS = "POST https://mine.openai.azure.com/*"
TOKEN = document({"access_token": "CANARY-entra", "expires_in": 3599, "token_type": "Bearer"})
MANAGED = document({"access_token": "CANARY-managed", "expires_in": "86400"})
SCOPES = pytest.mark.parametrize(
    ("settings", "scope"),
    [
        ({}, "https://ai.azure.com"),
        ({"api_version": "2024-10-21"}, "https://cognitiveservices.azure.com"),
    ],
    ids=["v1", "classic"],
)


def codes(sidecar: Sidecar, count: int = 1, **more: Any) -> list[str | None]:
    """Ask chats at once and return their error codes, None for those that went well."""
    ids = [sidecar.send("stream_chat", params(**more), provider="azure") for _ in range(count)]
    replies = [sidecar.reply(each) for each in ids]
    return [None if reply["success"] else reply["error"]["code"] for reply in replies]


@SCOPES
def test_an_application_gets_one_token_for_all(
    services: Services, tmp_path: Path, settings: dict[str, str], scope: str
) -> None:
    services.answer(ENTRA, TOKEN)
    services.answer(CHATS, text_of("openai_chat"))
    with online(services, tmp_path, **RESOURCE, **SECRET) as sidecar:
        assert codes(sidecar, 20, settings=settings) == [None] * 20
        assert codes(sidecar, settings=settings) == [None]
        data = sidecar.ask("authenticate", {"op": "status"}, provider="azure")["data"]
        assert (data["ready"], data["method"]) == (True, "chain")
    assert parse_qs(services.only(ENTRA).body.decode()) == {
        "client_id": ["my-client"],
        "client_secret": ["CANARY-secret"],
        "grant_type": ["client_credentials"],
        "scope": [f"{scope}/.default"],
    }
    assert {seen.headers["authorization"] for seen in services.asked(CHATS)} == {"Bearer CANARY-entra"}
    assert all("api-key" not in seen.headers for seen in services.asked(CHATS))


def test_a_key_goes_before_the_identity(services: Services, tmp_path: Path) -> None:
    services.answer(CHATS, text_of("openai_chat"))
    with online(services, tmp_path, AZURE_OPENAI_API_KEY="CANARY-key", **RESOURCE, **SECRET) as sidecar:
        assert codes(sidecar) == [None]
    assert services.only().headers["api-key"] == "CANARY-key"


@SCOPES
def test_a_pod_of_kubernetes_has_a_federated_token(
    services: Services, tmp_path: Path, settings: dict[str, str], scope: str
) -> None:
    file = tmp_path / "token"
    file.write_text("CANARY-federated\n", encoding="utf-8")
    services.answer(ENTRA, TOKEN)
    services.answer(CHATS, text_of("openai_chat"))
    env = RESOURCE | APPLICATION | {"AZURE_FEDERATED_TOKEN_FILE": str(file)}
    # As the webhook of AKS sets it, with its slash.
    env |= {"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/"}
    with online(services, tmp_path, **env) as sidecar:
        assert codes(sidecar, settings=settings) == [None]
    form = parse_qs(services.only(ENTRA).body.decode())
    assert form["scope"] == [f"{scope}/.default"]
    assert form["client_assertion"] == ["CANARY-federated"]
    assert form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    assert "client_secret" not in form


@SCOPES
def test_a_hosted_service_has_an_identity(
    services: Services, tmp_path: Path, settings: dict[str, str], scope: str
) -> None:
    identity = f"GET {services.url}/msi/token?*"
    services.answer(identity, MANAGED)
    services.answer(CHATS, text_of("openai_chat"))
    env = RESOURCE | {"IDENTITY_ENDPOINT": f"{services.url}/msi/token", "IDENTITY_HEADER": "CANARY-header"}
    with online(services, tmp_path, **env) as sidecar:
        assert codes(sidecar, settings=settings) == [None]
    seen = services.only(identity)
    assert seen.query == {"api-version": ["2019-08-01"], "resource": [scope]}
    assert seen.headers["x-identity-header"] == "CANARY-header"
    assert services.only(CHATS).headers["authorization"] == "Bearer CANARY-managed"


VIRTUAL_MACHINE = "[providers.azure]\ninstance_metadata = true\n"


def metadata(services: Services) -> dict[str, str]:
    """Return the environment of a virtual machine."""
    return RESOURCE | {"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"{services.url}/"}


@SCOPES
@pytest.mark.parametrize("client", [None, "my-client"], ids=["its own", "one of several"])
def test_a_virtual_machine_has_an_identity_where_the_user_says_so(
    services: Services, tmp_path: Path, settings: dict[str, str], scope: str, client: str | None
) -> None:
    services.answer(f"GET {services.url}/metadata/identity/oauth2/token?*", MANAGED)
    services.answer(CHATS, text_of("openai_chat"))
    env = metadata(services) | ({"AZURE_CLIENT_ID": client} if client else {})
    with online(services, tmp_path, VIRTUAL_MACHINE, **env) as sidecar:
        assert codes(sidecar, 10, settings=settings) == [None] * 10
        data = sidecar.ask("authenticate", {"op": "status"}, provider="azure")["data"]
        assert (data["ready"], data["method"]) == (True, "chain")
    seen = services.only("GET *")
    chosen = {"client_id": [client]} if client else {}
    assert seen.query == {"api-version": ["2018-02-01"], "resource": [scope]} | chosen
    assert seen.headers["metadata"] == "true"
    assert {chat.headers["authorization"] for chat in services.asked(CHATS)} == {"Bearer CANARY-managed"}


def test_a_virtual_machine_is_not_asked_unless_the_user_says_so(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, **metadata(services)) as sidecar:
        assert codes(sidecar) == ["auth_required"]
        # Nor does a request have a say in it.
        assert codes(sidecar, settings={"instance_metadata": True}) == ["auth_required"]
    assert not services.asked()


def test_a_switch_may_stand_in_the_environment(services: Services, tmp_path: Path) -> None:
    services.answer("GET */metadata/identity/oauth2/token?*", MANAGED)
    services.answer(CHATS, text_of("openai_chat"))
    with online(services, tmp_path, SIDECAR_AZURE_INSTANCE_METADATA="true", **metadata(services)) as sidecar:
        assert codes(sidecar) == [None]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (document({"error": "invalid_request", "error_description": "Identity not found"}, 400), "auth_required"),
        (Answer(b"<html>", 404), "auth_required"),
        (Answer(status=410), "provider_error"),
        (Answer(status=429), "provider_error"),
        (Answer(status=500), "provider_error"),
    ],
)
def test_a_virtual_machine_without_an_identity_is_told_so(
    services: Services, tmp_path: Path, answer: Answer, code: str
) -> None:
    services.answer("GET */metadata/identity/oauth2/token?*", answer)
    with online(services, tmp_path, VIRTUAL_MACHINE, **metadata(services)) as sidecar:
        assert codes(sidecar, options={"retry": {"max_attempts": 1}}) == [code]
    assert not services.asked(CHATS)


def test_a_machine_without_a_metadata_server_is_told_so(services: Services, tmp_path: Path) -> None:
    env = RESOURCE | {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:1"}
    with online(services, tmp_path, VIRTUAL_MACHINE, **env) as sidecar:
        assert codes(sidecar) == ["auth_required"]


@pytest.mark.parametrize("challenge", ["its own", "another's", "none"])
def test_a_machine_of_azure_arc_shows_that_it_may_read_the_agents_key(
    services: Services, tmp_path: Path, challenge: str
) -> None:
    key = tmp_path / "data\\AzureConnectedMachineAgent\\Tokens\\1.key"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("CANARY-agent", encoding="ascii")
    (tmp_path / "1.key").write_text("CANARY-other", encoding="ascii")
    realm = {"its own": f"Basic realm={key}", "another's": f"Basic realm={tmp_path / '1.key'}", "none": ""}[challenge]
    services.answer("GET */metadata/identity/oauth2/token?*", Answer(b"", 401, {"www-authenticate": realm}), MANAGED)
    services.answer(CHATS, text_of("openai_chat"))
    env = {
        "IDENTITY_ENDPOINT": f"{services.url}/metadata/identity/oauth2/token",
        "IMDS_ENDPOINT": services.url,
        "PROGRAMDATA": str(tmp_path / "data"),
    }
    with online(services, tmp_path, **RESOURCE, **env) as sidecar:
        assert codes(sidecar) == [None if challenge == "its own" else "auth_required"]
    asked = [seen.headers.get("authorization") for seen in services.asked("GET *")]
    assert asked == [None, "Basic CANARY-agent"][: 2 if challenge == "its own" else 1]
    assert "CANARY-other" not in "".join(seen.text for seen in services.asked())


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (
            document({"error": "invalid_client", "error_description": "AADSTS70002: CANARY-secret"}, 401),
            "auth_failed",
        ),
        (document({"error": "invalid_client"}, 400), "auth_failed"),
        (Answer(b"<html>", 200), "auth_failed"),
        (Answer(status=503), "provider_error"),
    ],
)
def test_a_token_that_is_not_given_is_an_error(services: Services, tmp_path: Path, answer: Answer, code: str) -> None:
    services.answer(ENTRA, answer)
    with online(services, tmp_path, **RESOURCE, **SECRET) as sidecar:
        assert codes(sidecar, options={"retry": {"max_attempts": 1}}) == [code]
    assert not services.asked(CHATS)


def test_a_token_that_is_refused_is_not_asked_for_in_a_storm(services: Services, tmp_path: Path) -> None:
    services.answer(ENTRA, TOKEN)
    services.answer(CHATS, document({"error": {"code": "401", "message": "Access denied."}}, 401))
    with online(services, tmp_path, **RESOURCE, **SECRET) as sidecar:
        assert codes(sidecar, 5) == ["auth_failed"] * 5
    assert len(services.asked(ENTRA)) == 1


def test_a_request_does_not_lead_an_identity_elsewhere(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, **RESOURCE, **SECRET) as sidecar:
        for elsewhere in ({"base_url": services.url}, {"settings": {"resource": "evil"}}):
            error = sidecar.ask("stream_chat", params(**elsewhere), provider="azure")["error"]
            assert (error["code"], error["param"]) == ("invalid_request", "params.api_key")
    assert not services.asked()


def test_without_an_identity_a_key_is_required(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, **RESOURCE) as sidecar:
        assert codes(sidecar) == ["auth_required"]
        assert sidecar.ask("authenticate", {"op": "status"}, provider="azure")["data"]["ready"] is False
    assert not services.asked()


def test_an_identity_that_is_half_there_is_none(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, AZURE_CLIENT_SECRET="CANARY-secret", **RESOURCE) as sidecar:
        error = sidecar.ask("stream_chat", params(), provider="azure")["error"]
        assert error["code"] == "auth_required"
        assert "AZURE_TENANT_ID" in error["hint"]
    assert not services.asked()


DEVELOPER = """
class Token:
    expires_on = 99_999_999_999

class AzureCliCredential:
    def __init__(self, process_timeout):
        pass

    def get_token(self, scope):
        from azure.core.exceptions import ClientAuthenticationError

        if {fails}:
            raise ClientAuthenticationError("CANARY-what-the-program-said")
        Token.token = "CANARY-cli-" + scope
        return Token
"""


@SCOPES
@pytest.mark.parametrize("fails", [False, True])
def test_a_developers_own_login_is_used_where_its_package_is_and_the_user_says_so(
    services: Services, tmp_path: Path, settings: dict[str, str], scope: str, fails: bool
) -> None:
    package = tmp_path / "packages" / "azure"
    (package / "core").mkdir(parents=True)
    (package / "identity.py").write_text(DEVELOPER.replace("{fails}", str(fails)), encoding="utf-8")
    (package / "core" / "exceptions.py").write_text(
        "class ClientAuthenticationError(Exception): pass\n", encoding="utf-8"
    )
    services.answer(CHATS, text_of("openai_chat"))
    root = Path(__file__).resolve().parent.parent.parent
    env = RESOURCE | {"PYTHONPATH": f"{root}:{tmp_path / 'packages'}"}
    with online(services, tmp_path, "[providers.azure]\nauth_optional = true\n", **env) as sidecar:
        reply = sidecar.ask("stream_chat", params(settings=settings), provider="azure")
    assert reply["success"] is not fails
    if fails:
        assert (reply["error"]["code"], reply["error"]["hint"]) == ("auth_required", "Run `az login`.")
    else:
        assert services.only(CHATS).headers["authorization"] == f"Bearer CANARY-cli-{scope}/.default"
