"""What `list_providers` says of the ways to authorize a provider, and whether there is one now."""

from pathlib import Path

import pytest

from tests.support.fake_services import Services, document
from tests.support.in_process import online
from tests.support.lines import Object
from tests.support.logins import authenticate, eventually
from tests.support.program import Program
from tests.support.provider_rows import params, text_of

pytestmark = pytest.mark.long

SECRET = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "CANARY"}


def row(sidecar: Program, provider: str) -> Object:
    """Return what is said of *provider*, which `authenticate` must say too."""
    rows = {each["id"]: each for each in sidecar.ask("list_providers")["data"]["providers"]}
    found: Object = rows[provider]
    status = sidecar.ask("authenticate", {"op": "status"}, provider=provider)["data"]
    assert (status["ready"], status.get("method")) == (found["ready"], found["method"])
    return found


@pytest.mark.parametrize(
    ("provider", "env", "config", "method"),
    [
        ("anthropic", {"ANTHROPIC_API_KEY": "CANARY"}, "", "api_key"),
        ("anthropic", {"ANTHROPIC_AUTH_TOKEN": "CANARY"}, "", "access_token"),
        ("anthropic", {"ANTHROPIC_PROFILE": "dev"}, "", "chain"),
        ("anthropic", {"ANTHROPIC_FEDERATION_RULE_ID": "f"}, "", None),
        ("anthropic", {}, "", None),
        ("openai", {"OPENAI_IDENTITY_PROVIDER_ID": "i", "OPENAI_SERVICE_ACCOUNT_ID": "s"}, "", "chain"),
        ("openai", {"OPENAI_IDENTITY_PROVIDER_ID": "i"}, "", None),
        ("azure", {"AZURE_OPENAI_AD_TOKEN": "CANARY"}, "", "access_token"),
        ("azure", SECRET, "", "chain"),
        ("azure", {"AZURE_CLIENT_SECRET": "CANARY"}, "", None),
        ("azure", {"IDENTITY_ENDPOINT": "http://127.0.0.1:1", "IDENTITY_HEADER": "CANARY"}, "", "chain"),
        ("azure", {}, "[providers.azure]\ninstance_metadata = true\n", "chain"),
        ("azure", {}, "[providers.azure]\ninstance_metadata = false\n", None),
        ("azure", {}, "[providers.azure]\nauth_optional = true\n", "chain"),
        ("bedrock", {"AWS_ACCESS_KEY_ID": "CANARY", "AWS_SECRET_ACCESS_KEY": "CANARY"}, "", "chain"),
        ("bedrock", {}, "", None),
        ("vertex", {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"}, "", "chain"),
        ("vertex", {}, "", None),
    ],
)
def test_a_provider_is_ready_by_what_there_is(
    services: Services, tmp_path: Path, provider: str, env: dict[str, str], config: str, method: str | None
) -> None:
    with online(services, tmp_path, config, **env) as sidecar:
        found = row(sidecar, provider)
    assert (found["ready"], found["method"]) == (method is not None, method)
    assert not services.asked()


@pytest.mark.parametrize("provider", ["ollama", "replay"])
def test_what_needs_nothing_is_ready_by_nothing(bare: Program, provider: str) -> None:
    found = row(bare, provider)
    assert (found["ready"], found["method"]) == (True, None)


def test_every_variable_is_named(bare: Program) -> None:
    found = row(bare, "anthropic")
    assert found["env"] == ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"]
    assert ["ANTHROPIC_PROFILE"] in found["identity_env"]
    assert row(bare, "groq")["identity_env"] == []


def test_a_variable_that_the_user_names_stands_in_the_place_of_the_usual_ones(
    services: Services, tmp_path: Path
) -> None:
    config = '[providers.anthropic]\napi_key_env = "WORK_KEY"\n'
    with online(services, tmp_path, config, WORK_KEY="CANARY", ANTHROPIC_AUTH_TOKEN="CANARY-other") as sidecar:
        found = row(sidecar, "anthropic")
    assert (found["env"], found["method"]) == (["WORK_KEY"], "api_key")


@pytest.mark.parametrize(
    ("env", "config"),
    [
        ({"OPENAI_API_KEY": "sk-ant-CANARY0123456789"}, ""),
        ({"OPENAI_API_KEY": "sk-CANARY0123456789"}, '[providers.openai]\nbase_url = "https://lab.example/v1"\n'),
        ({"OPENAI_API_KEY": "sk-CANARY\u00fc"}, ""),
        ({}, '[providers.openai]\napi_keys = ["sk-CANARY0123456789", "sk-ant-CANARY0123456789"]\n'),
    ],
)
def test_a_credential_that_no_chat_would_be_sent_with_is_told_with_the_reason(
    services: Services, tmp_path: Path, env: dict[str, str], config: str
) -> None:
    with online(services, tmp_path, config, **env) as sidecar:
        found = row(sidecar, "openai")
        error = sidecar.ask("stream_chat", params(), provider="openai")["error"]
    assert (found["ready"], found["method"], found["problem"]) == (False, None, error["message"])
    assert not services.asked()


FILES = {
    "anthropic": ".config/anthropic/configs/default.json",
    "bedrock": ".aws/credentials",
    "vertex": ".config/gcloud/application_default_credentials.json",
}


@pytest.mark.parametrize("provider", FILES)
def test_a_login_in_a_file_is_seen_once_it_is_there(services: Services, tmp_path: Path, provider: str) -> None:
    with online(services, tmp_path) as sidecar:
        assert row(sidecar, provider)["ready"] is False
        file = sidecar.home / FILES[provider]
        file.parent.mkdir(parents=True)
        file.write_text("{}", encoding="utf-8")
        eventually(lambda: authenticate(sidecar, "status", provider)["data"]["ready"])
        assert row(sidecar, provider)["method"] == "chain"


def test_a_profile_needs_no_variable(services: Services, tmp_path: Path) -> None:
    root = tmp_path / "home" / ".config" / "anthropic"
    for name, content in (
        ("configs", '{"authentication": {"type": "user_oauth", "client_id": "client_1"}}'),
        ("credentials", '{"access_token": "on-disk", "refresh_token": "r", "expires_at": 99999999999}'),
    ):
        (root / name).mkdir(parents=True)
        (root / name / "default.json").write_text(content, encoding="utf-8")
        (root / name / "default.json").chmod(0o600)
    services.answer("POST https://api.anthropic.com/v1/messages", text_of("anthropic_messages"))
    services.answer("GET https://api.anthropic.com/v1/models?*", document({"data": []}))
    with online(services, tmp_path) as sidecar:
        assert sidecar.reply(sidecar.send("stream_chat", params(), provider="anthropic"), 60)["success"]
        assert sidecar.ask("authenticate", {"op": "validate"}, provider="anthropic")["data"]["valid"] is True
    assert {seen.headers["authorization"] for seen in services.asked()} == {"Bearer on-disk"}
