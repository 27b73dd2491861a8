"""The file of stored credentials: what becomes of it, and of what is stored, whatever others have done to it."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fake_services import Services
from tests.support.logins import (
    KEY,
    authenticate,
    file_of,
    key_of_chat,
    log_in,
    logged_off,
    seed,
    status,
    stored,
    warnings,
)
from tests.support.process_probes import posix_only
from tests.support.provider_rows import params


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


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


@pytest.mark.long
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


@posix_only
@pytest.mark.parametrize("file_mode", [0o620, 0o602, 0o666])
def test_a_store_that_others_could_change_is_not_believed(services: Services, tmp_path: Path, file_mode: int) -> None:
    seed(tmp_path, file_mode=file_mode)
    content = file_of(tmp_path).read_bytes()
    with logged_off(services, tmp_path) as sidecar:
        assert sidecar.ask("stream_chat", params(), provider="openai")["error"]["code"] == "auth_required"
        assert warnings(status(sidecar)) == ["store_refused"]
        login = sidecar.ask("authenticate", {"op": "login", "api_key": KEY}, provider="openai")
        assert (login["error"]["code"], login["error"]["reason"]) == ("auth_failed", "store")
    assert file_of(tmp_path).read_bytes() == content
    file_of(tmp_path).chmod(0o600)
    with logged_off(services, tmp_path) as sidecar:
        assert key_of_chat(sidecar, services) == KEY


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
def test_a_lock_that_nobody_lets_go_of_does_not_hold_us(services: Services, tmp_path: Path) -> None:  # F19
    import fcntl  # Windows has none.

    seed(tmp_path)
    with (
        (tmp_path / "store" / "credentials.lock").open("ab") as lock,
        logged_off(services, tmp_path) as sidecar,
    ):
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


@posix_only
def test_where_nothing_can_be_written_a_login_lasts_as_long_as_the_process(services: Services, tmp_path: Path) -> None:
    with logged_off(services, tmp_path, SIDECAR_STORE_DIR="/dev/null/store") as sidecar:
        done = log_in(sidecar, "openai", api_key=KEY)
        assert (done["storage"], warnings(done)) == ("memory", ["store_unavailable"])
        assert key_of_chat(sidecar, services) == KEY
        assert authenticate(sidecar, "logout", "openai")["data"]["removed"] is True
        assert status(sidecar)["ready"] is False
