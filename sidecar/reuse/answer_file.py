"""The file of stored answers: SQLite, opened for each use and closed after it, so that many processes can share it.

Every function here blocks, and runs in a worker thread, which imports this module and SQLite with it. The file is the
user's alone. Forgotten answers are overwritten. Must not know what an answer is.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from sidecar.core import private_files
from sidecar.reuse.question import Question, hash_scope
from sidecar.upstream.caches import FoundAnswer

T = TypeVar("T")

VERSION = 1

READ_BUSY_SECONDS = 0.1
"""The longest that a lookup waits for another process that writes."""

WRITE_BUSY_SECONDS = 2.0
"""The longest that an answer waits to be written. No chat waits for that."""

ENTRY_BYTES = 512
"""The size of a row besides its answer, about."""

USED_SECONDS = 60.0
"""How old the time of a row's last use must be before a lookup writes it anew. So few lookups write."""

_TABLES = (
    "CREATE TABLE meta (salt BLOB NOT NULL, epoch INTEGER NOT NULL)",
    """CREATE TABLE answers (
      key BLOB PRIMARY KEY, scope BLOB NOT NULL, stored_at REAL NOT NULL, expires_at REAL NOT NULL,
      used_at REAL NOT NULL, bytes INTEGER NOT NULL, data BLOB NOT NULL)""",
    "CREATE INDEX answers_scope ON answers (scope)",
    "CREATE INDEX answers_used ON answers (used_at, bytes)",
)

_DAMAGE = frozenset({"CORRUPT", "NOTADB"})


class CorruptError(Exception):
    """The file is corrupt, or not ours."""


class UnusableError(Exception):
    """The file cannot be used now. The text is the reason, in one word."""


def find(path: Path, question: Question) -> FoundAnswer:
    """Return the answer to *question*, if there is one.

    Raises: CorruptError, UnusableError.
    """
    with _open(path, READ_BUSY_SECONDS) as connection:
        now, (salt, epoch) = time.time(), _read_meta(connection)
        key, scope = question.make_key(salt), hash_scope(question.scope, salt)
        row = connection.execute(
            "SELECT data, stored_at, used_at FROM answers WHERE key = ? AND scope = ? AND expires_at > ?",
            (key, scope, now),
        ).fetchone()
        if row is None:
            return FoundAnswer(None, 0.0, epoch)
        data, stored_at, used_at = row
        if not isinstance(data, bytes):
            raise CorruptError
        if now - used_at > USED_SECONDS:
            connection.execute("UPDATE answers SET used_at = ? WHERE key = ?", (now, key))
        return FoundAnswer(data, max(0.0, now - stored_at), epoch)


def keep(path: Path, question: Question, data: bytes, ttl_seconds: float, *, epoch: int, max_bytes: int) -> None:
    """Store *data* for *ttl_seconds*, unless answers were forgotten since *epoch*.

    The least recently used answers are dropped while all together take more than *max_bytes*.

    Raises: CorruptError, UnusableError.
    """
    size = len(data) + ENTRY_BYTES
    if size > max_bytes:
        return
    with _open(path, WRITE_BUSY_SECONDS) as connection, _begin(connection):
        now, (salt, now_epoch) = time.time(), _read_meta(connection)
        connection.execute("DELETE FROM answers WHERE expires_at <= ?", (now,))
        if epoch != now_epoch:
            return
        connection.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
            (question.make_key(salt), hash_scope(question.scope, salt), now, now + ttl_seconds, now, size, data),
        )
        (total,) = connection.execute("SELECT SUM(bytes) FROM answers").fetchone()
        while total > max_bytes:
            oldest = "SELECT key, bytes FROM answers ORDER BY used_at, rowid LIMIT 1"
            key, row_bytes = connection.execute(oldest).fetchone()
            connection.execute("DELETE FROM answers WHERE key = ?", (key,))
            total -= row_bytes


def forget(path: Path, scope: str) -> int:
    """Forget the answers of *scope*, and return how many there were.

    Raises: CorruptError, UnusableError.
    """
    with _open(path, WRITE_BUSY_SECONDS) as connection:
        with _begin(connection):
            salt, _ = _read_meta(connection)
            connection.execute("UPDATE meta SET epoch = epoch + 1")
            gone = connection.execute("DELETE FROM answers WHERE scope = ?", (hash_scope(scope, salt),)).rowcount
        # Until then, the rows are overwritten in the write-ahead log only.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone


def set_aside(path: Path) -> None:
    """Rename a corrupt file, replacing an earlier one, and delete its journals.

    Raises: UnusableError.
    """
    try:
        path.replace(path.with_name(f"{path.name}.corrupt"))
        for suffix in ("-journal", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except FileNotFoundError:
        # Another process has done it.
        return
    except OSError as error:
        raise UnusableError("file") from error


def _read_meta(connection: sqlite3.Connection) -> tuple[bytes, int]:
    row = connection.execute("SELECT salt, epoch FROM meta").fetchone()
    if row is None or not isinstance(row[0], bytes) or not isinstance(row[1], int):
        raise CorruptError
    return row[0], row[1]


@contextmanager
def _open(path: Path, busy_seconds: float) -> Iterator[sqlite3.Connection]:
    """Open the file, create it if necessary, and close it afterwards.

    Raises: CorruptError, UnusableError.
    """
    try:
        private_files.make_private(path)
        with closing(sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete=ON")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                _create(connection, version)
            yield connection
    except private_files.RefusedError as error:
        raise UnusableError("link") from error
    except sqlite3.Error as error:
        name = str(getattr(error, "sqlite_errorname", None) or "SQLITE_ERROR").removeprefix("SQLITE_").partition("_")[0]
        # A plain error means that one of our statements failed, because the tables are not ours.
        if name in _DAMAGE or name == "ERROR":
            raise CorruptError from error
        raise UnusableError(name.lower()) from error
    except OSError as error:
        raise UnusableError("permission" if isinstance(error, PermissionError) else "file") from error


def _create(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables of an empty file.

    Raises: CorruptError for the file of another version or program.
    """
    if version:
        raise CorruptError
    connection.execute("PRAGMA auto_vacuum=FULL")
    # The file keeps this mode, in which readers and a writer do not wait for each other.
    connection.execute("PRAGMA journal_mode=WAL")
    with _begin(connection):
        if connection.execute("PRAGMA user_version").fetchone() == (VERSION,):
            # Another process has made them meanwhile.
            return
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES (?, 0)", (os.urandom(16),))
        connection.execute(f"PRAGMA user_version={VERSION}")


@contextmanager
def _begin(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block in one transaction, as the only writer."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield


def use(path: Path, action: Callable[[Path], T]) -> tuple[T, bool]:
    """Return the result of *action* on the file, and whether a corrupt file was set aside before.

    Raises: UnusableError.
    """
    try:
        return action(path), False
    except CorruptError:
        set_aside(path)
    try:
        return action(path), True
    except CorruptError as error:
        raise UnusableError("corrupt") from error
