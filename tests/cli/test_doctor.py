"""`sidecar doctor`: each fault is staged, found, and its remedy named."""

import errno
import json
import os
import socket
import sqlite3
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import closing
from email.utils import formatdate
from pathlib import Path
from typing import Any

import keyring
import pytest

from sidecar.cli.doctor import examination
from sidecar.http import failures
from sidecar.usage.ledger_schema import STEPS
from tests.support import keychains
from tests.support.command_line import CommandLine
from tests.support.fake_services import Answer, Services, document

API = "https://api.anthropic.com"
HOST = "api.anthropic.com"
KEY = "sk-ant-CANARY-key"
MODELS = document({"data": [], "has_more": False})
AS_ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives a file to another user")

Patch = pytest.MonkeyPatch


class Stage:
    """A machine on which everything is well, until something is done to it."""

    def __init__(self, services: Services, folder: Path, monkeypatch: Patch) -> None:
        self.services, self.folder, self.patch = services, folder, monkeypatch
        self.typing = CommandLine(services, folder, ANTHROPIC_API_KEY=KEY)
        self.env = self.typing.env
        services.answer(f"GET {API}*", MODELS)

    @property
    def data(self) -> Path:
        path = self.typing.home / "data"
        path.mkdir(exist_ok=True)
        return path

    def configure(self, text: str) -> None:
        file = self.folder / "config.toml"
        file.write_text(text, encoding="utf-8")
        self.env["SIDECAR_CONFIG"] = str(file)

    def refuse(self, status: int, kind: str, message: str = "No.") -> None:
        self.services.answer(
            f"GET {API}*", document({"type": "error", "error": {"type": kind, "message": message}}, status)
        )

    def break_connection(self, failure: BaseException) -> None:
        self.typing.unreachable[HOST] = failure

    def log_in(self) -> None:
        self.env.pop("ANTHROPIC_API_KEY", None)
        assert self.typing.type("login", "anthropic", stdin=KEY).code == 0

    def examine(self, *arguments: str) -> dict[str, dict[str, Any]]:
        found = self.typing.type("doctor", "--json", *arguments)
        rows = json.loads(found.out)["checks"]
        assert found.code == any(row["state"] == "fail" for row in rows)
        return {
            row["name"]: row for row in sorted(rows, key=lambda row: ["ok", "note", "warn", "fail"].index(row["state"]))
        }


@pytest.fixture
def stage(services: Services, tmp_path: Path, monkeypatch: Patch) -> Stage:
    async def has_route() -> bool:
        return True

    async def is_ipv6_only(host: str) -> bool:
        return ":" in host

    monkeypatch.setattr(examination, "has_ipv6_route", has_route)
    # No name of a test is looked up.
    monkeypatch.setattr(examination, "is_ipv6_only", is_ipv6_only)
    return Stage(services, tmp_path, monkeypatch)


# --- faults ----------------------------------------------------------------------------------


def missing_key(stage: Stage) -> None:
    del stage.env["ANTHROPIC_API_KEY"]


def wrong_key(stage: Stage) -> None:
    stage.refuse(401, "authentication_error", "invalid x-api-key")


def expired_login(stage: Stage) -> None:
    stage.log_in()
    file = next(stage.typing.home.rglob("credentials.json"))
    table = json.loads(file.read_text())
    _find_entry(table)["expires_at"] = "2024-01-31T00:00:00+00:00"
    file.write_text(json.dumps(table))
    stage.refuse(401, "authentication_error", "expired")


def _find_entry(table: Any) -> dict[str, Any]:
    while "anthropic" not in table:
        table = next(each for each in table.values() if isinstance(each, dict))
    found: dict[str, Any] = table["anthropic"]
    return found


def unreadable_store(stage: Stage) -> None:
    (stage.data / "credentials.json").mkdir()


def foreign_store(stage: Stage) -> None:
    stage.log_in()
    os.chown(next(stage.typing.home.rglob("credentials.json")), 12345, -1)


def corrupt_store(stage: Stage) -> None:
    stage.log_in()
    next(stage.typing.home.rglob("credentials.json")).write_bytes(b"{")


def locked_keychain(stage: Stage) -> None:
    del stage.env["SIDECAR_HOME"]
    stage.env["SIDECAR_STORE_DIR"] = str(stage.folder / "store")
    stage.patch.setattr(keyring, "get_keyring", keychains.Working)
    stage.log_in()
    stage.patch.setattr(keyring, "get_keyring", keychains.Locked)


def bad_configuration(stage: Stage) -> None:
    stage.configure("[limits]\nmax_attempts = 0\n")


def unknown_field(stage: Stage) -> None:
    stage.configure("[providers.anthropic]\napi_kye_env = 'X'\n")


def no_toml(stage: Stage) -> None:
    stage.configure("[providers\n")


def bad_variable(stage: Stage) -> None:
    stage.env["SIDECAR_MAX_ATTEMPTS"] = "many"


def missing_configuration(stage: Stage) -> None:
    stage.env["SIDECAR_CONFIG"] = str(stage.folder / "nowhere.toml")


def proxy_that_refuses(stage: Stage) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    stage.env["HTTPS_PROXY"] = f"http://user:CANARY-password@127.0.0.1:{port}"
    stage.break_connection(failures.make_unreached_proxy_error())


def bad_proxy(stage: Stage) -> None:
    stage.env["HTTPS_PROXY"] = "socks5://user:CANARY-password@proxy.test:1080"
    stage.break_connection(failures.make_unusable_proxy_error("HTTPS_PROXY"))


def private_ca(stage: Stage) -> None:
    failure = ssl.SSLCertVerificationError(1, "self-signed certificate in certificate chain")
    failure.verify_code = 19
    stage.break_connection(failure)


def missing_roots(stage: Stage) -> None:
    stage.env["SSL_CERT_FILE"] = str(stage.folder / "nowhere.pem")


def clock_ahead(stage: Stage) -> None:
    stage.services.answer(f"GET {API}*", document({"data": []}, date=formatdate(time.time() - 3600, usegmt=True)))


def clock_behind(stage: Stage) -> None:
    stage.services.answer(f"GET {API}*", document({"data": []}, date=formatdate(time.time() + 200, usegmt=True)))


def clock_and_certificate(stage: Stage) -> None:
    failure = ssl.SSLCertVerificationError(1, "certificate is not yet valid")
    failure.verify_code = 9
    stage.break_connection(failure)


def no_ipv6(stage: Stage) -> None:
    async def has_route() -> bool:
        return False

    stage.patch.setattr(examination, "has_ipv6_route", has_route)
    stage.configure("[providers.lab]\nwire = 'openai_chat'\nbase_url = 'https://[2001:db8::1]/v1'\n")
    stage.typing.unreachable["2001:db8::1"] = OSError(errno.ENETUNREACH, "Network is unreachable")


def hanging_port(stage: Stage) -> None:
    stage.break_connection(failures.make_unreached_error())


def unknown_name(stage: Stage) -> None:
    stage.break_connection(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))


def old_ledger(stage: Stage) -> None:
    with closing(sqlite3.connect(stage.data / "ledger.sqlite3")) as connection, connection:
        for statement in STEPS[0]:
            connection.execute(statement)
        connection.execute("UPDATE ledger_version SET version = 1")


def newer_ledger(stage: Stage) -> None:
    with closing(sqlite3.connect(stage.data / "ledger.sqlite3")) as connection, connection:
        connection.execute("CREATE TABLE ledger_version (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO ledger_version VALUES (99)")


def corrupt_ledger(stage: Stage) -> None:
    (stage.data / "ledger.sqlite3").write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)


def damaged_page(stage: Stage) -> None:
    file = stage.data / "ledger.sqlite3"
    with closing(sqlite3.connect(file)) as connection, connection:
        for statement in (each for step in STEPS for each in step):
            connection.execute(statement)
        connection.execute("UPDATE ledger_version SET version = ?", (len(STEPS),))
    pages = file.read_bytes()
    file.write_bytes(pages[:8192] + b"\xff" * 4096 + pages[12288:])


def full_disk(stage: Stage) -> None:
    stage.patch.setattr(examination, "read_free_bytes", lambda _: 4096)


def nearly_full_disk(stage: Stage) -> None:
    stage.patch.setattr(examination, "read_free_bytes", lambda _: 5 * 1024 * 1024)


def read_only_home(stage: Stage) -> None:
    # Not even root makes files there.
    stage.env["SIDECAR_HOME"] = "/proc/sys"


def no_home(stage: Stage) -> None:
    for name in ("SIDECAR_HOME", "HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        stage.env.pop(name, None)
    stage.patch.setattr("platformdirs.user_data_dir", lambda *_, **__: "")
    stage.patch.setattr("platformdirs.user_config_dir", lambda *_, **__: "")
    stage.patch.setattr("platformdirs.user_cache_dir", lambda *_, **__: "")


def web_page(stage: Stage) -> None:
    stage.env["SIDECAR_ANTHROPIC_BASE_URL"] = "https://console.test"
    stage.services.answer("GET https://console.test*", Answer(b"<html></html>", 200, {"content-type": "text/html"}))


def limited_key(stage: Stage) -> None:
    stage.refuse(429, "rate_limit_error", "slow down")


def no_money(stage: Stage) -> None:
    stage.refuse(402, "billing_error", "credit balance is too low")


def missing_extra(stage: Stage) -> None:
    del stage.env["ANTHROPIC_API_KEY"]
    stage.env |= {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "CANARYID", "AWS_SECRET_ACCESS_KEY": "CANARY-secret"}
    for module in ("boto3", "botocore", "botocore.auth"):
        stage.patch.setitem(sys.modules, module, None)


def failing_provider(stage: Stage) -> None:
    stage.refuse(500, "api_error", "we are down")


FAULTS: list[tuple[Callable[[Stage], None], str, str, str, str]] = [
    (missing_key, "anthropic", "fail", "there is no key", "sidecar login anthropic, or set ANTHROPIC_API_KEY"),
    (wrong_key, "anthropic", "fail", "refused (from the environment)", "correct or unset ANTHROPIC_API_KEY"),
    (expired_login, "anthropic", "fail", "expired on 2024-01-31", "sidecar login anthropic"),
    (unreadable_store, "store", "fail", "Stored credentials", "move"),
    (foreign_store, "store", "fail", "are not used", "your own"),
    (corrupt_store, "store", "fail", "corrupt", "log in again"),
    (locked_keychain, "keychain", "fail", "locked, or does not answer (it has the login of anthropic)", "unlock it"),
    (bad_configuration, "configuration", "fail", "config.toml", "correct it"),
    (unknown_field, "configuration", "fail", "api_kye_env", "correct it"),
    (no_toml, "configuration", "fail", "config.toml", "correct it"),
    (bad_variable, "configuration", "fail", "SIDECAR_MAX_ATTEMPTS", "correct it"),
    (missing_configuration, "configuration", "fail", "no such file", "correct it"),
    (proxy_that_refuses, "proxy", "fail", "of HTTPS_PROXY cannot be reached", "NO_PROXY"),
    (bad_proxy, "proxy", "fail", "HTTPS_PROXY names no proxy", "http://host:port"),
    (private_ca, "certificates", "fail", "not trusted", "SSL_CERT_FILE"),
    (missing_roots, "certificates", "fail", "SSL_CERT_FILE names certificates", "correct or unset SSL_CERT_FILE"),
    (clock_ahead, "clock", "fail", "60 minutes ahead", "set the clock"),
    (clock_behind, "clock", "warn", "3 minutes behind", "set the clock"),
    (clock_and_certificate, "clock", "fail", "not valid by this machine's clock", "set the clock"),
    (no_ipv6, "IPv6", "fail", "lab has IPv6 addresses alone", "IPv4"),
    (hanging_port, "anthropic", "fail", "does not answer in time", "firewall"),
    (unknown_name, "anthropic", "fail", "is not known", "DNS"),
    (old_ledger, "ledger", "warn", "has version 1", "sidecar usage"),
    (newer_ledger, "ledger", "fail", "version 99", "SIDECAR_LEDGER"),
    (corrupt_ledger, "ledger", "fail", "ledger.sqlite3: The file is", "move the file away"),
    (damaged_page, "ledger", "fail", "damaged", "move the file away"),
    (full_disk, "folders", "fail", "is full", "free some space"),
    (nearly_full_disk, "folders", "warn", "only 5 MB left", "free some space"),
    (read_only_home, "folders", "fail", "cannot be written", "SIDECAR_HOME"),
    (no_home, "folders", "fail", "no folder of yours", "set HOME"),
    (web_page, "anthropic", "fail", "web page at https://console.test", "correct `base_url`"),
    (limited_key, "anthropic", "warn", "limited", "wait"),
    (no_money, "anthropic", "warn", "limited", "pay"),
    (missing_extra, "bedrock", "fail", "is not installed", "[aws]"),
    (failing_provider, "anthropic", "fail", "we are down", "try again later"),
]
"""Fault → the row that finds it, its state, what it says and the remedy that it names."""


@pytest.mark.parametrize(
    ("fault", "name", "state", "found", "todo"),
    [pytest.param(*each, id=each[0].__name__, marks=[AS_ROOT] if each[0] is foreign_store else []) for each in FAULTS],
)
def test_a_fault_is_found_and_its_remedy_named(
    stage: Stage, fault: Callable[[Stage], None], name: str, state: str, found: str, todo: str
) -> None:
    fault(stage)
    row = stage.examine(*["anthropic"] if name == "anthropic" else [])[name]
    assert (row["state"], found in row["found"], todo in row["todo"]) == (state, True, True), row


def test_a_machine_on_which_all_is_well_has_no_fault(stage: Stage) -> None:
    code, out, err = stage.typing.type("doctor")
    assert (code, err) == (0, "Nothing is wrong.\n")
    assert "accepts the key from the environment" in out
    assert " fail " not in out


def test_only_the_providers_that_are_named_are_asked(stage: Stage) -> None:
    stage.env["OPENAI_API_KEY"] = "CANARY-openai"
    stage.examine("anthropic")
    assert {seen.url.partition("/v1")[0] for seen in stage.services.asked()} == {API}


def test_a_provider_that_does_not_exist_suggests_the_nearest(stage: Stage) -> None:
    code, _, err = stage.typing.type("doctor", "antropic")
    assert code == 2
    assert "Did you mean `anthropic`?" in err


def test_an_examination_changes_no_file(stage: Stage) -> None:
    old_ledger(stage)
    before = {path: path.read_bytes() for path in stage.typing.home.rglob("*") if path.is_file()}
    stage.examine()
    assert {path: path.read_bytes() for path in stage.typing.home.rglob("*") if path.is_file()} == before


def test_a_fault_of_one_provider_leaves_the_others(stage: Stage) -> None:
    stage.env["OPENAI_API_KEY"] = "CANARY-openai"
    stage.services.answer("GET https://api.openai.com*", document({"data": []}))
    hanging_port(stage)
    rows = stage.examine()
    assert rows["anthropic"]["state"] == "fail"
    assert rows["openai"]["found"] == "accepts the key from the environment"
    assert "azure" in rows["others"]["found"]
