"""A keychain that is locked: said so, asked again soon, and nothing that it keeps is forgotten."""

from pathlib import Path

import keyring
import keyring.errors
import pytest

from sidecar.auth.logins import store_folder
from tests.support import app
from tests.support.app import Host
from tests.support.lines import Object

KEY = "sk-CANARY-5f2e7c90d1"
CHAT: Object = {"model": "gpt-x", "messages": [{"role": "user", "content": "Hi"}]}


class Lockable:
    """A keychain with a lock."""

    priority = 5.0

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.locked = False

    def _check(self) -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked

    def get_password(self, _: str, name: str) -> str | None:
        self._check()
        return self.kept.get(name)

    def set_password(self, _: str, name: str, secret: str) -> None:
        self._check()
        self.kept[name] = secret

    def delete_password(self, _: str, name: str) -> None:
        self._check()
        del self.kept[name]


@pytest.fixture
def keychain(monkeypatch: pytest.MonkeyPatch) -> Lockable:
    made = Lockable()
    monkeypatch.setattr(keyring, "get_keyring", lambda: made)
    return made


async def ask(host: Host, op: str, **params: object) -> Object:
    return await host.ask("authenticate", {"op": op, **params}, provider="openai")


async def test_a_locked_keychain_is_named_and_asked_again_once_it_is_open(
    keychain: Lockable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_folder, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(store_folder, "RETRY_SECONDS", 0.0)
    store_dir = str(tmp_path / "store")
    async with app.running(store_dir=store_dir) as host:
        assert (await ask(host, "login", api_key=KEY))["data"]["storage"] == "keychain"
    keychain.locked = True
    async with app.running(store_dir=store_dir) as host:
        error = (await host.ask("generate", CHAT, provider="openai"))["error"]
        assert (error["code"], error["retryable"], error["reason"]) == ("auth_required", True, "keychain")
        assert "Unlock" in error["hint"]
        keychain.locked = False
        host.http.answer_with({"error": {"message": "No."}}, 400)
        assert (await host.ask("generate", CHAT, provider="openai"))["error"]["message"] == "No."
        assert host.http.asked[0].request.headers["authorization"] == f"Bearer {KEY}"


async def test_what_a_locked_keychain_has_kept_is_deleted_by_the_next_logout(
    keychain: Lockable, tmp_path: Path
) -> None:
    async with app.running(store_dir=str(tmp_path / "store")) as host:
        await ask(host, "login", api_key=KEY)
        keychain.locked = True
        removed = (await ask(host, "logout"))["data"]
        assert (removed["removed"], removed["warnings"][0]["code"]) == (True, "keychain_unavailable")
        assert keychain.kept
        keychain.locked = False
        assert (await ask(host, "logout"))["data"]["removed"] is True
        assert not keychain.kept
        assert (await ask(host, "logout"))["data"]["removed"] is False


async def test_a_login_beside_a_locked_keychain_tells_of_what_that_keeps(keychain: Lockable, tmp_path: Path) -> None:
    async with app.running(store_dir=str(tmp_path / "store")) as host:
        await ask(host, "login", api_key=KEY)
        keychain.locked = True
        again = (await ask(host, "login", api_key=f"{KEY}2"))["data"]
        assert (again["storage"], [each["code"] for each in again["warnings"]]) == ("file", ["keychain_unavailable"])
        removed = (await ask(host, "logout"))["data"]
        assert [each["code"] for each in removed["warnings"]] == ["keychain_unavailable"]
        keychain.locked = False
        assert (await ask(host, "logout"))["data"]["removed"] is True
        assert not keychain.kept
