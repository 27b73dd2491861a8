"""The ledger's file and its queue: what is written, summed and bounded, and what a file that is no good does."""

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from protocol.messages import Usage
from protocol.replies import Warn
from sidecar.core.errors import SidecarError
from sidecar.usage import ledger, ledger_file
from sidecar.usage.amounts import to_picousd, to_usd
from sidecar.usage.ledger import Ledger
from sidecar.usage.ledger_errors import LedgerError
from sidecar.usage.ledger_row import PastAnswer, Row
from sidecar.usage.ledger_schema import COLUMNS
from tests.support.process_probes import posix_only


def row(at: str = "2026-11-20T12:00:00.000Z", **fields: Any) -> Row:
    given: dict[str, Any] = {
        "at": at,
        "action": "stream_chat",
        "kind": "chat",
        "provider": "p",
        "model": "m",
        "outcome": "ok",
        "code": None,
        "finish_reason": "stop",
        "usage": Usage(input_tokens=10, output_tokens=5),
        "cost_picousd": 1500,
        "latency_ms": 100,
        "first_chunk_ms": 10,
    }
    return Row(**given | fields)


def never(warning: Warn) -> None:
    pytest.fail(warning.message)


def write(path: Path, *rows: Row, prune: bool = False) -> None:
    ledger_file.write(path, [each.make_columns() for each in rows], prune=prune)


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection, connection:
        return int(connection.execute("SELECT COUNT(*) FROM attempts").fetchone()[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sidecar" / "ledger.sqlite3"


# --- the file --------------------------------------------------------------------------------


def test_a_row_is_as_wide_as_the_table() -> None:
    assert len(row().make_columns()) == len(COLUMNS)


@posix_only
def test_the_file_is_the_users_alone_and_nothing_is_left_open(path: Path) -> None:
    write(path, row())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@posix_only
def test_a_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    write(path, row())
    path.chmod(0o666)
    write(path, row())
    assert (stat.S_IMODE(path.stat().st_mode), count(path)) == (0o600, 2)


@posix_only
def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)
    with pytest.raises(LedgerError, match="link"):
        write(path, row())
    assert not elsewhere.read_bytes()


def test_a_report_groups_and_sums(path: Path) -> None:
    slow = [row(latency_ms=ms, first_chunk_ms=ms // 10) for ms in range(100, 2100, 100)]
    failed = row(
        outcome="failed", code="rate_limited", usage=None, cost_picousd=None, latency_ms=99_999, first_chunk_ms=None
    )
    write(path, *slow, failed, row("2026-11-19T23:59:59.999Z", provider="q", first_chunk_ms=None))
    found = ledger_file.report(path, ("provider", "outcome"), None, None, None)
    assert [(each["by_provider"], each["by_outcome"], each["requests"]) for each in found.rows] == [
        ("p", "failed", 1),
        ("p", "ok", 20),
        ("q", "ok", 1),
    ]
    first, second, third = found.rows
    assert (first["cost_picousd"], first["unpriced"], first["input_tokens"], first["succeeded"]) == (None, 1, None, 0)
    assert (second["p50_latency_ms"], second["p95_latency_ms"], second["p95_first_chunk_ms"]) == (1000, 1900, 190)
    assert (second["cost_picousd"], second["unpriced"], second["output_tokens"]) == (30_000, 0, 100)
    assert "p50_first_chunk_ms" not in third
    assert found.totals["requests"] == 22
    assert found.totals["succeeded"] == 21
    # How long a failure took is no latency.
    assert (found.totals["p50_latency_ms"], found.totals["p95_latency_ms"]) == (1000, 1900)
    assert not found.truncated


def test_the_last_answers_of_a_model_are_found_the_latest_first(path: Path) -> None:
    answers = [row(first_chunk_ms=ms, task="title", usage=Usage(input_tokens=ms, cache_read_tokens=1)) for ms in (1, 2)]
    others = [row(kind="count"), row(outcome="failed"), row(model="n"), row(provider="q")]
    write(path, *answers, *others, row(first_chunk_ms=3, usage=None))
    found = ledger_file.read_answers(path, [("p", "m"), ("p", "unknown")], 2)
    assert found == {
        ("p", "m"): [PastAnswer(None, None, None, None, 3), PastAnswer("title", 2, None, 1, 2)],
        ("p", "unknown"): [],
    }


def test_a_ledger_without_a_file_has_no_answers(path: Path) -> None:
    assert ledger_file.read_answers(path, [("p", "m")], 9) == {}


def test_a_number_that_no_attempt_can_have_is_unknown_and_harms_no_other(path: Path) -> None:
    assert to_picousd("10000") == 10**16
    assert [to_picousd(each) for each in ("10000.01", "1e30", "-1")] == [None, None, None]
    absurd = Usage(input_tokens=10**30, output_tokens=2**63, cache_read_tokens=7)
    write(path, row(usage=absurd), *[row(cost_picousd=10**16)] * 1000)
    totals = ledger_file.report(path, (), None, None, None).totals
    assert (totals["input_tokens"], totals["output_tokens"], totals["cache_read_tokens"]) == (10_000, 5000, 7)
    assert totals["cost_picousd"] == sum(ledger_file.read_spending(path, "2026-11-01")[0].values()) == 10**19 + 1500


@pytest.mark.parametrize("tokens", [-(10**30), -1, 10**30])
def test_a_count_that_no_attempt_can_have_is_unknown_and_lowers_no_sum(path: Path, tokens: int) -> None:
    write(path, row(usage=Usage(input_tokens=tokens, output_tokens=tokens)), row())
    totals = ledger_file.report(path, (), None, None, None).totals
    assert (totals["requests"], totals["input_tokens"], totals["output_tokens"]) == (2, 10, 5)


@pytest.mark.parametrize("values", [{"latency_ms": 10**30}, {"model": "half \ud800"}, {"provider": None}])
async def test_a_row_that_the_file_does_not_take_keeps_no_other_from_it(
    path: Path, values: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    async with anyio.create_task_group() as tasks:
        book = Ledger(str(path), tasks, never)
        for each in (row(), row(**values), row()):
            book.add(each)
        await book.flush()
        tasks.cancel_scope.cancel()
    assert count(path) == 2
    assert '"event": "ledger.rows_refused", "count": 1' in capfd.readouterr().err


def test_a_file_that_cannot_even_be_looked_for_is_one_that_cannot_be_used(tmp_path: Path) -> None:
    nowhere = tmp_path / ("x" * 300)
    for ask in (
        lambda: ledger_file.read_spending(nowhere, ""),
        lambda: ledger_file.report(nowhere, (), None, None, None),
    ):
        with pytest.raises(LedgerError, match="file"):
            ask()


def test_a_report_keeps_to_its_time_and_provider(path: Path) -> None:
    days = [f"2026-11-{day}T00:00:00.000Z" for day in (18, 19, 20)]
    write(path, *(row(day) for day in days), row(days[1], provider="q"))
    found = ledger_file.report(path, ("day",), days[1], days[2], "p")
    assert [(each["by_day"], each["requests"]) for each in found.rows] == [("2026-11-19", 1)]
    assert ledger_file.read_spending(path, "2026-11-19")[0] == {
        ("2026-11-19", "p"): 1500,
        ("2026-11-19", "q"): 1500,
        ("2026-11-20", "p"): 1500,
    }


def test_a_ledger_that_is_not_there_is_empty_and_stays_away(path: Path) -> None:
    assert ledger_file.report(path, ("day",), None, None, None).totals == {"requests": 0}
    assert ledger_file.read_spending(path, "2026-11-01")[0] == {}
    assert not path.exists()


def test_what_is_old_or_too_much_is_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    old = (now - timedelta(days=401)).isoformat()
    write(path, row(old), *[row(now.isoformat())] * 9)
    assert count(path) == 10
    write(path, row(now.isoformat()), prune=True)
    assert count(path) == 10
    monkeypatch.setattr(ledger_file, "MAX_ROWS", 3)
    write(path, row(now.isoformat()), prune=True)
    assert count(path) == 3


def test_many_groups_are_cut(path: Path) -> None:
    write(path, *(row(model=f"m{number:04}") for number in range(1005)))
    found = ledger_file.report(path, ("model",), None, None, None)
    assert (len(found.rows), found.truncated, found.totals["requests"]) == (1000, True, 1005)


def _corrupt(path: Path) -> None:
    path.write_bytes(b"not a database, whatever it says" * 100)


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(("spoil", "reason"), [(_corrupt, "notadb"), (_foreign, "foreign"), (_folder, "cantopen")])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(
    path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    path.parent.mkdir(parents=True)
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LedgerError, match=reason):
        write(path, row())
    with pytest.raises(LedgerError, match=reason):
        ledger_file.report(path, (), None, None, None)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_file_that_another_holds_is_waited_for_and_then_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_file, "BUSY_SECONDS", 0.05)
    write(path, row())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="busy"):
        write(path, row())
    other.execute("ROLLBACK")
    other.close()
    write(path, row())
    assert count(path) == 2


# --- the queue -------------------------------------------------------------------------------


async def test_rows_are_written_in_a_batch_off_the_loop(path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        book = Ledger(str(path), tasks, never)
        for _ in range(5000):
            book.add(row())
        assert not await anyio.Path(path).exists()
        assert book.sum_spent("2026-11", None) == 5000 * 1500
        await book.flush()
        assert count(path) == 5000
        assert book.sum_spent("2026-11-20", "p") == 5000 * 1500
        assert book.sum_spent("2026-11-21", None) == book.sum_spent("2026-11", "q") == 0
        tasks.cancel_scope.cancel()


async def test_what_others_have_spent_counts(path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        book = Ledger(str(path), tasks, never)
        write(path, row(), row("2026-10-31T23:00:00.000Z"))
        book.add(row())
        await book.refresh("2026-11-01")
        assert book.sum_spent("2026-11", None) == 3000
        await book.flush()
        assert book.sum_spent("2026-11", None) == 3000
        assert count(path) == 3
        tasks.cancel_scope.cancel()


async def test_what_others_spend_meanwhile_counts_after_two_seconds(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with anyio.create_task_group() as tasks:
        book = Ledger(str(path), tasks, never)
        await book.refresh("2026-11-01")
        write(path, row())
        await book.refresh("2026-11-01")
        assert book.sum_spent("2026-11", None) == 0
        now = anyio.current_time
        monkeypatch.setattr(anyio, "current_time", lambda: now() + 2)
        await book.refresh("2026-11-01")
    assert book.sum_spent("2026-11", None) == 1500


async def test_all_who_come_first_wait_for_what_was_spent(path: Path) -> None:
    write(path, row())
    spent: list[int] = []
    async with anyio.create_task_group() as tasks:
        book = Ledger(str(path), tasks, never)

        async def ask() -> None:
            await book.refresh("2026-11-01")
            spent.append(book.sum_spent("2026-11", None))

        async with anyio.create_task_group() as several:
            for _ in range(3):
                several.start_soon(ask)
    assert spent == [1500] * 3


async def test_a_failure_is_said_once_and_the_rows_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_WAITING", 10)
    path.parent.mkdir(parents=True)
    _corrupt(path)
    said: list[Warn] = []
    async with anyio.create_task_group() as tasks:
        book = Ledger(str(path), tasks, said.append)
        for number in range(25):
            book.add(row(model=f"m{number}"))
            if number % 10 == 0:
                await book.flush()
        with pytest.raises(SidecarError) as caught:
            await book.report((), None, None, None)
        assert caught.value.body.reason == "ledger_unusable"
        (warning,) = said
        assert warning.code == "ledger_unusable"
        assert "not an SQLite database" in warning.message
        await anyio.Path(path).unlink()
        monkeypatch.setattr(book, "_leave_alone_until", 0.0)
        await book.flush()
        tasks.cancel_scope.cancel()
    with closing(sqlite3.connect(path)) as connection, connection:
        assert [name for (name,) in connection.execute("SELECT model FROM attempts")] == [
            f"m{i}" for i in range(15, 25)
        ]


async def test_switched_off_it_keeps_sums_and_nothing_else() -> None:
    async with anyio.create_task_group() as tasks:
        book = Ledger(None, tasks, never)
        book.add(row())
        await book.refresh("2026-11-01")
        await book.flush()
        assert book.sum_spent("2026-11", None) == 1500
        with pytest.raises(SidecarError) as caught:
            await book.report((), None, None, None)
        assert caught.value.body.reason == "ledger_off"


@pytest.mark.parametrize("amount", ["0", "0.014", "1234.567890123456", "0.000000000001"])
def test_an_amount_is_kept_to_the_last_digit(amount: str) -> None:
    assert to_usd(to_picousd(amount) or 0) == amount
