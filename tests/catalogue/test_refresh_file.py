"""The file of a refreshed catalogue: replaced whole, and believed only where nobody else could have written it."""

import os
import time
from pathlib import Path

import pytest

from sidecar.catalogue import refresh_file
from sidecar.core import platforms
from sidecar.core.private_files import RefusedError
from tests.support.process_probes import posix_only


def test_what_is_written_is_read_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "where"
    assert refresh_file.read(folder) is None
    for data in (b"first", b"second"):
        refresh_file.write(folder, data)
        assert refresh_file.read(folder) == data
    assert [each.name for each in folder.iterdir()] == [refresh_file.FILE_NAME]


@posix_only
def test_it_is_the_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    before = os.umask(0)
    try:
        refresh_file.write(folder, b"x")
    finally:
        os.umask(before)
    assert (folder.stat().st_mode & 0o777, (folder / refresh_file.FILE_NAME).stat().st_mode & 0o777) == (0o700, 0o600)


def test_what_belongs_to_another_user_is_neither_read_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh_file.write(tmp_path, b"x")
    monkeypatch.setattr(platforms, "is_foreign", lambda _: True)
    with pytest.raises(RefusedError, match="another user"):
        refresh_file.read(tmp_path)
    with pytest.raises(RefusedError, match="another user"):
        refresh_file.write(tmp_path, b"y")
    monkeypatch.undo()
    assert refresh_file.read(tmp_path) == b"x"


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o602, 0o666])
def test_what_others_can_get_at_is_not_read(tmp_path: Path, mode: int) -> None:
    refresh_file.write(tmp_path, b"x")
    (tmp_path / refresh_file.FILE_NAME).chmod(mode)
    with pytest.raises(RefusedError):
        refresh_file.read(tmp_path)


@posix_only
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / refresh_file.FILE_NAME, 0o600)
    with pytest.raises(RefusedError, match="not a file"):
        refresh_file.read(tmp_path)


def test_what_is_too_large_is_neither_read_nor_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refresh_file.write(tmp_path, b"12345")
    monkeypatch.setattr(refresh_file, "MAX_BYTES", 4)
    with pytest.raises(RefusedError, match="too large"):
        refresh_file.read(tmp_path)
    with pytest.raises(RefusedError, match="too large"):
        refresh_file.write(tmp_path, b"12345")


def test_what_a_killed_process_left_is_removed_and_what_is_under_way_is_not(tmp_path: Path) -> None:
    left, under_way = tmp_path / f"{refresh_file.FILE_NAME}.a.tmp", tmp_path / f"{refresh_file.FILE_NAME}.b.tmp"
    for each in (left, under_way):
        each.write_bytes(b"half")
    old = time.time() - 2 * refresh_file.ABANDONED_SECONDS
    os.utime(left, (old, old))
    refresh_file.write(tmp_path, b"x")
    assert (left.exists(), under_way.exists()) == (False, True)


@posix_only
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refresh_file.write(tmp_path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        refresh_file.write(tmp_path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == [refresh_file.FILE_NAME]
    assert refresh_file.read(tmp_path) == b"old"
