"""The file of stored answers: private, bounded, shared by processes, and set aside when it makes no sense."""

import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from anyio.abc import TaskGroup

from protocol.replies import Warn
from sidecar.core.errors import SidecarError
from sidecar.reuse import answer_file
from sidecar.reuse.answer_file import ENTRY_BYTES, CorruptError, UnusableError
from sidecar.reuse.question import Question
from sidecar.reuse.store import FileStore
from tests.reuse.test_memory_store import Clock
from tests.support.environment import in_time
from tests.support.process_probes import posix_only
from tests.support.source import ROOT

LARGE = 10_000_000

FIND_SECONDS = 0.002


def question(number: int, scope: str = "s") -> Question:
    return Question(b"%d" % number, scope)


def keep(path: Path, asked: Question, data: bytes = b"answer", ttl: float = 60, max_bytes: int = LARGE) -> None:
    answer_file.keep(path, asked, data, ttl, epoch=0, max_bytes=max_bytes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "answers.sqlite3"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(answer_file, "time", stopped)
    return stopped


def test_an_answer_is_found_until_its_time_is_up(path: Path, clock: Clock) -> None:
    keep(path, question(1), ttl=600)
    clock.now += 599
    found = answer_file.find(path, question(1))
    assert (found.data, found.age_seconds) == (b"answer", 599)
    clock.now += 1
    assert answer_file.find(path, question(1)).data is None


@posix_only
def test_the_file_is_the_users_alone(path: Path) -> None:
    keep(path, question(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@posix_only
def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    path.parent.mkdir()
    path.symlink_to(elsewhere)
    with pytest.raises(UnusableError, match="link"):
        answer_file.find(path, question(1))
    assert not elsewhere.read_bytes()


def test_the_least_recently_used_answers_make_room_and_the_file_shrinks(path: Path, clock: Clock) -> None:
    room = 20 * (ENTRY_BYTES + 10_000)
    for number in range(60):
        clock.now += 1
        keep(path, question(number), bytes(10_000), 6000, room)
        if number == 45:
            clock.now += 100
            answer_file.find(path, question(30))
    kept = [number for number in range(60) if answer_file.find(path, question(number)).data is not None]
    assert kept == [30, *range(41, 60)]
    assert path.stat().st_size < 2 * room
    clock.now += 6001
    keep(path, question(99), b"x", 60, room)
    assert path.stat().st_size < 100_000


def test_a_scope_is_forgotten_alone_and_nothing_of_it_stays_in_the_file(path: Path) -> None:
    keep(path, question(1, "one"), b"what-was-said-in-one" * 50)
    keep(path, question(1, "other"), b"what-was-said-in-the-other" * 50)
    assert answer_file.forget(path, "one") == 1
    assert answer_file.find(path, question(1, "one")).data is None
    assert answer_file.find(path, question(1, "other")).data is not None
    assert b"said-in-one" not in path.read_bytes()
    assert b"said-in-the-other" in path.read_bytes()


def test_what_was_begun_before_it_was_forgotten_is_not_stored_after(path: Path) -> None:
    epoch = answer_file.find(path, question(1)).epoch
    assert epoch == 0
    answer_file.forget(path, "s")
    answer_file.keep(path, question(1), b"late", 60, epoch=epoch, max_bytes=LARGE)
    assert answer_file.find(path, question(1)).data is None


def test_neither_scope_nor_digest_is_written_down(path: Path) -> None:
    keep(path, Question(b"digest-of-all", "name-of-the-scope"))
    written = path.read_bytes()
    assert b"digest-of-all" not in written
    assert b"name-of-the-scope" not in written


OTHER_PROCESS = """
import sys
from pathlib import Path
from sidecar.reuse import answer_file
from sidecar.reuse.question import Question

path, scope = Path(sys.argv[1]), sys.argv[2]
for number in range(40):
    asked = Question(b"%d" % (number % 5), scope)
    try:
        found = answer_file.find(path, asked)
    except answer_file.UnusableError as error:
        assert str(error) == "busy", error
        continue
    assert found.data in (None, scope.encode()), found
    answer_file.keep(path, asked, scope.encode(), 60, epoch=found.epoch, max_bytes=10_000_000)
    if scope == "c" and number % 10 == 9:
        answer_file.forget(path, scope)
"""


@pytest.mark.spawns
def test_processes_on_one_file_never_mix_scopes(path: Path) -> None:
    arguments = [sys.executable, "-c", OTHER_PROCESS, str(path)]
    several = [subprocess.Popen([*arguments, scope], cwd=ROOT) for scope in "abc"]
    assert [each.wait(60) for each in several] == [0, 0, 0]
    for scope in "ab":
        assert {answer_file.find(path, question(number, scope)).data for number in range(5)} == {scope.encode()}
    assert {answer_file.find(path, question(number, "c")).data for number in range(5)} == {None}


async def test_threads_that_make_the_file_at_once_agree(path: Path) -> None:
    async with anyio.create_task_group() as several:
        for number in range(8):
            several.start_soon(lambda each: anyio.to_thread.run_sync(keep, path, each), question(number))
    assert all(answer_file.find(path, question(number)).data for number in range(8))


def no_database(path: Path) -> None:
    path.write_bytes(b"neither a database nor a poem " * 200)


def of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE meta (mood TEXT)")
        connection.execute("PRAGMA user_version=1")


def of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version=7")


def cut(path: Path) -> None:
    keep(path, question(1), bytes(100_000))
    path.write_bytes(path.read_bytes()[:9000])


def overwritten(path: Path) -> None:
    keep(path, question(1), bytes(100_000))
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 30_000)


SPOILED = (no_database, of_another_program, of_another_version, cut, overwritten)


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_file_that_makes_no_sense_is_told_from_one_that_cannot_be_used(
    path: Path, spoil: Callable[[Path], None]
) -> None:
    path.parent.mkdir()
    spoil(path)
    with pytest.raises(CorruptError):
        answer_file.keep(path, question(1), b"x", 60, epoch=0, max_bytes=LARGE)


@pytest.mark.parametrize("spoil", SPOILED)
async def test_a_file_that_makes_no_sense_is_set_aside(
    path: Path, tasks: TaskGroup, spoil: Callable[[Path], None]
) -> None:
    path.parent.mkdir()
    spoil(path)
    told: list[Warn] = []
    store = FileStore(path, LARGE, tasks, told.append)
    store.keep(question(1), b"x", 60, 0)
    await store.flush()
    assert (await store.find(question(1))).data == b"x"
    assert [each.code for each in told] == ["answers_corrupt"]
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, f"{path.name}.corrupt"]


async def test_a_file_that_cannot_be_used_is_told_of_once_and_finds_nothing(path: Path, tasks: TaskGroup) -> None:
    path.parent.write_bytes(b"no folder")
    told: list[Warn] = []
    store = FileStore(path, LARGE, tasks, told.append)
    for _ in range(2):
        found = await store.find(question(1))
        assert (found.data, found.epoch) == (None, None)
    assert [each.code for each in told] == ["answers_unusable"]
    with pytest.raises(SidecarError) as caught:
        await store.forget("s")
    assert (caught.value.body.code, caught.value.body.reason) == ("internal_error", "answers_unusable")


async def test_who_looks_an_answer_up_does_not_wait_for_who_writes_one(path: Path, tasks: TaskGroup) -> None:
    keep(path, question(1))
    store = FileStore(path, LARGE, tasks, lambda _: None)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with anyio.fail_after(2):
            assert (await store.find(question(1))).data == b"answer"


@pytest.mark.alone
def test_a_lookup_in_the_file_leaves_time_for_the_first_line(path: Path) -> None:
    keep(path, question(1), bytes(60_000))

    def measure() -> float:
        began = time.perf_counter()
        assert answer_file.find(path, question(1)).data
        return time.perf_counter() - began

    in_time(measure, FIND_SECONDS)


async def test_an_answer_is_found_before_it_is_in_the_file(path: Path, tasks: TaskGroup) -> None:
    store = FileStore(path, LARGE, tasks, lambda _: None)
    epoch = (await store.find(question(1))).epoch
    assert epoch == 0
    store.keep(question(1), b"x", 60, epoch)
    assert (await store.find(question(1))).data == b"x"
    assert (await store.find(question(1, "other"))).data is None
    await store.flush()
    assert answer_file.find(path, question(1)).data == b"x"


async def test_what_waits_for_the_file_is_bounded(path: Path, tasks: TaskGroup) -> None:
    store = FileStore(path, 100_000, tasks, lambda _: None)
    for number in range(50):
        store.keep(question(number), bytes(10_000), 60, 0)
    assert [(await store.find(question(number))).data is not None for number in (0, 9, 10, 49)] == [
        True,
        True,
        False,
        False,
    ]
    await store.flush()
    assert (await store.find(question(9))).data is not None


async def test_what_waits_for_the_file_is_forgotten_too(path: Path, tasks: TaskGroup) -> None:
    store = FileStore(path, LARGE, tasks, lambda _: None)
    store.keep(question(1), b"x", 60, 0)
    assert await store.forget("s") == 1
    assert (await store.find(question(1))).data is None
