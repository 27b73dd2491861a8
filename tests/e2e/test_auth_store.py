"""Where credentials are kept: a file of the user's alone or the keychain, whatever has become of either."""

import fcntl
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.accounts import KEY, TOKEN, Held, authenticate, github, log_in, logged_off, stored
from tests.e2e.harness import Object, Sidecar, environment
from tests.e2e.probes import linux_only, posix_only
from tests.e2e.rows import params, text_of
from tests.e2e.services import Services

KEYCHAINS = "tests.e2e.keychains"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def file_of(folder: Path) -> Path:
    return folder / "store" / "credentials.json"


def seed(folder: Path, content: bytes | None = None, file_mode: int = 0o600, folder_mode: int = 0o700) -> None:
    """Put a store in place, as an earlier process has left it."""
    entry = {"kind": "key", "method": "api_key", "home": "built-in", "saved_at": "2026-11-20T12:00:00+00:00"}
    document = {"version": 1, "entries": {"openai": entry | {"secrets": {"value": KEY}}}}
    (folder / "store").mkdir(mode=0o700)
    file_of(folder).write_bytes(json.dumps(document).encode() if content is None else content)
    file_of(folder).chmod(file_mode)
    (folder / "store").chmod(folder_mode)


def status(sidecar: Sidecar, provider: str = "openai") -> Object:
    reply = authenticate(sidecar, "status", provider)
    assert reply["success"], reply
    data: Object = reply["data"]
    return data


def warnings(data: Object) -> list[str]:
    return [warning["code"] for warning in data.get("warnings", [])]


def key_of_chat(sidecar: Sidecar, services: Services) -> str:
    """Return the key that a chat is sent with."""
    services.forget()
    services.answer("POST *", text_of("openai_chat"))
    assert sidecar.ask("stream_chat", params(), provider="openai")["success"]
    return services.only().headers["authorization"].removeprefix("Bearer ")


# --- what is stored ----------------------------------------------------------------------------


def test_a_key_is_stored_used_described_and_forgotten(services: Services, tmp_path: Path) -> None:  # F21
    with logged_off(services, tmp_path) as sidecar:
        assert status(sidecar) == {"provider": "openai", "ready": False, "logins": ["api_key"]}
        done = log_in(sidecar, "openai", api_key=KEY)
        assert (done["method"], done["storage"], done["account"]) == ("api_key", "file", None)
        found = {"provider": "openai", "ready": True, "logins": ["api_key"], "method": "api_key", "source": "store"}
        assert status(sidecar) == found | {"storage": "file"}
        rows = {row["id"]: row for row in sidecar.ask("list_providers")["data"]["providers"]}
        assert (rows["openai"]["ready"], rows["openai"]["credential_source"]) == (True, "store")
        assert rows["copilot"]["logins"] == ["api_key", "device"]
        assert key_of_chat(sidecar, services) == KEY
        assert stored(tmp_path)["openai"]["secrets"] == {"value": KEY}
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is True
        assert stored(tmp_path) == {}
        assert status(sidecar)["ready"] is False
        assert sidecar.ask("stream_chat", params(), provider="openai")["error"]["code"] == "auth_required"
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is False
    assert KEY.encode() not in file_of(tmp_path).read_bytes()


def test_what_is_stored_outlives_the_process(services: Services, tmp_path: Path) -> None:
    with logged_off(services, tmp_path) as sidecar:
        log_in(sidecar, "openai", api_key=KEY)
    with logged_off(services, tmp_path) as sidecar:
        assert key_of_chat(sidecar, services) == KEY
        # A process that is open meanwhile hears of another's login, and of its logout.
        with logged_off(services, tmp_path) as other:
            log_in(other, "openai", api_key=f"{KEY}-2")
            eventually(lambda: key_of_chat(sidecar, services) == f"{KEY}-2")
            authenticate(other, "logout", "openai")
            eventually(lambda: not status(sidecar)["ready"])


def eventually(happens: Callable[[], bool]) -> None:
    """Assert that something comes true within seconds: a change of the file is looked for that often."""
    deadline = time.monotonic() + 6
    while not happens():
        assert time.monotonic() < deadline


def test_a_logout_lets_a_running_stream_end(services: Services, tmp_path: Path) -> None:  # F21
    with logged_off(services, tmp_path) as sidecar:
        log_in(sidecar, "openai", api_key=KEY)
        held = Held(text_of("openai_chat"))
        services.answer("POST *", held)
        chat = sidecar.send("stream_chat", params(), provider="openai")
        services.wait(lambda: bool(services.asked("POST *")), "the chat")
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is True
        held.let_go()
        assert sidecar.reply(chat)["success"]


def test_the_request_goes_first_then_the_file_the_store_the_environment(  # F25
    services: Services, tmp_path: Path
) -> None:
    config = '[providers.openai]\napi_key = "CANARY-file"\n'
    seed(tmp_path)
    with logged_off(services, tmp_path, OPENAI_API_KEY="CANARY-env") as sidecar:
        assert (status(sidecar)["source"], key_of_chat(sidecar, services)) == ("store", KEY)
        authenticate(sidecar, "logout", "openai")
        assert (status(sidecar)["source"], key_of_chat(sidecar, services)) == ("environment", "CANARY-env")
        log_in(sidecar, "openai", api_key=KEY)
    with logged_off(services, tmp_path, config, OPENAI_API_KEY="CANARY-env") as sidecar:
        assert (status(sidecar)["source"], key_of_chat(sidecar, services)) == ("configuration", "CANARY-file")
        services.forget()
        services.answer("POST *", text_of("openai_chat"))
        sidecar.ask("stream_chat", params(api_key="CANARY-request"), provider="openai")
        assert services.only().headers["authorization"] == "Bearer CANARY-request"


def test_a_stored_key_stays_with_the_address_that_it_was_given_for(services: Services, tmp_path: Path) -> None:  # F26
    own = f"{services.url}/v1"
    seed(tmp_path)
    with logged_off(services, tmp_path, SIDECAR_OPENAI_BASE_URL=own) as sidecar:
        assert sidecar.ask("stream_chat", params(), provider="openai")["error"]["code"] == "auth_required"
        reply = sidecar.ask("stream_chat", params(base_url=own), provider="openai")
        assert (reply["error"]["code"], reply["error"]["param"]) == ("invalid_request", "params.api_key")
        assert not services.asked()
        # One that is given for this address is for this address alone.
        log_in(sidecar, "openai", api_key=f"{KEY}-own")
        assert key_of_chat(sidecar, services) == f"{KEY}-own"
        assert services.only().url == f"{own}/chat/completions"
    services.forget()
    with logged_off(services, tmp_path) as sidecar:
        assert sidecar.ask("stream_chat", params(), provider="openai")["error"]["code"] == "auth_required"
    with logged_off(services, tmp_path, SIDECAR_OPENAI_BASE_URL=own) as sidecar:
        assert key_of_chat(sidecar, services) == f"{KEY}-own"


def test_a_provider_of_ones_own_keeps_its_key(services: Services, tmp_path: Path) -> None:
    config = f'[providers.mylab]\nwire = "openai_chat"\nbase_url = "{services.url}/v1"\n'
    with logged_off(services, tmp_path, config) as sidecar:
        log_in(sidecar, "mylab", api_key="sk-ant-CANARY-anything-goes")
        services.answer("POST *", text_of("openai_chat"))
        assert sidecar.ask("stream_chat", params(), provider="mylab")["success"]
    assert services.only().headers["authorization"] == "Bearer sk-ant-CANARY-anything-goes"


# --- keys that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["", " ", "a b", "CANARY\r\nx: y", "CANARY\0", "CANARY\n1", "CANARYé", "“CANARY”", "CANARY" * 2000]
)
@pytest.mark.parametrize("op", ["login", "validate"])
def test_a_key_that_no_header_can_carry_is_refused(  # F24
    services: Services, tmp_path: Path, key: str, op: str
) -> None:
    with logged_off(services, tmp_path) as sidecar:
        failure = authenticate(sidecar, op, "openai", api_key=key)["error"]
        assert (failure["code"], failure["param"]) == ("invalid_request", "params.api_key")
    assert not services.asked()
    assert not (tmp_path / "store").exists()


def test_a_key_is_trimmed(services: Services, tmp_path: Path) -> None:  # F24
    with logged_off(services, tmp_path) as sidecar:
        log_in(sidecar, "openai", api_key=f"  {KEY}\r\n")
        assert key_of_chat(sidecar, services) == KEY


@pytest.mark.parametrize(
    ("provider", "key", "owner"),
    [
        ("openai", "sk-ant-CANARY-1", "Anthropic"),
        ("openai", "sk-or-v1-CANARY", "OpenRouter"),
        ("anthropic", "sk-proj-CANARY", "OpenAI"),
        ("groq", "xai-CANARY", "xAI"),
        ("mistral", "AIzaCANARY", "Google Gemini"),
        ("xai", "gsk_CANARY", "Groq"),
        ("openai", "ghu_CANARY", "GitHub Copilot"),
    ],
)
def test_a_key_of_another_provider_is_refused_before_anything_is_sent(
    services: Services, tmp_path: Path, provider: str, key: str, owner: str
) -> None:
    with logged_off(services, tmp_path) as sidecar:
        failures = [authenticate(sidecar, op, provider, api_key=key)["error"] for op in ("login", "validate")]
        failures.append(sidecar.ask("stream_chat", params(api_key=key), provider=provider)["error"])
        for failure in failures:
            assert (failure["code"], failure["param"]) == ("invalid_request", "params.api_key")
            assert owner in failure["message"]
    assert not services.asked()


def test_what_has_no_login_says_so(services: Services, tmp_path: Path) -> None:
    with logged_off(services, tmp_path) as sidecar:
        for provider, param in (("openai", "params.api_key"), ("replay", "provider")):
            failure = authenticate(sidecar, "login", provider)["error"]
            assert (failure["code"], failure["param"]) == ("invalid_request", param)
        assert authenticate(sidecar, "login", "nobody")["error"]["code"] == "unknown_provider"
        failure = sidecar.ask("authenticate", {"op": "status"})["error"]
        assert (failure["code"], failure["param"]) == ("invalid_request", "provider")
        assert sidecar.ask("authenticate", {"op": "dance"}, provider="openai")["error"]["param"] == "params.op"


# --- what has become of the file ---------------------------------------------------------------

USUAL = b'{"version":1,"entries":{'
CORRUPT = {
    "empty": b"",
    "cut": USUAL + b'"openai":{"kind":"key","secr',
    "another type": b"[1,2]",
    "binary": bytes(range(256)),
    "nul": b"\0" * 4096,
    "another version": b'{"version":2,"entries":{}}',
    "without entries": b'{"version":1}',
    "an entry without its fields": USUAL + b'"openai":{"kind":"key"}}}',
    "deep": USUAL + b'"a":' + b"[" * 100_000,
    "large": b" " * (2 * 1024 * 1024),
}


@pytest.mark.parametrize("content", CORRUPT.values(), ids=list(CORRUPT))
def test_a_file_that_makes_no_sense_is_set_aside(services: Services, tmp_path: Path, content: bytes) -> None:  # F15
    seed(tmp_path, content)
    with logged_off(services, tmp_path) as sidecar:
        assert sidecar.ask("stream_chat", params(), provider="openai")["error"]["code"] == "auth_required"
        assert warnings(status(sidecar)) == ["store_corrupt"]
        (kept,) = (tmp_path / "store").glob("credentials.json.corrupt-*")
        assert (kept.read_bytes(), mode(kept)) == (content, 0o600)
        log_in(sidecar, "openai", api_key=KEY)
        assert key_of_chat(sidecar, services) == KEY
    assert list(stored(tmp_path)) == ["openai"]


@posix_only
def test_a_store_that_others_could_read_is_closed_to_them(services: Services, tmp_path: Path) -> None:  # F16
    seed(tmp_path, file_mode=0o644, folder_mode=0o777)
    with logged_off(services, tmp_path) as sidecar:
        assert key_of_chat(sidecar, services) == KEY
        assert warnings(status(sidecar)) == ["store_was_open"]
    assert (mode(file_of(tmp_path)), mode(tmp_path / "store")) == (0o600, 0o700)


def linked_file(folder: Path) -> None:
    file_of(folder).rename(folder / "elsewhere.json")
    file_of(folder).symlink_to(folder / "elsewhere.json")


def linked_folder(folder: Path) -> None:
    (folder / "store").rename(folder / "elsewhere")
    (folder / "store").symlink_to(folder / "elsewhere")


def pipe(folder: Path) -> None:
    file_of(folder).unlink()
    os.mkfifo(file_of(folder), 0o600)


def foreign_file(folder: Path) -> None:
    os.chown(file_of(folder), 12345, -1)


def foreign_folder(folder: Path) -> None:
    os.chown(folder / "store", 12345, -1)


as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files away")


@posix_only
@pytest.mark.parametrize(
    "trick",
    [
        linked_file,
        linked_folder,
        pipe,
        pytest.param(foreign_file, marks=as_root),
        pytest.param(foreign_folder, marks=as_root),
    ],
)
def test_a_store_that_somebody_else_has_made_is_refused(  # F16
    services: Services, tmp_path: Path, trick: Callable[[Path], None]
) -> None:
    seed(tmp_path)
    trick(tmp_path)
    with logged_off(services, tmp_path) as sidecar:
        assert sidecar.ask("stream_chat", params(), provider="openai")["error"]["code"] == "auth_required"
        found = status(sidecar)
        assert (found["ready"], warnings(found)) == (False, ["store_refused"])
        failure = authenticate(sidecar, "login", "openai", api_key=f"{KEY}-new")["error"]
        assert (failure["code"], failure["reason"]) == ("auth_failed", "store")
    written = [path for path in tmp_path.rglob("*") if path.is_file() and f"{KEY}-new".encode() in path.read_bytes()]
    assert not written


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
    with logged_off(services, tmp_path) as one, logged_off(services, tmp_path) as two:
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


@posix_only
def test_a_lock_that_nobody_lets_go_of_does_not_hold_us(services: Services, tmp_path: Path) -> None:  # F19
    seed(tmp_path)
    with (tmp_path / "store" / "credentials.lock").open("ab") as lock, logged_off(services, tmp_path) as sidecar:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        login = sidecar.send("authenticate", {"op": "login", "api_key": f"{KEY}-2"}, provider="anthropic")
        # What is there can be read all the while.
        assert key_of_chat(sidecar, services) == KEY
        done = sidecar.reply(login)["data"]
        assert 4 < time.monotonic() - began < 9
        assert (done["storage"], warnings(done)) == ("memory", ["store_locked"])
        assert status(sidecar, "anthropic")["storage"] == "memory"
        assert list(stored(tmp_path)) == ["openai"]
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert log_in(sidecar, "anthropic", api_key=f"{KEY}-2")["storage"] == "file"
    assert sorted(stored(tmp_path)) == ["anthropic", "openai"]


@linux_only
def test_a_process_that_is_killed_lets_go_of_the_lock_and_leaves_no_half_file(  # F19, C20
    services: Services, tmp_path: Path
) -> None:
    seed(tmp_path)
    left = file_of(tmp_path).with_name("credentials.json.0123.tmp")
    left.write_bytes(KEY.encode())
    for number in range(5):
        with logged_off(services, tmp_path) as sidecar:
            sidecar.expected_exit, sidecar.expects_answers, sidecar.may_tear = -9, False, True
            for each in range(5):
                sidecar.send("authenticate", {"op": "login", "api_key": f"{KEY}-{number}-{each}"}, provider="openai")
            sidecar.process.kill()
            sidecar.exit()
        assert "openai" in stored(tmp_path)
    with logged_off(services, tmp_path) as sidecar:
        assert log_in(sidecar, "openai", api_key=f"{KEY}-last")["storage"] == "file"
    assert stored(tmp_path)["openai"]["secrets"]["value"] == f"{KEY}-last"
    assert not left.exists()


@posix_only
def test_where_nothing_can_be_written_a_login_lasts_as_long_as_the_process(services: Services, tmp_path: Path) -> None:
    with logged_off(services, tmp_path, SIDECAR_STORE_DIR="/dev/null/store") as sidecar:
        done = log_in(sidecar, "openai", api_key=KEY)
        assert (done["storage"], warnings(done)) == ("memory", ["store_unavailable"])
        assert key_of_chat(sidecar, services) == KEY
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is True
        assert status(sidecar)["ready"] is False


# --- the keychain ------------------------------------------------------------------------------


def keychain(folder: Path) -> Object:
    found: Object = json.loads((folder / "keychain.json").read_bytes())
    return found


def test_a_keychain_that_works_has_the_secret_and_the_file_has_not(services: Services, tmp_path: Path) -> None:
    seed(tmp_path)
    with logged_off(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Working") as sidecar:
        assert status(sidecar)["storage"] == "file"
        # The plain copy goes when the keychain has the secret.
        assert log_in(sidecar, "openai", api_key=f"{KEY}-2")["storage"] == "keychain"
        assert KEY.encode() not in file_of(tmp_path).read_bytes()
        assert json.loads(keychain(tmp_path)["sidecar openai"]) == {"value": f"{KEY}-2"}
        assert key_of_chat(sidecar, services) == f"{KEY}-2"
    with logged_off(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Working") as sidecar:
        assert key_of_chat(sidecar, services) == f"{KEY}-2"
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is True
    assert (keychain(tmp_path), stored(tmp_path)) == ({}, {})


@pytest.mark.parametrize("kind", ["Locked", "Forgetful", "Hanging"])
def test_a_keychain_that_does_not_work_is_done_without(services: Services, tmp_path: Path, kind: str) -> None:  # F20
    with logged_off(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.{kind}") as sidecar:
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


def test_a_keychain_that_has_gone_is_told(services: Services, tmp_path: Path) -> None:  # F20
    with logged_off(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Working") as sidecar:
        log_in(sidecar, "openai", api_key=KEY)
    with logged_off(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Hanging") as sidecar:
        began = time.monotonic()
        assert sidecar.ask("stream_chat", params(), provider="openai")["error"]["code"] == "auth_required"
        assert time.monotonic() - began < 6
        assert warnings(status(sidecar)) == ["keychain_unavailable"]
        done = authenticate(sidecar, "logout", "openai")["data"]
        assert (done["removed"], warnings(done)) == (True, ["keychain_unavailable"])


def test_without_a_login_no_keychain_is_asked(services: Services, tmp_path: Path) -> None:
    env = {"PYTHON_KEYRING_BACKEND": f"{KEYCHAINS}.Hanging", "PYTHONPROFILEIMPORTTIME": "1"}
    with logged_off(services, tmp_path, **env) as sidecar:
        services.answer("POST *", text_of("openai_chat"))
        assert sidecar.ask("stream_chat", params(api_key=TOKEN.replace("gho", "sk")), provider="openai")["success"]
        sidecar.ask("list_providers")
    assert b"keyring" not in sidecar.stderr
    assert not (tmp_path / "store").exists()


def test_a_login_with_a_code_goes_to_the_keychain_too(services: Services, tmp_path: Path) -> None:
    github(services)
    with logged_off(services, tmp_path, PYTHON_KEYRING_BACKEND=f"{KEYCHAINS}.Working") as sidecar:
        assert log_in(sidecar)["storage"] == "keychain"
        assert status(sidecar, "copilot")["account"] == "octocat"
    assert stored(tmp_path)["copilot"]["account"] == "octocat"
    assert TOKEN.encode() not in file_of(tmp_path).read_bytes()
