"""Logins that other programs have left: found, offered, and taken only when that is asked for."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_services import Services
from tests.support.logins import GITHUB, TOKEN, authenticate, eventually, log_in, logged_off, status, stored
from tests.support.process_probes import posix_only
from tests.support.program import Program
from tests.support.provider_rows import params, text_of

CHATS = "POST https://api.githubcopilot.com/*"
OTHERS = "gho_CANARY-of-another-app"


@pytest.fixture
def config_home(tmp_path: Path) -> Path:
    """Return the folder of other programs' settings: not in the home directory, where no secret may be found."""
    folder = tmp_path / "settings"
    folder.mkdir()
    return folder


def leave(config_home: Path, content: Any, name: str = "apps.json") -> Path:
    """Leave a login as another program does."""
    file = config_home / "github-copilot" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def entry(token: object = OTHERS, user: object = "octocat") -> dict[str, object]:
    return {"user": user, "oauth_token": token, "githubAppId": "Iv1.0123456789abcdef"}


def offered(sidecar: Program) -> str | None:
    """Return whose login is offered, and see that the list of providers offers it too."""
    said = status(sidecar, "copilot")
    rows = {row["id"]: row for row in sidecar.ask("list_providers")["data"]["providers"]}
    assert rows["copilot"]["logins"] == said["logins"]
    assert said["ready"] is False
    assert ("existing" in said["logins"]) == ("existing_account" in said)
    account: str | None = said.get("existing_account")
    return account


@pytest.mark.parametrize(
    ("name", "key"),
    [("apps.json", "github.com:Iv1.0123456789abcdef"), ("hosts.json", "github.com")],
)
def test_an_existing_login_is_offered_and_taken_when_that_is_asked_for(
    services: Services, tmp_path: Path, config_home: Path, name: str, key: str
) -> None:
    services.answer(CHATS, text_of("openai_chat"))
    with logged_off(services, tmp_path, XDG_CONFIG_HOME=str(config_home)) as sidecar:
        assert offered(sidecar) is None
        file = leave(config_home, {"ghe.example": entry(TOKEN, "other"), key: entry()}, name)
        eventually(lambda: "existing" in status(sidecar, "copilot")["logins"])
        assert offered(sidecar) == "octocat"
        # Nobody uses it unasked.
        assert sidecar.ask("stream_chat", params(), provider="copilot")["error"]["code"] == "auth_required"
        assert not services.asked()
        done = log_in(sidecar, existing=True)
        assert (done["method"], done["account"], done["storage"]) == ("device", "octocat", "file")
        assert sidecar.ask("stream_chat", params(), provider="copilot")["success"]
        assert services.only(CHATS).headers["authorization"] == f"Bearer {OTHERS}"
        assert (status(sidecar, "copilot")["source"], status(sidecar, "copilot")["account"]) == ("store", "octocat")
        # A logout forgets ours, and leaves the other program its own.
        assert authenticate(sidecar, "logout")["data"]["removed"] is True
        assert offered(sidecar) == "octocat"
        assert OTHERS in file.read_text()
    assert stored(tmp_path) == {}


def test_an_enterprise_is_offered_its_own_login_alone(services: Services, tmp_path: Path, config_home: Path) -> None:
    leave(config_home, {"github.com:Iv1.0": entry(TOKEN, "other"), "corp.ghe.com:Iv1.0": entry()})
    config = '[providers.copilot]\ndomain = "corp.ghe.com"\n'
    services.answer("POST https://copilot-api.corp.ghe.com/*", text_of("openai_chat"))
    with logged_off(services, tmp_path, config, XDG_CONFIG_HOME=str(config_home)) as sidecar:
        assert offered(sidecar) == "octocat"
        log_in(sidecar, existing=True)
        assert sidecar.ask("stream_chat", params(), provider="copilot")["success"]
    assert {seen.headers["authorization"] for seen in services.asked()} == {f"Bearer {OTHERS}"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"github.com": "text"}',
        "[" * 100_000,
        {"github.com": {}},
        {"github.com": entry(None)},
        {"github.com": entry(5)},
        {"github.com": entry("with a space")},
        {"github.com": entry("with\nnewline")},
        {"github.com.evil.example": entry()},
        {"evil.example:github.com": entry()},
        {GITHUB: entry()},
    ],
)
def test_what_is_no_login_is_not_offered(services: Services, tmp_path: Path, config_home: Path, content: Any) -> None:
    leave(config_home, content)
    with logged_off(services, tmp_path, XDG_CONFIG_HOME=str(config_home)) as sidecar:
        assert "existing" not in status(sidecar, "copilot")["logins"]
        error = authenticate(sidecar, "login", existing=True)["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.existing")
    assert not (tmp_path / "store").exists()


def test_an_account_that_is_not_told_is_unknown(services: Services, tmp_path: Path, config_home: Path) -> None:
    leave(config_home, {"github.com": entry(user=None)})
    with logged_off(services, tmp_path, XDG_CONFIG_HOME=str(config_home)) as sidecar:
        assert status(sidecar, "copilot")["logins"] == ["api_key", "device", "existing"]
        assert log_in(sidecar, existing=True)["account"] is None


@posix_only
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give a file away")
def test_a_login_in_another_users_file_is_not_offered(services: Services, tmp_path: Path, config_home: Path) -> None:
    os.chown(leave(config_home, {"github.com": entry()}), 12345, 12345)
    with logged_off(services, tmp_path, XDG_CONFIG_HOME=str(config_home)) as sidecar:
        assert offered(sidecar) is None


def test_a_key_and_an_existing_login_are_not_both_stored(services: Services, tmp_path: Path) -> None:
    with logged_off(services, tmp_path) as sidecar:
        error = authenticate(sidecar, "login", existing=True, api_key=TOKEN)["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.existing")
        error = authenticate(sidecar, "login", "openai", existing=True)["error"]
        assert (error["code"], error["param"]) == ("invalid_request", "params.existing")
