"""Where credentials are kept: a file of the user's alone, or the keychain, whatever has become of either."""

import json
import stat
import time
from pathlib import Path

import pytest

from tests.support.fake_services import Services
from tests.support.logins import (
    KEY,
    TOKEN,
    authenticate,
    file_of,
    github,
    key_of_chat,
    log_in,
    logged_off_process,
    seed,
    status,
    stored,
    warnings,
)
from tests.support.process import Object, Sidecar, environment
from tests.support.process_probes import linux_only, posix_only
from tests.support.provider_rows import params, text_of

KEYCHAINS = "tests.support.keychains"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- the file ----------------------------------------------------------------------------------


@posix_only
@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_a_store_is_the_users_alone_from_the_first(services: Services, tmp_path: Path, umask: str) -> None:  # F17
    store = tmp_path / "new" / "deep" / "store"
    env = environment(
        tmp_path, SIDECAR_STORE_DIR=str(store), PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring", **services.env
    )
    home = tmp_path / "home"
    home.mkdir()
    launcher = ["sh", "-c", f'umask {umask}; exec "$@"', "sh"]
    with Sidecar(home, launcher=launcher, env=env | {"HOME": str(home)}) as sidecar:
        sidecar.max_growth_bytes = 256 * 1024 * 1024
        log_in(sidecar, "openai", api_key=KEY)
    assert {mode(path) for path in (store, store.parent, store.parent.parent)} == {0o700}
    assert {path.name: mode(path) for path in store.iterdir()} == {
        "credentials.json": 0o600,
        "credentials.lock": 0o600,
    }


def test_two_processes_lose_nothing(services: Services, tmp_path: Path) -> None:  # F18
    names = ["openai", "anthropic", "groq", "mistral", "xai", "deepseek", "cerebras", "gemini"]
    with logged_off_process(services, tmp_path) as one, logged_off_process(services, tmp_path) as two:
        for process in (one, two):
            process.ping()
        ids = [
            (process, process.send("authenticate", {"op": "login", "api_key": f"CANARY-{name}"}, provider=name))
            for number, name in enumerate(names)
            for process in ((one, two)[number % 2],)
        ]
        assert all(process.reply(each)["data"]["storage"] == "file" for process, each in ids)
    entries = stored(tmp_path)
    assert {name: entry["secrets"]["value"] for name, entry in entries.items()} == {
        name: f"CANARY-{name}" for name in names
    }
    assert not [*(tmp_path / "store").glob("*.tmp")]


@linux_only
def test_a_process_that_is_killed_lets_go_of_the_lock_and_leaves_no_half_file(  # F19, C20
    services: Services, tmp_path: Path
) -> None:
    seed(tmp_path)
    left = file_of(tmp_path).with_name("credentials.json.0123.tmp")
    left.write_bytes(KEY.encode())
    for number in range(5):
        with logged_off_process(services, tmp_path) as sidecar:
            sidecar.expected_exit, sidecar.expects_answers, sidecar.may_tear = -9, False, True
            for each in range(5):
                sidecar.send("authenticate", {"op": "login", "api_key": f"{KEY}-{number}-{each}"}, provider="openai")
            sidecar.process.kill()
            sidecar.exit()
        assert "openai" in stored(tmp_path)
    with logged_off_process(services, tmp_path) as sidecar:
        assert log_in(sidecar, "openai", api_key=f"{KEY}-last")["storage"] == "file"
    assert stored(tmp_path)["openai"]["secrets"]["value"] == f"{KEY}-last"
    assert not left.exists()


# --- the keychain ------------------------------------------------------------------------------


def keychain(folder: Path) -> Object:
    found: Object = json.loads((folder / "keychain.json").read_bytes())
    return found


def test_a_keychain_that_works_has_the_secret_and_the_file_has_not(services: Services, tmp_path: Path) -> None:
    seed(tmp_path)
    with logged_off_process(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Working") as sidecar:
        assert status(sidecar)["storage"] == "file"
        # The plain copy goes when the keychain has the secret.
        assert log_in(sidecar, "openai", api_key=f"{KEY}-2")["storage"] == "keychain"
        assert KEY.encode() not in file_of(tmp_path).read_bytes()
        assert json.loads(keychain(tmp_path)["sidecar openai"]) == {"value": f"{KEY}-2"}
        assert key_of_chat(sidecar, services) == f"{KEY}-2"
    with logged_off_process(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Working") as sidecar:
        assert key_of_chat(sidecar, services) == f"{KEY}-2"
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is True
    assert (keychain(tmp_path), stored(tmp_path)) == ({}, {})


@pytest.mark.parametrize("kind", ["Locked", "Forgetful", "Hanging"])
def test_a_keychain_that_does_not_work_is_done_without(services: Services, tmp_path: Path, kind: str) -> None:  # F20
    with logged_off_process(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.{kind}") as sidecar:
        began = time.monotonic()
        login = sidecar.send("authenticate", {"op": "login", "api_key": KEY}, provider="openai")
        assert sidecar.ping() < 1
        assert sidecar.reply(login)["data"]["storage"] == "file"
        assert time.monotonic() - began < 6
        assert key_of_chat(sidecar, services) == KEY
        again = time.monotonic()
        log_in(sidecar, "openai", api_key=f"{KEY}-2")
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is True
        assert time.monotonic() - again < 3


@pytest.mark.parametrize(
    ("backend", "settings"),
    [
        ("keyring.backends.fail.NoSuch", ""),
        ("tests.support.keychains.os", ""),
        ("", "no section\n"),
        ("", "[backend]\ndefault-keyring = keyring.backends.fail.NoSuch\n"),
    ],
)
def test_settings_of_the_keychain_that_make_no_sense_are_done_without(  # F20
    services: Services, tmp_path: Path, backend: str, settings: str
) -> None:
    file = tmp_path / "config" / "python_keyring" / "keyringrc.cfg"
    file.parent.mkdir(parents=True)
    file.write_text(settings)
    env = {"PYTHON_KEYRING_BACKEND": backend, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    with logged_off_process(services, tmp_path, **env) as sidecar:
        assert log_in(sidecar, "openai", api_key=KEY)["storage"] == "file"
        assert status(sidecar)["ready"] is True


@linux_only
def test_looking_for_the_systems_keychain_starts_no_program(services: Services, tmp_path: Path) -> None:
    # The harness looks: no backend is named here, so that all of them are tried, as at a user's.
    with logged_off_process(services, tmp_path, PYTHON_KEYRING_BACKEND="") as sidecar:
        assert log_in(sidecar, "openai", api_key=KEY)["storage"] == "file"
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is True


def test_a_keychain_that_has_gone_is_told(services: Services, tmp_path: Path) -> None:  # F20
    with logged_off_process(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Working") as sidecar:
        log_in(sidecar, "openai", api_key=KEY)
    with logged_off_process(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Hanging") as sidecar:
        began = time.monotonic()
        assert sidecar.ask("stream_chat", params(), provider="openai")["error"]["code"] == "auth_required"
        assert time.monotonic() - began < 6
        assert warnings(status(sidecar)) == ["keychain_unavailable"]
        done = authenticate(sidecar, "logout", "openai")["data"]
        assert (done["removed"], warnings(done)) == (True, ["keychain_unavailable"])


def test_without_a_login_no_keychain_is_asked(services: Services, tmp_path: Path) -> None:
    env = {"PYTHON_KEYRING_BACKEND": f"{KEYCHAINS}.Hanging", "PYTHONPROFILEIMPORTTIME": "1"}
    with logged_off_process(services, tmp_path, **env) as sidecar:
        services.answer("POST *", text_of("openai_chat"))
        assert sidecar.ask("stream_chat", params(api_key=TOKEN.replace("gho", "sk")), provider="openai")["success"]
        sidecar.ask("list_providers")
    assert b"keyring" not in sidecar.stderr
    assert not (tmp_path / "store").exists()


def test_a_login_with_a_code_goes_to_the_keychain_too(services: Services, tmp_path: Path) -> None:
    github(services)
    with logged_off_process(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Working") as sidecar:
        assert log_in(sidecar)["storage"] == "keychain"
        assert status(sidecar, "copilot")["account"] == "octocat"
    assert stored(tmp_path)["copilot"]["account"] == "octocat"
    assert TOKEN.encode() not in file_of(tmp_path).read_bytes()


def test_logins_and_logouts_at_once_are_each_done(services: Services, tmp_path: Path) -> None:
    with logged_off_process(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Hanging") as sidecar:
        # The first waits for the keychain meanwhile.
        ids = [
            sidecar.send("authenticate", {"op": "login", "api_key": f"{KEY}-{number}"}, provider="openai")
            for number in (1, 2)
        ]
        assert [sidecar.reply(each)["success"] for each in ids] == [True, True]
        assert stored(tmp_path)["openai"]["secrets"] == {"value": f"{KEY}-2"}
    with logged_off_process(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Hanging") as sidecar:
        login = sidecar.send("authenticate", {"op": "login", "api_key": KEY}, provider="openai")
        logout = sidecar.send("authenticate", {"op": "logout"}, provider="openai")
        assert sidecar.reply(login)["success"]
        assert sidecar.reply(logout)["data"]["removed"] is True
        assert stored(tmp_path) == {}
