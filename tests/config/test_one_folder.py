"""`SIDECAR_HOME`: all that a process writes is in one folder, and the keychain is left alone."""

from pathlib import Path

import pytest

from sidecar.auth.logins import store_keychain
from sidecar.config import loader
from sidecar.config.values import ConfigError
from tests.support.environment import environment
from tests.support.fake_provider import Provider
from tests.support.in_process import InProcess
from tests.support.lines import CANARY


def test_logins_and_ledger_are_in_the_one_folder(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(store_keychain.Keychain, "_call", lambda _, method, *__: asked.append(method))
    home, user = tmp_path / "home", tmp_path / "user"
    user.mkdir()
    env = environment(user, SIDECAR_HOME=str(home))
    del env["SIDECAR_MAX_ATTEMPTS"]
    with InProcess(user, provider, env=env) as sidecar:
        login = sidecar.ask("authenticate", {"op": "login", "api_key": CANARY}, provider="deepseek")["data"]
        assert login["storage"] == "file"
        sidecar.ask("stream_chat", sidecar.params("nothing"), provider="anthropic")
        assert sidecar.ask("usage_report")["data"]["totals"]["requests"] == 1
        assert sidecar.ask("authenticate", {"op": "logout"}, provider="deepseek")["data"]["removed"]
    assert not asked
    assert {"credentials.json", "ledger.sqlite3"} <= {path.name for path in (home / "data").iterdir()}
    assert [path for path in user.rglob("*") if path.is_file()] == []


def test_one_variable_puts_every_file_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[log]\nlevel = "info"\n')
    config = loader.load(env={"SIDECAR_HOME": str(tmp_path)})
    assert (config.path, config.log_level) == (str(tmp_path / "config.toml"), "info")
    places = (config.store_dir, config.cache_dir, config.ledger_path)
    assert places == (str(tmp_path / "data"), str(tmp_path / "cache"), str(tmp_path / "data" / "ledger.sqlite3"))
    assert not config.uses_keychain
    assert loader.load(env={}).uses_keychain


def test_a_variable_for_one_file_goes_before_that_for_all(tmp_path: Path) -> None:
    env = {"SIDECAR_HOME": str(tmp_path), "SIDECAR_STORE_DIR": "/elsewhere", "SIDECAR_LEDGER": "off"}
    config = loader.load(env=env)
    assert (config.store_dir, config.ledger_path) == ("/elsewhere", None)


def test_the_one_folder_is_named_by_an_absolute_path() -> None:
    with pytest.raises(ConfigError, match="SIDECAR_HOME must be an absolute path"):
        loader.load(env={"SIDECAR_HOME": "here"})
