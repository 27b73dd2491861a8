"""Diffs that git makes of made-up files, applied by git, by `patch` and by us: the same files come out."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from protocol.files import FileResult
from sidecar.formats.apply import Files
from tests.formats.lexing import cut

SEEDS = range(4)
FILES = 40

git = pytest.mark.skipif(not shutil.which("git"), reason="git makes the diffs, and is not installed")
patch = pytest.mark.skipif(not shutil.which("patch"), reason="`patch` is not installed")

WORDS = ["alpha", "beta", "-- gone", "++ more", "@@ here", "--- a/x", "+++ b/x", "\\ No newline", "diff --git a/x b/x"]

Tree = dict[str, str]


def made_up(chance: random.Random, *, repeated: bool) -> tuple[Tree, Tree]:
    """Return files before and after: most changed in some lines, some new, gone, or renamed."""
    old: Tree = {}
    new: Tree = {}
    for number in range(FILES):
        path = f"{chance.choice(['', 'a/', 'b/c/', 'ü b/'])}{number} file{chance.choice(['.py', '.txt', ''])}"
        # Files that are much alike are renamed into each other, and line ends stay what they are.
        end = "\n" if repeated else chance.choice(["\n", "\n", "\r\n"])
        words, depth = (WORDS[:3], 1) if repeated else (WORDS, 5)
        lines = [
            f"{' ' * chance.randrange(depth)}{chance.choice(words)}{'' if repeated else f' {at}'}"
            for at in range(chance.randrange(1, 80))
        ]
        kept = [line for line in lines if chance.random() > 0.05]
        after = [each for line in kept for each in ([line, f"-- new {number}"] if chance.random() < 0.06 else [line])]
        last = end if repeated else chance.choice([end, end, ""])
        before_text, after_text = (end.join(each) + last if each else "" for each in (lines, after))
        fate = chance.random()
        if fate > 0.1:
            old[path] = before_text
        if fate < 0.8 and after_text:
            new[path] = after_text if fate > 0.1 else end.join(after) + end
        elif fate < 0.9:
            new[f"renamed/{number}"] = before_text
    return old, new


def git_diff(folder: Path, old: Tree, new: Tree) -> str:
    """Return what git says of the way from *old* to *new*."""
    write(folder, old)
    run_git(folder, "init", "--quiet")
    run_git(folder, "add", "--all")
    before = run_git(folder, "write-tree").strip()
    for path in old:
        (folder / path).unlink()
    write(folder, new)
    run_git(folder, "add", "--all")
    return run_git(folder, "diff", "--cached", "--find-renames", before)


def write(folder: Path, tree: Tree) -> None:
    for path, text in tree.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())


def read(folder: Path) -> Tree:
    """Return the files in *folder*, without those of git and the leavings of `patch`."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes().decode() for path in files}


def run_git(folder: Path, *arguments: str, given: str = "") -> str:
    settings = ("-c", "core.autocrlf=false", "-c", "core.safecrlf=false", "-c", "diff.noprefix=false")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *settings, *arguments],
        cwd=folder,
        input=given.encode(),
        capture_output=True,
        check=False,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def applied(old: Tree, diff: str, chance: random.Random) -> tuple[Tree, list[FileResult]]:
    """Return the files after the answer *diff*, cut at random, and the rows of those that were not placed."""
    answer = f"Here it is:\n\n{diff}"
    files = Files("udiff", existing=old)
    for piece in cut(answer, [chance.randrange(len(answer)) for _ in range(50)]):
        files.feed(piece)
    files.end(whole=True)
    tree = dict(old)
    for row in files.rows:
        if not row.complete:
            continue
        if row.op in ("delete", "rename"):
            tree.pop(row.path)
        if row.op != "delete":
            assert row.content is not None
            tree[row.to or row.path] = row.content
    return tree, [row for row in files.rows if not row.complete]


@pytest.mark.spawns
@git
@pytest.mark.parametrize("seed", SEEDS)
def test_a_diff_of_git_gives_what_git_makes_of_it(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    old, new = made_up(chance, repeated=False)
    diff = git_diff(tmp_path / "diffed", old, new)
    (tmp_path / "applied").mkdir()
    write(tmp_path / "applied", old)
    run_git(tmp_path / "applied", "init", "--quiet")
    run_git(tmp_path / "applied", "apply", "--whitespace=nowarn", "-", given=diff)
    ours, failed = applied(old, diff, chance)
    assert not failed
    assert ours == read(tmp_path / "applied") == new


@pytest.mark.spawns
@git
@pytest.mark.parametrize("seed", SEEDS)
def test_lines_that_come_again_are_placed_as_git_places_them_or_refused(seed: int, tmp_path: Path) -> None:
    """Ours: git believes the numbers. We do where another hunk has shown that they are right, and else refuse."""
    chance = random.Random(seed + 100)
    old, new = made_up(chance, repeated=True)
    ours, failed = applied(old, git_diff(tmp_path / "diffed", old, new), chance)
    refused = {row.path for row in failed}
    assert all(not row.complete and row.content is None for row in failed)
    assert {path: text for path, text in ours.items() if path not in refused} == {
        path: text for path, text in new.items() if path not in refused
    }
    assert len(refused) < FILES / 2


@pytest.mark.spawns
@git
@patch
@pytest.mark.parametrize("seed", SEEDS)
def test_a_diff_gives_what_patch_makes_of_it(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed + 200)
    old, new = made_up(chance, repeated=False)
    # Where `patch` and git differ is left to git: names in quotes, renames, files of CRLF.
    old, new = (
        {
            path: text
            for path, text in tree.items()
            if path.isascii() and "\r" not in text and not path.startswith("renamed")
        }
        for tree in (old, new)
    )
    diff = git_diff(tmp_path / "diffed", old, new)
    (tmp_path / "applied").mkdir()
    write(tmp_path / "applied", old)
    command = ["patch", "--strip=1", "--quiet", "--no-backup-if-mismatch", "--remove-empty-files"]
    subprocess.run(command, cwd=tmp_path / "applied", input=diff.encode(), check=True, capture_output=True, timeout=60)
    ours, failed = applied(old, diff, chance)
    assert not failed
    assert ours == read(tmp_path / "applied") == new
