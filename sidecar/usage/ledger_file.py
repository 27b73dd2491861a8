"""The ledger's file: SQLite, opened for a batch and closed after it, so that many processes share it well.

Everything here blocks, and is called in a worker thread, which imports this module and SQLite with it.
Knows tables and queries. Must not know chats.
"""

import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sidecar.core import platforms, private_files
from sidecar.usage.ledger_errors import LedgerError, NewerError
from sidecar.usage.ledger_schema import COLUMNS, STEPS, VERSION
from sidecar.usage.spending import Reserved, Sums

BUSY_SECONDS = 2.0
"""How long another process's write is waited for."""

KEPT_DAYS = 400
MAX_ROWS = 1_000_000

MAX_GROUPS = 1000
"""Most rows of a report."""

_INSERT = f"INSERT INTO attempts ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - names of ours

_ROW_ERRORS = (
    *(OverflowError, UnicodeError),
    *(sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
)
"""Failures that are one row's own: a number of more than 64 bits, half a character, a value that is missing."""

_MICRO = 10**6
_COST = f"SUM(cost_picousd / {_MICRO}) AS cost_whole, SUM(cost_picousd % {_MICRO}) AS cost_rest"
"""The sum of costs, in two parts: SQLite fails where a sum needs more than 64 bits, which are nine million dollars."""

GROUPS = {
    "provider": "provider",
    "model": "model",
    "kind": "kind",
    "action": "action",
    "outcome": "outcome",
    "code": "code",
    "finish_reason": "finish_reason",
    "day": "substr(at, 1, 10)",
    "month": "substr(at, 1, 7)",
}
"""What a report can be grouped by → how to tell."""

RESERVED_SECONDS = 60.0
"""How long a reservation counts that its process does not renew: one that was killed cannot give it back."""


class Found(NamedTuple):
    """The answer to a report: one dict of columns for each group, and one for all of them together."""

    rows: list[dict[str, Any]]
    totals: dict[str, Any]
    truncated: bool


def write(path: Path, rows: Iterable[Sequence[Any]], reserved: Reserved | None = None, *, prune: bool = False) -> int:
    """Add *rows* and put *reserved* in the place of what its process reserved before.

    *prune* removes rows that are too old or too many. Returns how many rows the file does not take, and all else is
    written whole or not at all: a row that can never be written must not keep the others waiting.

    Raises: LedgerError.
    """
    refused = 0
    with _opened(path) as connection, _transaction(connection):
        for row in rows:
            try:
                connection.execute(_INSERT, row)
            except _ROW_ERRORS:
                refused += 1
        if reserved is not None:
            _reserve(connection, reserved)
        if prune:
            oldest = (datetime.now(UTC) - timedelta(days=KEPT_DAYS)).isoformat()
            connection.execute("DELETE FROM attempts WHERE at < ?", (oldest,))
            connection.execute("DELETE FROM attempts WHERE id <= (SELECT MAX(id) FROM attempts) - ?", (MAX_ROWS,))
    return refused


def _reserve(connection: sqlite3.Connection, reserved: Reserved) -> None:
    connection.execute(
        "DELETE FROM reservations WHERE process = ? OR until <= ?", (reserved.process, _after(seconds=0))
    )
    until = _after(seconds=RESERVED_SECONDS)
    amounts = [(reserved.process, provider, amount, until) for provider, amount in reserved.amounts.items()]
    connection.executemany("INSERT INTO reservations VALUES (?, ?, ?, ?)", amounts)


def _after(*, seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def read_spending(path: Path, since: str, process: str = "") -> tuple[Sums, dict[str, int]]:
    """Return what was spent from the day *since* on, and what processes other than *process* reserve by provider.

    Raises: LedgerError.
    """
    if not _exists(path):
        return {}, {}
    query = f"SELECT substr(at, 1, 10), provider, {_COST} FROM attempts WHERE at >= ? GROUP BY 1, 2"  # noqa: S608 - ours
    others = "SELECT provider, SUM(picousd) FROM reservations WHERE process != ? AND until > ? GROUP BY 1"
    with _opened(path) as connection, connection:
        # Both are of one moment: a cost is not to be missed between them.
        connection.execute("BEGIN")
        found = connection.execute(query, (since,))
        spent = {(day, provider): _added(whole, rest) or 0 for day, provider, whole, rest in found}
        return spent, dict(connection.execute(others, (process, _after(seconds=0))))


def report(path: Path, by: Sequence[str], since: str | None, until: str | None, provider: str | None) -> Found:
    """Return the attempts from *since* up to *until*, of *provider* or of all, grouped *by* keys of GROUPS.

    Raises: LedgerError.
    """
    where, values = ["1"], list[str]()
    for condition, value in (("at >= ?", since), ("at < ?", until), ("provider = ?", provider)):
        if value is not None:
            where.append(condition)
            values.append(value)
    if not _exists(path):
        return Found([], {"requests": 0}, truncated=False)
    with _opened(path) as connection:
        connection.row_factory = _as_dict
        rows = _grouped(connection, by, " AND ".join(where), values) if by else []
        (totals,) = _grouped(connection, (), " AND ".join(where), values) or [{"requests": 0}]
    return Found(rows[:MAX_GROUPS], totals, truncated=len(rows) > MAX_GROUPS)


def _exists(path: Path) -> bool:
    """Return whether there is a file.

    Raises: LedgerError where the folder cannot be looked into, about which `Path.exists` is silent since Python 3.14.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise LedgerError(_reason(error)) from error
    return True


def _added(whole: int | None, rest: int | None) -> int | None:
    return None if whole is None or rest is None else whole * _MICRO + rest


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def _grouped(
    connection: sqlite3.Connection, by: Sequence[str], where: str, values: Sequence[str]
) -> list[dict[str, Any]]:
    keys = ", ".join(f"{GROUPS[name]} AS by_{name}" for name in by) or "'' AS by_all"
    names = ", ".join(f"by_{name}" for name in by or ("all",))
    counts = f"""
        SELECT {keys}, COUNT(*) AS requests, SUM(outcome = 'ok') AS succeeded,
          SUM(input_tokens) AS input_tokens, SUM(output_tokens) AS output_tokens,
          SUM(cache_read_tokens) AS cache_read_tokens, SUM(cache_write_tokens) AS cache_write_tokens,
          SUM(reasoning_tokens) AS reasoning_tokens,
          {_COST}, SUM(cost_picousd IS NULL) AS unpriced
        FROM attempts WHERE {where} GROUP BY {names} ORDER BY {names} LIMIT {MAX_GROUPS + 1}"""  # noqa: S608 - ours
    found = {tuple(row[f"by_{name}"] for name in by): row for row in connection.execute(counts, values)}
    for row in found.values():
        row["cost_picousd"] = _added(row.pop("cost_whole"), row.pop("cost_rest"))
    for column in ("latency_ms", "first_chunk_ms"):
        # Equal values are counted first: a fraction of the time that ranking each row takes.
        ranks = f"""
            WITH counted AS (
              SELECT {keys}, {column} AS value, COUNT(*) AS times FROM attempts
              WHERE {where} AND outcome = 'ok' AND {column} IS NOT NULL GROUP BY {names}, value),
            ranked AS (
              SELECT {names}, value, SUM(times) OVER (PARTITION BY {names} ORDER BY value) AS rank,
                SUM(times) OVER (PARTITION BY {names}) AS size FROM counted)
            SELECT {names}, MIN(CASE WHEN rank * 100 >= size * 50 THEN value END) AS p50,
              MIN(CASE WHEN rank * 100 >= size * 95 THEN value END) AS p95
            FROM ranked GROUP BY {names}"""  # noqa: S608 - ours
        for row in connection.execute(ranks, values):
            group = found.get(tuple(row[f"by_{name}"] for name in by))
            if group is not None:
                group |= {f"p50_{column}": row["p50"], f"p95_{column}": row["p95"]}
    return list(found.values())


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file, made if it is not there and brought to our version, and close it afterwards.

    Raises: LedgerError.
    """
    try:
        _make(path)
        # Without an isolation level the module begins no transaction of its own, for which it has had several rules.
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            _migrate(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            yield connection
    except (sqlite3.Error, OSError, OverflowError) as error:
        raise LedgerError(_reason(error)) from error


def _make(path: Path) -> None:
    """Make the folder and an empty file, for the user alone, and close a file that others may read.

    Raises: LedgerError for a link, which may lead to a file of somebody else's choice; OSError.
    """
    private_files.make_folder(path.parent)
    try:
        status = path.lstat()
    except FileNotFoundError:
        path.touch(mode=0o600)
        return
    # A file that is there is not opened here: closing it would undo the locks of a connection that is still open.
    if stat.S_ISLNK(status.st_mode):
        raise LedgerError("link")
    if stat.S_ISREG(status.st_mode) and platforms.is_open_to_others(status):
        path.chmod(0o600)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Make what is done within all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to our version in one transaction: whatever ends it midway leaves the file as it was.

    Raises: NewerError for a file of a newer version, which stays as it is.
    """
    if _version(connection) == VERSION:
        return
    # Set once, for the file remembers it: readers and a writer then do not wait for each other.
    connection.execute("PRAGMA journal_mode=WAL")
    with _transaction(connection):
        # Another process may have been faster.
        for step in STEPS[_version(connection) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute("UPDATE ledger_version SET version = ?", (VERSION,))


def _version(connection: sqlite3.Connection) -> int:
    """Return the version of the file, 0 for an empty one.

    Raises: NewerError, or LedgerError for the database of another program.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0
    if "ledger_version" not in tables:
        raise LedgerError("foreign")
    version = connection.execute("SELECT version FROM ledger_version").fetchone()
    if version is None or not isinstance(version[0], int):
        raise LedgerError("corrupt")
    if version[0] > VERSION:
        raise NewerError(version[0], VERSION)
    return version[0]


def _reason(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "permission"
    if isinstance(error, OSError):
        return "file"
    code = getattr(error, "sqlite_errorname", None) or "SQLITE_ERROR"
    return str(code).removeprefix("SQLITE_").partition("_")[0].lower()
