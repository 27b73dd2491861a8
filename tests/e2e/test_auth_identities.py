"""Identities that a machine has at a cloud, through whole processes: the real addresses, over TLS, and the real SDK."""

import json
import re
import stat
import time
from pathlib import Path

from tests.support.fake_services import Answer, Services, document
from tests.support.listening_services import online
from tests.support.process import Object, Sidecar
from tests.support.provider_rows import params, text_of
from tests.support.source import within

GRANTED = document({"access_token": "CANARY-access", "expires_in": 3600, "token_type": "Bearer"})
WORKLOAD = {
    "ANTHROPIC_FEDERATION_RULE_ID": "fdrl_1",
    "ANTHROPIC_ORGANIZATION_ID": "org_1",
    "ANTHROPIC_IDENTITY_TOKEN": "CANARY-identity",
}
IDENTITY = {"OPENAI_IDENTITY_PROVIDER_ID": "idp-1", "OPENAI_SERVICE_ACCOUNT_ID": "sa-1"}
RESOURCE = {"AZURE_OPENAI_RESOURCE": "mine"}


def ask(sidecar: Sidecar, provider: str, count: int = 1) -> list[str | None]:
    """Ask chats at once and return their error codes, None for those that went well."""
    ids = [sidecar.send("stream_chat", params(), provider=provider) for _ in range(count)]
    replies = [sidecar.reply(each, 60) for each in ids]
    return [None if reply["success"] else reply["error"]["code"] for reply in replies]


def test_a_workload_gets_one_token_for_all_by_the_sdk(services: Services, tmp_path: Path) -> None:
    tokens, chats = "POST https://api.anthropic.com/v1/oauth/token", "POST https://api.anthropic.com/v1/messages"
    services.answer(tokens, GRANTED)
    services.answer(chats, text_of("anthropic_messages"))
    with online(services, tmp_path, **WORKLOAD) as sidecar:
        # The loop goes on while the SDK is imported.
        chat = sidecar.send("stream_chat", params(), provider="anthropic")
        waits = []
        while not any(line.terminal for line in sidecar.lines_of(chat)):
            waits.append(sidecar.ping())
        assert max(waits) < 1
        assert ask(sidecar, "anthropic", 10) == [None] * 10
    asked: Object = services.only(tokens).json
    assert (asked["assertion"], asked["federation_rule_id"]) == ("CANARY-identity", "fdrl_1")
    for seen in services.asked(chats):
        assert seen.headers["authorization"] == "Bearer CANARY-access"
        assert "oauth-2025-04-20" in seen.headers["anthropic-beta"].split(",")


def test_a_profile_that_has_expired_is_renewed_and_kept(services: Services, tmp_path: Path) -> None:
    root = tmp_path / "anthropic"
    login = {"access_token": "CANARY-old", "refresh_token": "CANARY-refresh", "expires_at": time.time() - 60}
    for name, content in (
        ("configs", {"authentication": {"type": "user_oauth", "client_id": "client_1"}}),
        ("credentials", login),
    ):
        (root / name).mkdir(parents=True)
        (root / name / "dev.json").write_text(json.dumps(content), encoding="utf-8")
        (root / name / "dev.json").chmod(0o600)
    services.answer("POST https://api.anthropic.com/v1/oauth/token", GRANTED)
    services.answer("POST https://api.anthropic.com/v1/messages", text_of("anthropic_messages"))
    with online(services, tmp_path, ANTHROPIC_CONFIG_DIR=str(root), ANTHROPIC_PROFILE="dev") as sidecar:
        sidecar.allowed.places.append(root / "credentials")
        assert ask(sidecar, "anthropic", 2) == [None, None]
    file = root / "credentials" / "dev.json"
    assert json.loads(file.read_bytes())["access_token"] == "CANARY-access"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_clouds_own_word_is_taken_where_the_user_says_so_and_no_sdk_is_loaded(
    services: Services, tmp_path: Path
) -> None:
    metadata = "GET *metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity*"
    tokens = "POST https://auth.openai.com/oauth/token"
    services.answer(metadata, Answer(b"CANARY-google"))
    services.answer(tokens, GRANTED)
    services.answer("POST https://api.openai.com/*", text_of("openai_chat"))
    config = '[providers.openai]\nsubject_token = "gcp_id"\n'
    env = IDENTITY | {"HTTP_PROXY": services.url, "PYTHONPROFILEIMPORTTIME": "1"}
    with online(services, tmp_path, config, **env) as sidecar:
        assert ask(sidecar, "openai", 10) == [None] * 10
    assert services.only(metadata).headers["metadata-flavor"] == "Google"
    asked = services.only(tokens).json
    assert (asked["subject_token"], asked["subject_token_type"][-8:]) == ("CANARY-google", "id_token")
    loaded = re.findall(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", sidecar.stderr.decode(), re.MULTILINE)
    assert "msgspec" in loaded
    assert not [name for name in loaded if within(name, ("openai",))]


def test_an_application_gets_one_token_for_all(services: Services, tmp_path: Path) -> None:
    entra = "POST https://login.microsoftonline.com/my-tenant/oauth2/v2.0/token"
    services.answer(entra, GRANTED)
    services.answer("POST https://mine.openai.azure.com/*", text_of("openai_chat"))
    env = RESOURCE | {
        "AZURE_TENANT_ID": "my-tenant",
        "AZURE_CLIENT_ID": "my-client",
        "AZURE_CLIENT_SECRET": "CANARY-secret",
    }
    with online(services, tmp_path, **env) as sidecar:
        assert ask(sidecar, "azure", 20) == [None] * 20
    assert b"client_secret=CANARY-secret" in services.only(entra).body


def test_a_machine_of_azure_arc_shows_that_it_may_read_the_agents_key(services: Services, tmp_path: Path) -> None:
    key = tmp_path / "data\\AzureConnectedMachineAgent\\Tokens\\1.key"
    key.write_text("CANARY-agent", encoding="ascii")
    challenge = Answer(b"", 401, {"www-authenticate": f"Basic realm={key}"})
    services.answer("GET */metadata/identity/oauth2/token?*", challenge, GRANTED)
    services.answer("POST https://mine.openai.azure.com/*", text_of("openai_chat"))
    env = {
        "IDENTITY_ENDPOINT": f"{services.url}/metadata/identity/oauth2/token",
        "IMDS_ENDPOINT": services.url,
        "PROGRAMDATA": str(tmp_path / "data"),
    }
    with online(services, tmp_path, **RESOURCE, **env) as sidecar:
        assert ask(sidecar, "azure") == [None]
    assert [seen.headers.get("authorization") for seen in services.asked("GET *")] == [None, "Basic CANARY-agent"]


def test_a_machine_without_a_metadata_server_is_told_so(services: Services, tmp_path: Path) -> None:
    env = RESOURCE | {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:1"}
    with online(services, tmp_path, "[providers.azure]\ninstance_metadata = true\n", **env) as sidecar:
        assert ask(sidecar, "azure") == ["auth_required"]
