"""Anthropic with the login of a profile or of a workload, as its own SDK finds them."""

import json
import stat
import time
from pathlib import Path

import pytest

from tests.support.fake_services import Answer, Services, document
from tests.support.listening_services import online
from tests.support.process import Object, Sidecar
from tests.support.provider_rows import params, text_of

TOKENS = "POST https://api.anthropic.com/v1/oauth/token"
CHATS = "POST https://*/v1/messages"
WORKLOAD = {
    "ANTHROPIC_FEDERATION_RULE_ID": "fdrl_1",
    "ANTHROPIC_ORGANIZATION_ID": "org_1",
    "ANTHROPIC_IDENTITY_TOKEN": "CANARY-identity",
}
GRANTED = document({"access_token": "CANARY-access", "expires_in": 3600, "token_type": "Bearer"})


def codes(sidecar: Sidecar, count: int = 1) -> list[str | None]:
    """Ask chats at once and return their error codes, None for those that went well."""
    ids = [sidecar.send("stream_chat", params(), provider="anthropic") for _ in range(count)]
    replies = [sidecar.reply(each, 60) for each in ids]
    return [None if reply["success"] else reply["error"]["code"] for reply in replies]


def profile(folder: Path, expires_at: float, **more: object) -> Path:
    """Write the profile `dev`, as a login leaves it, and return the folder of its configuration."""
    root = folder / "anthropic"
    for name, content in (
        ("configs", {"authentication": {"type": "user_oauth", "client_id": "client_1"}} | more),
        ("credentials", {"access_token": "CANARY-old", "refresh_token": "CANARY-refresh", "expires_at": expires_at}),
    ):
        (root / name).mkdir(parents=True)
        file = root / name / "dev.json"
        file.write_text(json.dumps(content), encoding="utf-8")
        file.chmod(0o600)
    return root


def test_a_workload_gets_one_token_for_all(services: Services, tmp_path: Path) -> None:
    services.answer(TOKENS, GRANTED)
    services.answer(CHATS, text_of("anthropic_messages"))
    with online(services, tmp_path, **WORKLOAD) as sidecar:
        assert codes(sidecar, 10) == [None] * 10
        data = sidecar.ask("authenticate", {"op": "status"}, provider="anthropic")["data"]
        assert (data["ready"], data["method"]) == (True, "chain")
    asked: Object = services.only(TOKENS).json
    assert (asked["assertion"], asked["federation_rule_id"]) == ("CANARY-identity", "fdrl_1")
    for seen in services.asked(CHATS):
        assert seen.url.startswith("https://api.anthropic.com/")
        assert seen.headers["authorization"] == "Bearer CANARY-access"
        assert "oauth-2025-04-20" in seen.headers["anthropic-beta"].split(",")


def test_a_login_that_fails_for_a_moment_is_asked_again(services: Services, tmp_path: Path) -> None:
    services.answer(TOKENS, document({"error": "unavailable"}, 503), GRANTED)
    services.answer(CHATS, text_of("anthropic_messages"))
    with online(services, tmp_path, **WORKLOAD, SIDECAR_MAX_ATTEMPTS="3") as sidecar:
        sidecar.ask("initialize", {"events": ["status"]})
        lines = sidecar.stream(sidecar.send("stream_chat", params(), provider="anthropic"), 60)
    done = lines[-1].data["data"]
    assert [each.get("code") for each in done["attempts"]] == ["provider_error", None]
    assert len(services.asked(TOKENS)) == 2


def test_a_key_goes_before_a_login(services: Services, tmp_path: Path) -> None:
    services.answer(CHATS, text_of("anthropic_messages"))
    with online(services, tmp_path, ANTHROPIC_API_KEY="CANARY-key", **WORKLOAD) as sidecar:
        assert codes(sidecar) == [None]
    seen = services.only()
    assert seen.headers["authorization"] == "Bearer CANARY-key"
    assert "oauth" not in seen.headers.get("anthropic-beta", "")


def test_a_token_of_the_environment_is_sent_as_it_is(services: Services, tmp_path: Path) -> None:
    services.answer(CHATS, text_of("anthropic_messages"))
    with online(services, tmp_path, ANTHROPIC_AUTH_TOKEN="CANARY-token") as sidecar:
        assert codes(sidecar) == [None]
    assert services.only().headers["authorization"] == "Bearer CANARY-token"


def test_a_profile_that_has_worn_off_is_renewed_and_kept(services: Services, tmp_path: Path) -> None:
    root = profile(tmp_path, time.time() - 60, workspace_id="wrkspc_1", base_url="https://staging.example")
    services.answer("POST https://staging.example/v1/oauth/token", GRANTED)
    services.answer(CHATS, text_of("anthropic_messages"))
    env = {"ANTHROPIC_CONFIG_DIR": str(root), "ANTHROPIC_PROFILE": "dev"}
    with online(services, tmp_path, **env) as sidecar:
        sidecar.allowed.places.append(root / "credentials")
        assert codes(sidecar, 2) == [None, None]
    seen = services.asked(CHATS)[0]
    assert seen.url == "https://staging.example/v1/messages"
    assert seen.headers["authorization"] == "Bearer CANARY-access"
    assert seen.headers["anthropic-workspace-id"] == "wrkspc_1"
    file = root / "credentials" / "dev.json"
    assert json.loads(file.read_bytes())["access_token"] == "CANARY-access"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (document({"error": "invalid_grant", "error_description": "CANARY-refresh is used."}, 400), "auth_required"),
        (document({"error": "invalid_grant"}, 401), "auth_required"),
        (Answer(status=503), "provider_error"),
    ],
)
def test_a_login_that_is_not_renewed_is_an_error(services: Services, tmp_path: Path, answer: Answer, code: str) -> None:
    root = profile(tmp_path, time.time() - 60)
    services.answer(TOKENS, answer)
    with online(services, tmp_path, ANTHROPIC_CONFIG_DIR=str(root), ANTHROPIC_PROFILE="dev") as sidecar:
        reply = sidecar.ask("stream_chat", params(options={"retry": {"max_attempts": 1}}), provider="anthropic")
        assert reply["error"]["code"] == code
    assert not services.asked(CHATS)


def test_a_profile_that_is_not_there_asks_for_a_login(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, ANTHROPIC_PROFILE="nobody", ANTHROPIC_CONFIG_DIR=str(tmp_path)) as sidecar:
        error = sidecar.ask("stream_chat", params(), provider="anthropic")["error"]
        assert (error["code"], "ANTHROPIC_API_KEY" in error["hint"]) == ("auth_required", True)
    assert not services.asked()


def test_a_login_does_not_go_to_another_address(services: Services, tmp_path: Path) -> None:
    with online(services, tmp_path, SIDECAR_ANTHROPIC_BASE_URL=services.url, **WORKLOAD) as sidecar:
        assert codes(sidecar) == ["auth_required"]
        error = sidecar.ask("stream_chat", params(base_url=services.url), provider="anthropic")["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.api_key")
    assert not services.asked()


def test_the_loop_goes_on_while_the_sdk_is_imported(services: Services, tmp_path: Path) -> None:
    services.answer(TOKENS, GRANTED)
    services.answer(CHATS, text_of("anthropic_messages"))
    with online(services, tmp_path, **WORKLOAD) as sidecar:
        chat = sidecar.send("stream_chat", params(), provider="anthropic")
        waits = []
        while not any(line.terminal for line in sidecar.lines_of(chat)):
            waits.append(sidecar.ping())
    assert max(waits) < 1
