"""What CONTRIBUTING.md tells a newcomer to do works, in a copy of the repository with nothing beside it."""

import shutil
from pathlib import Path

import pytest

from tests.support import documents
from tests.support.documents import ROOT


def checkout(folder: Path) -> Path:
    """Return a copy of the repository in *folder*, with nothing of this machine's beside it."""
    copy = folder / "sidecar"
    for name in ("protocol", "sidecar", "tests", "fixtures"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


@pytest.mark.spawns
def test_without_recordings_at_hand_their_tests_are_found_and_skipped(tmp_path: Path) -> None:
    """A newcomer's `make test`: one file that cannot be collected ends all of it."""
    copy = checkout(tmp_path)
    files = [path.relative_to(copy) for path in (copy / "tests").rglob("test_*.py") if "corpus" in path.name]
    assert len(files) > 5
    command = f"python -m pytest -q -p no:cacheprovider {' '.join(map(str, files))}"
    last = documents.sh(command, tmp_path, copy).splitlines()[-1]
    assert "skipped" in last
    assert "error" not in last
    assert "failed" not in last


@pytest.mark.spawns
def test_the_worked_examples_work(tmp_path: Path) -> None:
    """CONTRIBUTING.md is followed to the letter in a copy of the repository: files, changes, commands."""
    copy, ran = checkout(tmp_path), 0
    for block in documents.blocks("CONTRIBUTING.md"):
        verb, _, path = block.mark.partition("=")
        if verb == "path":
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            (copy / path).write_text(block.text, encoding="utf-8")
        elif verb == "append":
            with (copy / path).open("a", encoding="utf-8") as file:
                file.write("\n" + block.text)
        elif verb == "patch":
            (tmp_path / "patch").write_text(block.text, encoding="utf-8")
            assert documents.sh("git apply --unidiff-zero ../patch", tmp_path, copy) == "", str(block)
        elif block.mark == "worked example":
            for command, shown in documents.commands(block):
                printed = documents.sh(command, tmp_path, copy)
                # Of a run of tests only that it went well is shown.
                passed = shown.strip() == "passed" and " passed" in printed and "failed" not in printed
                assert passed or printed.strip() == shown.strip(), f"{block}: {printed}"
                ran += 1
    assert ran >= 4
