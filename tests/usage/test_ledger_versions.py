"""Files of older and of newer programs: brought to our version whole or not at all, or left as they are."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from protocol.replies import Warn
from sidecar.core.errors import SidecarError
from sidecar.usage import ledger_file
from sidecar.usage.ledger import Ledger
from sidecar.usage.ledger_errors import LedgerError, NewerError
from sidecar.usage.ledger_schema import COLUMNS, STEPS, VERSION
from tests.support.process_probes import posix_only
from tests.support.source import ROOT
from tests.usage.test_ledger import count, row, write

VERSION_1 = """
CREATE TABLE IF NOT EXISTS ledger_version (version INTEGER NOT NULL);
INSERT INTO ledger_version SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM ledger_version);
CREATE TABLE IF NOT EXISTS attempts (
  id INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
  outcome TEXT NOT NULL, code TEXT, finish_reason TEXT, input_tokens INTEGER, output_tokens INTEGER,
  cache_read_tokens INTEGER, cache_write_tokens INTEGER, cache_write_1h_tokens INTEGER, reasoning_tokens INTEGER,
  cost_picousd INTEGER, latency_ms INTEGER NOT NULL, first_chunk_ms INTEGER
);
CREATE INDEX IF NOT EXISTS attempts_at ON attempts (at, provider, cost_picousd);
INSERT INTO attempts VALUES
  (1, '2026-11-19T12:00:00.000Z', 'stream_chat', 'p', 'm', 'ok', NULL, 'stop', 10, 5, 4, 3, 2, 1, 1500, 100, 10),
  (2, '2026-11-20T12:00:00.000Z', 'generate', 'q', 'm', 'failed', 'timeout', NULL, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, 99, NULL),
  (9, '2026-11-20T13:00:00.000Z', 'resume', 'p', 'n', 'cancelled', 'cancelled', NULL, 7, NULL, NULL, NULL, NULL, NULL,
   9999999999999999, 98, 9);
"""
"""The SQL of the program that made version 1, and rows as it wrote them."""

VERSION_2 = """
CREATE TABLE ledger_version (version INTEGER NOT NULL);
INSERT INTO ledger_version VALUES (2);
CREATE TABLE attempts (
  id INTEGER PRIMARY KEY, at TEXT NOT NULL, action TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
  outcome TEXT NOT NULL, code TEXT, finish_reason TEXT, input_tokens INTEGER, output_tokens INTEGER,
  cache_read_tokens INTEGER, cache_write_tokens INTEGER, cache_write_1h_tokens INTEGER,
  reasoning_tokens INTEGER, cost_picousd INTEGER, latency_ms INTEGER NOT NULL, first_chunk_ms INTEGER,
  kind TEXT NOT NULL DEFAULT 'chat');
CREATE INDEX attempts_at ON attempts (at, provider, cost_picousd);
INSERT INTO attempts VALUES
  (1, '2026-11-19T12:00:00.000Z', 'stream_chat', 'p', 'm', 'ok', NULL, 'stop', 10, 5, 4, 3, 2, 1, 1500, 100, 10,
   'chat'),
  (2, '2026-11-20T12:00:00.000Z', 'generate', 'q', 'm', 'failed', 'timeout', NULL, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, 99, NULL, 'chat'),
  (9, '2026-11-20T13:00:00.000Z', 'resume', 'p', 'n', 'cancelled', 'cancelled', NULL, 7, NULL, NULL, NULL, NULL, NULL,
   9999999999999999, 98, 9, 'chat');
"""
"""As the program that made version 2 leaves a file."""

VERSION_3 = (
    VERSION_2.replace("VALUES (2)", "VALUES (3)")
    + """
CREATE TABLE reservations (
  process TEXT NOT NULL, provider TEXT NOT NULL, picousd INTEGER NOT NULL, until TEXT NOT NULL,
  PRIMARY KEY (process, provider)) WITHOUT ROWID;
"""
)
"""As the program that made version 3 leaves a file."""

VERSION_4 = (
    VERSION_3.replace("VALUES (3)", "VALUES (4)")
    + """
ALTER TABLE attempts ADD COLUMN task TEXT;
ALTER TABLE attempts ADD COLUMN saved_picousd INTEGER;
CREATE INDEX attempts_model ON attempts (provider, model, id);
"""
)
"""As the program that made version 4 leaves a file."""

OLDER = {1: VERSION_1, 2: VERSION_2, 3: VERSION_3, 4: VERSION_4}
"""Version → a file of it, each with the same three attempts."""

CHATS: list[dict[str, Any]] = [
    {"at": "2026-11-19T12:00:00.000Z", "action": "stream_chat", "kind": "chat", "provider": "p", "cost_picousd": 1500},
    {"at": "2026-11-20T12:00:00.000Z", "action": "generate", "kind": "chat", "provider": "q", "cost_picousd": None},
    {"at": "2026-11-20T13:00:00.000Z", "action": "resume", "kind": "chat", "provider": "p"}
    | {"cost_picousd": 9_999_999_999_999_999},
]


def make(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(f"BEGIN IMMEDIATE; {OLDER[version]} COMMIT;")


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT version FROM ledger_version").fetchone()[0])


def rows(path: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(each) for each in connection.execute("SELECT * FROM attempts ORDER BY id")]


def tables(path: Path) -> list[tuple[str, str]]:
    """Return each table with its columns, however the statements that made it were written."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index') ORDER BY name")
        return [
            (name, str(sorted(each[1:] for each in connection.execute(f"PRAGMA table_xinfo({name})"))))
            for (name,) in names.fetchall()
        ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


def test_there_is_a_file_of_each_older_version_here() -> None:
    assert sorted(OLDER) == [*range(1, VERSION)]


@pytest.mark.parametrize("version", OLDER)
def test_rows_of_an_older_file_survive_and_sums_are_right(path: Path, version: int) -> None:
    make(path, version)
    assert ledger_file.read_spending(path, "2026-11-01")[0] == {
        ("2026-11-19", "p"): 1500,
        ("2026-11-20", "p"): 9_999_999_999_999_999,
        ("2026-11-20", "q"): 0,
    }
    assert version_of(path) == VERSION
    found = rows(path)
    assert [each["id"] for each in found] == [1, 2, 9]
    assert [{name: each[name] for name in CHATS[0]} for each in found] == CHATS
    assert [found[0][name] for name in COLUMNS[8:]] == [10, 5, 4, 3, 2, 1, 1500, 100, 10, None, None, 1]
    write(path, row())
    found_by_kind = ledger_file.report(path, ("kind", "action"), None, None, None)
    assert [(each["by_kind"], each["by_action"], each["requests"]) for each in found_by_kind.rows] == [
        ("chat", "generate", 1),
        ("chat", "resume", 1),
        ("chat", "stream_chat", 2),
    ]
    assert found_by_kind.totals["cost_picousd"] == 1500 + 9_999_999_999_999_999 + 1500


@pytest.mark.parametrize("version", OLDER)
def test_an_older_file_ends_with_the_tables_of_a_new_one(path: Path, version: int) -> None:
    make(path, version)
    new = path.with_name("new")
    write(path, row())
    write(new, row())
    assert tables(path) == tables(new)


class Failing(tuple[str, ...]):  # noqa: SLOT001 - of one test
    """The statements of a step, of which the last is no SQL."""

    def __iter__(self) -> Any:
        yield from super().__iter__()
        yield "no SQL"


@pytest.mark.parametrize("statements", range(len(STEPS[-1]) + 1))
@pytest.mark.parametrize("version", OLDER)
def test_a_migration_that_fails_midway_leaves_the_old_file_usable(
    path: Path, version: int, statements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path, version)
    before, made = rows(path), tables(path)
    with monkeypatch.context() as patched:
        patched.setattr(ledger_file, "STEPS", (*STEPS[:-1], Failing(STEPS[-1][:statements])))
        with pytest.raises(LedgerError, match="error"):
            write(path, row())
    assert (version_of(path), rows(path), tables(path)) == (version, before, made)
    write(path, row())
    assert (version_of(path), count(path)) == (VERSION, 4)


KILLED = """
import os, signal, sys
from pathlib import Path
from sidecar.usage import ledger_file

class Killing(tuple):
    def __iter__(self):
        yield from super().__iter__()
        os.kill(os.getpid(), signal.SIGKILL)

*earlier, last = ledger_file.STEPS
ledger_file.STEPS = (*earlier, Killing(last[: int(sys.argv[2])]))
ledger_file.write(Path(sys.argv[1]), [], prune=False)
"""


@pytest.mark.spawns
@posix_only
@pytest.mark.parametrize("statements", [0, len(STEPS[-1])])
@pytest.mark.parametrize("version", [0, *OLDER])
def test_a_process_that_is_killed_midway_leaves_the_old_file_usable(path: Path, version: int, statements: int) -> None:
    if version:
        make(path, version)
    arguments = [sys.executable, "-c", KILLED, str(path), str(statements)]
    killed = subprocess.run(arguments, cwd=ROOT, timeout=30, check=False)
    assert killed.returncode == -signal.SIGKILL
    if version:
        assert version_of(path) == version
    write(path, row())
    assert (version_of(path), count(path)) == (VERSION, 4 if version else 1)


async def test_processes_that_migrate_at_once_agree(path: Path) -> None:
    make(path, 1)
    async with anyio.create_task_group() as several:
        for _ in range(8):
            several.start_soon(lambda: anyio.to_thread.run_sync(lambda: write(path, row())))
    assert (version_of(path), count(path)) == (VERSION, 3 + 8)


def _newer(path: Path) -> None:
    write(path, row())
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("ALTER TABLE attempts ADD COLUMN mood TEXT; UPDATE ledger_version SET version = 99")


@pytest.mark.parametrize(
    "use",
    [
        lambda path: write(path, row(), prune=True),
        lambda path: ledger_file.read_spending(path, ""),
        lambda path: ledger_file.report(path, (), None, None, None),
    ],
    ids=["write", "sums", "report"],
)
def test_a_newer_file_is_refused_and_left_as_it_is(path: Path, use: Callable[[Path], object]) -> None:
    _newer(path)
    before = path.read_bytes()
    with pytest.raises(NewerError) as caught:
        use(path)
    assert caught.value.version == 99
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


async def test_a_newer_file_is_told_of_with_both_versions_and_rows_wait_for_one_that_fits(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _newer(path)
    told: list[Warn] = []
    async with anyio.create_task_group() as tasks:
        book = Ledger(str(path), tasks, told.append)
        book.add(row(model="waits"))
        with pytest.raises(SidecarError) as caught:
            await book.report((), None, None, None)
        assert caught.value.body.reason == "ledger_newer"
        (warning,) = told
        assert warning.code == "ledger_newer"
        assert f"version 99, and this program knows versions up to {VERSION}" in warning.message
        await anyio.Path(path).unlink()
        monkeypatch.setattr(book, "_leave_alone_until", 0.0)
        await book.flush()
        tasks.cancel_scope.cancel()
    assert [each["model"] for each in rows(path)] == ["waits"]


def test_a_row_is_as_wide_as_the_table(path: Path) -> None:
    write(path, row())
    assert {*rows(path)[0]} == {"id", *COLUMNS}
    assert len(row().make_columns()) == len(COLUMNS)
