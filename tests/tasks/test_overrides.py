"""What was set for tasks: it lasts, nobody else can read it, and no crash and no other process takes it away."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn, Self

import anyio
import msgspec
import pytest

from sidecar.core import private_files
from sidecar.core.errors import SidecarError
from sidecar.tasks import overrides
from sidecar.tasks.overrides import MAX_BYTES, NAME, Override, Overrides

pytestmark = pytest.mark.long

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes, links and signals of POSIX")

FIRST, SECOND = Override(model="a/first", options={"max_tokens": 7}), Override(model="b/second")


async def put(folder: Path, task: str, override: Override) -> list[Any]:
    """Set *override* for *task* as a process of its own would, and return the warnings."""
    return await Overrides(str(folder)).change(task, lambda _: override)


async def read(folder: Path) -> dict[str, Override]:
    """Return what a new process finds."""
    return await Overrides(str(folder)).load()


def names(folder: Path) -> list[str]:
    """Return what is in *folder*."""
    return sorted(path.name for path in folder.iterdir())


async def test_what_is_set_is_there_in_the_next_process(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert await read(folder) == {}
    assert await put(folder, "title", FIRST) == []
    assert await put(folder, "plan", SECOND) == []
    assert await read(folder) == {"title": FIRST, "plan": SECOND}
    assert await put(folder, "title", Override()) == []
    assert await read(folder) == {"plan": SECOND}


@posix_only
async def test_only_the_user_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    await put(folder, "title", FIRST)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {"new": 0o700, NAME: 0o600, "tasks.lock": 0o600}


async def test_a_process_sees_what_another_one_sets(tmp_path: Path) -> None:
    running = Overrides(str(tmp_path))
    assert await running.load() == {}
    await put(tmp_path, "title", FIRST)
    assert await running.load() == {"title": FIRST}
    await running.change("plan", lambda _: SECOND)
    assert await read(tmp_path) == {"title": FIRST, "plan": SECOND}


# --- crashes ---------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class Dying:
    """A file whose process is killed once *left* bytes were written."""

    def __init__(self, file: Any, left: int) -> None:
        self._file = file
        self._left = left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> NoReturn:
        self._file.write(data[: self._left])
        self._file.flush()
        raise Killed


async def test_a_crash_at_any_byte_of_the_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(tmp_path, "title", FIRST)
    before, size = (tmp_path / NAME).read_bytes(), len(msgspec.json.encode({"tasks": {"title": SECOND}}))
    real = private_files.open_file
    for left in range(size + 1):

        def open_dying(path: Path, mode: str, left: int = left) -> Any:
            return Dying(real(path, mode), left) if mode == "xb" else real(path, mode)

        with monkeypatch.context() as patch:
            patch.setattr(private_files, "open_file", open_dying)
            with pytest.raises(Killed):
                await put(tmp_path, "title", SECOND)
        assert (tmp_path / NAME).read_bytes() == before
        assert await read(tmp_path) == {"title": FIRST}
    assert await put(tmp_path, "title", SECOND) == []
    assert await read(tmp_path) == {"title": SECOND}
    assert names(tmp_path) == [NAME, "tasks.lock"]


async def test_a_file_cut_at_any_byte_counts_as_empty_and_is_set_aside(tmp_path: Path) -> None:
    """A disk that loses the end of a file does what no crash of ours does."""
    await put(tmp_path, "title", FIRST)
    whole = (tmp_path / NAME).read_bytes()
    for kept in range(len(whole)):
        folder = tmp_path / str(kept)
        folder.mkdir()
        (folder / NAME).write_bytes(whole[:kept])
        (folder / NAME).chmod(0o600)
        found = Overrides(str(folder))
        assert await found.load() == {}
        assert [warning.code for warning in found.warnings] == ["tasks_unusable"]
        assert await found.change("plan", lambda _: SECOND) == []
        assert (await found.load(), found.warnings) == ({"plan": SECOND}, [])
        (aside,) = folder.glob(f"{NAME}.corrupt-*")
        assert aside.read_bytes() == whole[:kept]


_KILLED_WHILE_WRITING = """
import anyio, os, signal, sys
from sidecar.tasks.overrides import Override, Overrides
real = os.{call}
def die(*arguments):
    if {before}: os.kill(os.getpid(), signal.SIGKILL)
    real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
os.{call} = die
anyio.run(Overrides(sys.argv[1]).change, "title", lambda _: Override(model="b/second"))
"""


@pytest.mark.spawns
@posix_only
@pytest.mark.parametrize(
    ("call", "before", "left"),
    [("fsync", True, FIRST), ("fsync", False, FIRST), ("replace", True, FIRST), ("replace", False, SECOND)],
)
async def test_a_process_that_is_killed_leaves_the_old_or_the_new(
    tmp_path: Path, call: str, before: bool, left: Override
) -> None:
    await put(tmp_path, "title", FIRST)
    script = _KILLED_WHILE_WRITING.format(call=call, before=before)
    killed = await anyio.to_thread.run_sync(
        lambda: subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=30)
    )
    assert killed.returncode == -9
    assert await read(tmp_path) == {"title": left}
    assert await put(tmp_path, "plan", SECOND) == []
    assert await read(tmp_path) == {"title": left, "plan": SECOND}
    assert names(tmp_path) == [NAME, "tasks.lock"]


_MANY_CHANGES = """
import anyio, sys
from sidecar.tasks.overrides import Override, Overrides
async def main():
    own = Overrides(sys.argv[1])
    for number in range(20):
        assert not await own.change(f"{sys.argv[2]}_{number}", lambda _: Override(model="a/m"))
anyio.run(main)
"""


@pytest.mark.spawns
async def test_two_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", _MANY_CHANGES, str(tmp_path), name] for name in ("one", "two")]
    running = [subprocess.Popen(command) for command in commands]  # noqa: ASYNC220 - nothing else runs meanwhile
    for process in running:
        with process:
            assert await anyio.to_thread.run_sync(process.wait, 30) == 0
    assert len(await read(tmp_path)) == 40


# --- what cannot be used ---------------------------------------------------------------------


async def test_without_a_folder_it_holds_for_the_process_alone() -> None:
    own = Overrides(None)
    (warning,) = await own.change("title", lambda _: FIRST)
    assert warning.code == "tasks_not_kept"
    assert await own.load() == {"title": FIRST}
    await own.change("title", lambda before: msgspec.structs.replace(before, model="c/third"))
    assert (await own.load())["title"] == Override(model="c/third", options={"max_tokens": 7})


async def test_on_a_disk_that_cannot_be_written_it_holds_for_the_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    await put(tmp_path, "title", FIRST)
    own = Overrides(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(private_files, "replace_file", fail)
        (warning,) = await own.change("title", lambda _: SECOND)
    assert (warning.code, "No space left" in warning.message) == ("tasks_not_kept", True)
    assert (await own.load(), await read(tmp_path)) == ({"title": SECOND}, {"title": FIRST})


@posix_only
@pytest.mark.parametrize("kind", ["link", "open to others", "a folder"])
async def test_a_file_that_may_be_somebody_elses_is_not_used(tmp_path: Path, kind: str) -> None:
    await put(tmp_path, "title", FIRST)
    file = tmp_path / NAME
    if kind == "link":
        file.rename(tmp_path / "other")
        file.symlink_to(tmp_path / "other")
    elif kind == "open to others":
        file.chmod(0o644)
    else:
        file.unlink()
        file.mkdir()
    own = Overrides(str(tmp_path))
    assert await own.load() == {}
    assert [warning.code for warning in own.warnings] == ["tasks_unusable"]


async def test_a_file_that_cannot_be_read_for_a_moment_is_read_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(24, "Too many open files")

    await put(tmp_path, "title", FIRST)
    own = Overrides(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(private_files, "read_file", fail)
        assert await own.load() == {}
        assert [warning.code for warning in own.warnings] == ["tasks_unusable"]
    assert (await own.load(), own.warnings) == ({"title": FIRST}, [])


async def test_an_entry_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    later = b'{"tasks":{"title":{"model":"a/m","options":{"later":1}},"plan":{"model":"a/m","later":2}}}'
    (tmp_path / NAME).write_bytes(later)
    (tmp_path / NAME).chmod(0o600)
    own = Overrides(str(tmp_path))
    assert (await own.load()).keys() == {"plan"}
    assert [warning.code for warning in own.warnings] == ["tasks_unusable"]
    await own.change("qa", lambda _: SECOND)
    kept = msgspec.json.decode((tmp_path / NAME).read_bytes())["tasks"]
    assert kept["title"] == {"model": "a/m", "options": {"later": 1}}
    assert kept["plan"]["later"] == 2


async def test_more_than_there_is_room_for_is_refused(tmp_path: Path) -> None:
    await put(tmp_path, "title", FIRST)
    large = Override(options={"stop": "x" * MAX_BYTES})
    with pytest.raises(SidecarError, match="may take 1048576 bytes together"):
        await put(tmp_path, "plan", large)
    assert await read(tmp_path) == {"title": FIRST}


async def test_a_lock_that_is_not_let_go_of_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overrides, "LOCK_SECONDS", 0.05)
    await put(tmp_path, "title", FIRST)
    with private_files.open_file(tmp_path / "tasks.lock", "ab") as held:
        assert await private_files.wait_for_lock(held, 1)
        (warning,) = await put(tmp_path, "title", SECOND)
    assert warning.code == "tasks_not_kept"
    assert await read(tmp_path) == {"title": FIRST}
