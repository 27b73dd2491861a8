"""The script that makes the files of the vocabularies again from the published ones."""

import base64
import hashlib
import zipfile
import zlib
from pathlib import Path

import pytest

from sidecar.tokens import build, vocabularies

NAMES = sorted(vocabularies.load_table())


def published(name: str) -> bytes:
    """Return the published file, made again from ours."""
    content = zlib.decompress((vocabularies.FOLDER / f"{name}.zlib").read_bytes())
    tokens = (token or vocabularies.SEPARATOR for token in content.split(vocabularies.SEPARATOR))
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens))


@pytest.mark.long
def test_the_files_are_made_again_from_published_ones_and_from_archives(tmp_path: Path) -> None:
    """Whatever they are called: a vocabulary is recognized by its content."""
    (tmp_path / "any-name").write_bytes(published("cl100k_base"))
    with zipfile.ZipFile(tmp_path / "package.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("package/cache/fb374d41", published("o200k_base"))
        archive.writestr("package/__init__.py", "")
    out = tmp_path / "out"
    out.mkdir()
    build.main([str(tmp_path / "any-name"), str(tmp_path / "package.whl")], out)
    for name in NAMES:
        # The bytes of another zlib may differ, what they hold may not.
        made = zlib.decompress((out / f"{name}.zlib").read_bytes())
        assert hashlib.sha256(made).hexdigest() == vocabularies.load_table()[name].sha256


def test_a_missing_vocabulary_is_reported(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"IQ== 0\n")
    with pytest.raises(SystemExit, match="not found: cl100k_base, o200k_base"):
        build.main([str(tmp_path / "other")], tmp_path)
    with pytest.raises(SystemExit, match="usage"):
        build.main([], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("lines", [b"/w== 0\nIg== 2\n", b"IQ== 0\n", b"/w== 0\nIf8= 1\n", b"/w== 0\n 1\n"])
def test_a_vocabulary_that_our_format_cannot_hold_is_refused(lines: bytes) -> None:
    with pytest.raises(ValueError, match=r"rank|separator"):
        build.convert(lines)
