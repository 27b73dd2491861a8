"""The ledger's file: SQLite, opened for each batch and closed after it, so that many processes can share it.

Every function here blocks, and runs in a worker thread, which imports this module and SQLite with it.
Knows tables and queries. Must not know chats.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sidecar.core import private_files
from sidecar.usage.kinds import KINDS
from sidecar.usage.ledger_errors import LedgerError, NewerError
from sidecar.usage.ledger_row import PastAnswer
from sidecar.usage.ledger_schema import COLUMNS, STEPS, VERSION
from sidecar.usage.spending import Reserved, Sums

BUSY_SECONDS = 2.0
"""The longest wait for another process that writes."""

KEPT_DAYS = 400
MAX_ROWS = 1_000_000
"""The age and the number of rows beyond which the oldest are deleted."""

MAX_INTEGER = 2**63 - 1
"""The largest number that SQLite stores."""

MAX_GROUPS = 1000
"""The most rows of a report."""

_INSERT = f"INSERT INTO attempts ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - names of ours

_ROW_ERRORS = (
    *(OverflowError, UnicodeError),
    *(sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
)
"""Failures of a single row: a number of more than 64 bits, half of a surrogate pair, a missing value."""

_MICRO = 10**6
_COST = f"SUM(cost_picousd / {_MICRO}) AS cost_whole, SUM(cost_picousd % {_MICRO}) AS cost_rest"
_SAVED = f"SUM(saved_picousd / {_MICRO}) AS saved_whole, SUM(saved_picousd % {_MICRO}) AS saved_rest"
"""The sum of costs in two parts: SQLite fails if a sum needs more than 64 bits, which is nine million dollars."""

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
"""What a report can be grouped by → the SQL expression for it."""

RESERVED_SECONDS = 60.0
"""How long a reservation counts without being renewed: a process that was killed cannot release its own."""


class Found(NamedTuple):
    """What a report has found: a dict of columns for each group, and one for all of them together."""

    rows: list[dict[str, Any]]
    totals: dict[str, Any]
    truncated: bool


def write(path: Path, rows: Iterable[Sequence[Any]], reserved: Reserved | None = None, *, prune: bool = False) -> int:
    """Add *rows*, and replace the reservations of a process by *reserved*; *prune* deletes the oldest rows.

    All of it happens in one transaction, except for rows that SQLite refuses: such a row must not hold up the others.
    Returns how many those are.

    Raises: LedgerError.
    """
    refused = 0
    with _open(path) as connection, _begin(connection):
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
        "DELETE FROM reservations WHERE process = ? OR until <= ?", (reserved.process, _format_time(after_seconds=0))
    )
    until = _format_time(after_seconds=RESERVED_SECONDS)
    rows = [
        (reserved.process, provider, min(amount, MAX_INTEGER), until) for provider, amount in reserved.amounts.items()
    ]
    connection.executemany("INSERT INTO reservations VALUES (?, ?, ?, ?)", rows)


def _format_time(*, after_seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=after_seconds)).isoformat(timespec="milliseconds")


def read_spending(path: Path, since: str, process: str = "") -> tuple[Sums, dict[str, int]]:
    """Return the sums spent since the day *since*, and provider → amount that processes other than *process* reserve.

    Raises: LedgerError.
    """
    if not _exists(path):
        return {}, {}
    query = f"SELECT substr(at, 1, 10), provider, {_COST} FROM attempts WHERE at >= ? GROUP BY 1, 2"  # noqa: S608 - ours
    others = "SELECT provider, picousd FROM reservations WHERE process != ? AND until > ?"
    with _open(path) as connection, connection:
        # One transaction, so that an attempt that ends meanwhile is in one of the two.
        connection.execute("BEGIN")
        found = connection.execute(query, (since,))
        spent = {(day, provider): _join_cost(whole, rest) or 0 for day, provider, whole, rest in found}
        reserved: dict[str, int] = {}
        for provider, amount in connection.execute(others, (process, _format_time(after_seconds=0))):
            reserved[provider] = reserved.get(provider, 0) + amount
        return spent, reserved


def read_answers(path: Path, models: Iterable[tuple[str, str]], limit: int) -> dict[tuple[str, str], list[PastAnswer]]:
    """Return (provider, model) → its last answers, at most *limit* of each, the latest first.

    Raises: LedgerError.
    """
    if not _exists(path):
        return {}
    kinds = [name for name, kind in KINDS.items() if kind.has_price and not kind.by_minute]
    query = f"""SELECT {", ".join(PastAnswer._fields)} FROM attempts
        WHERE provider = ? AND model = ? AND outcome = 'ok' AND kind IN ({", ".join("?" * len(kinds))})
        ORDER BY id DESC LIMIT ?"""  # noqa: S608 - names of ours
    with _open(path) as connection:
        return {
            model: [PastAnswer(*row) for row in connection.execute(query, (*model, *kinds, limit))] for model in models
        }


def report(path: Path, by: Sequence[str], since: str | None, until: str | None, provider: str | None) -> Found:
    """Return the attempts from *since* until before *until*, at *provider* or at all, grouped *by* keys of GROUPS.

    Raises: LedgerError.
    """
    where, values = ["1"], list[str]()
    for condition, value in (("at >= ?", since), ("at < ?", until), ("provider = ?", provider)):
        if value is not None:
            where.append(condition)
            values.append(value)
    if not _exists(path):
        return Found([], {"requests": 0}, truncated=False)
    with _open(path) as connection:
        connection.row_factory = _make_dict
        rows = _group(connection, by, " AND ".join(where), values) if by else []
        (totals,) = _group(connection, (), " AND ".join(where), values) or [{"requests": 0}]
    return Found(rows[:MAX_GROUPS], totals, truncated=len(rows) > MAX_GROUPS)


def _exists(path: Path) -> bool:
    """Return whether the file exists.

    Raises: LedgerError if the folder cannot be searched; `Path.exists` hides that since Python 3.14.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise LedgerError(_read_reason(error)) from error
    return True


def _join_cost(whole: int | None, rest: int | None) -> int | None:
    return None if whole is None or rest is None else whole * _MICRO + rest


def _make_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def _group(
    connection: sqlite3.Connection, by: Sequence[str], where: str, values: Sequence[str]
) -> list[dict[str, Any]]:
    keys = ", ".join(f"{GROUPS[name]} AS by_{name}" for name in by) or "'' AS by_all"
    names = ", ".join(f"by_{name}" for name in by or ("all",))
    counts = f"""
        SELECT {keys}, SUM(requests) AS requests, SUM((outcome = 'ok') * requests) AS succeeded,
          SUM(input_tokens) AS input_tokens, SUM(output_tokens) AS output_tokens,
          SUM(cache_read_tokens) AS cache_read_tokens, SUM(cache_write_tokens) AS cache_write_tokens,
          SUM(reasoning_tokens) AS reasoning_tokens,
          {_COST}, {_SAVED}, SUM((cost_picousd IS NULL) * requests) AS unpriced
        FROM attempts WHERE {where} GROUP BY {names} ORDER BY {names} LIMIT {MAX_GROUPS + 1}"""  # noqa: S608 - ours
    found = {tuple(row[f"by_{name}"] for name in by): row for row in connection.execute(counts, values)}
    for row in found.values():
        row["cost_picousd"] = _join_cost(row.pop("cost_whole"), row.pop("cost_rest"))
        row["saved_picousd"] = _join_cost(row.pop("saved_whole"), row.pop("saved_rest"))
    for column in ("latency_ms", "first_chunk_ms"):
        # Counting equal values first takes a fraction of the time that ranking each row would.
        ranks = f"""
            WITH counted AS (
              SELECT {keys}, {column} AS value, SUM(requests) AS times FROM attempts
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
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file, create or migrate it if necessary, and close it afterwards.

    Raises: LedgerError.
    """
    try:
        private_files.make_private(path)
        # No isolation level: the module then begins no transactions itself, by rules that differ between versions.
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            _migrate(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            yield connection
    except private_files.RefusedError as error:
        raise LedgerError("link") from error
    except (sqlite3.Error, OSError, OverflowError) as error:
        raise LedgerError(_read_reason(error)) from error


def inspect(path: Path) -> int:
    """Return the version of an existing file, and change nothing. Reads all of it.

    Raises: LedgerError.
    """
    # A file that nobody has open needs no other file beside it.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS)) as connection:
            version = _read_version(connection)
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise LedgerError("corrupt")
            return version
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(_read_reason(error)) from error


@contextmanager
def _begin(connection: sqlite3.Connection) -> Iterator[None]:
    """Do what stands within in one transaction, as the only writer."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to our version in one transaction: a crash leaves the file as it was.

    Raises: NewerError for a newer version; the file stays as it is.
    """
    if _read_version(connection) == VERSION:
        return
    # The file keeps this mode, in which readers and a writer do not wait for each other.
    connection.execute("PRAGMA journal_mode=WAL")
    with _begin(connection):
        # Another process may have migrated it meanwhile.
        for step in STEPS[_read_version(connection) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute("UPDATE ledger_version SET version = ?", (VERSION,))


def _read_version(connection: sqlite3.Connection) -> int:
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


def _read_reason(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "permission"
    if isinstance(error, OSError):
        return "file"
    code = getattr(error, "sqlite_errorname", None) or "SQLITE_ERROR"
    return str(code).removeprefix("SQLITE_").partition("_")[0].lower()
