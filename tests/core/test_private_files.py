"""Files that only the user may read: no link is followed, and a file is replaced as a whole or not at all."""

from pathlib import Path

import pytest

from sidecar.core import private_files
from tests.support.process_probes import linux_only


def test_a_file_is_replaced_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    private_files.make_folder(folder)
    private_files.replace_file(folder, "name", b"one")
    private_files.replace_file(folder, "name", b"two")
    assert (folder / "name").read_bytes() == b"two"
    assert [path.name for path in folder.iterdir()] == ["name"]


def test_a_file_that_cannot_be_replaced_stays_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    with pytest.raises(OSError, match="name"):
        private_files.replace_file(tmp_path, "name", b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_temporary_files_are_found_by_their_pattern(tmp_path: Path) -> None:
    (tmp_path / "name.0123.tmp").touch()
    (tmp_path / "other.0123.tmp").touch()
    found = [path.name for path in tmp_path.glob(private_files.make_temporary_pattern("name"))]
    assert found == ["name.0123.tmp"]


@linux_only
def test_what_is_made_is_open_to_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    private_files.make_folder(folder)
    private_files.replace_file(folder, "name", b"one")
    modes = [path.stat().st_mode & 0o777 for path in (folder.parent, folder, folder / "name")]
    assert modes == [0o700, 0o700, 0o600]


@linux_only
def test_a_link_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(private_files.RefusedError, match="is a link"):
        private_files.open_file(tmp_path / "link", "rb")
