"""What chats in progress are expected to cost: it counts as spent, in this process at once and soon in every other."""

import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from protocol.errors import ErrorBody
from protocol.messages import Message, Usage
from protocol.options import Options
from protocol.requests import Chat
from sidecar.core.errors import SidecarError
from sidecar.generation import request_limits
from sidecar.tokens import prompts
from sidecar.usage import budgets, ledger, ledger_file
from sidecar.usage.amounts import PICO
from sidecar.usage.budgets import Admission
from sidecar.usage.ledger import Ledger
from sidecar.usage.spending import Reserved
from sidecar.usage.times import format_time
from tests.support import documents
from tests.usage.test_ledger import never, row, write

DAY: dict[str, Any] = {"day_usd": Decimal(1)}

DIME = Decimal("0.1")


@pytest.fixture(params=["on", "off"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> str | None:
    return str(tmp_path / "ledger.sqlite3") if request.param == "on" else None


def spend(book: Ledger, usd: Decimal, provider: str = "p") -> None:
    book.add(row(format_time(datetime.now(UTC)), provider=provider, cost_picousd=int(usd * PICO)))


async def admit_many(
    table: dict[str, Any], book: Ledger, providers: Iterable[str], usd: Decimal | None = DIME
) -> list[Admission | ErrorBody]:
    """Return what becomes of chats with *providers* that begin at once."""
    found: list[Admission | ErrorBody] = []

    async def admit(provider: str) -> None:
        try:
            found.append(await budgets.admit(table, book, provider, usd))
        except SidecarError as error:
            found.append(error.body)

    async with anyio.create_task_group() as several:
        for provider in providers:
            several.start_soon(admit, provider)
    return found


def admitted(found: list[Admission | ErrorBody]) -> list[Admission]:
    return [each for each in found if isinstance(each, Admission)]


async def test_chats_that_begin_at_once_do_not_all_pass(path: str | None) -> None:
    async with anyio.create_task_group() as tasks:
        book = Ledger(path, tasks, never)
        spend(book, Decimal("0.55"))
        found = await admit_many(DAY, book, ["p"] * 50)
        # 0.55, 0.65, 0.75, 0.85 and 0.95 are below the budget; the next would not be.
        assert len(admitted(found)) == 5
        (refusal,) = {each for each in map(repr, found) if "ErrorBody" in each}
        assert "0.55 USD is spent, and chats in progress may cost 0.5 USD" in refusal
        body = next(each for each in found if isinstance(each, ErrorBody))
        assert (body.code, body.reason, body.retryable, body.retry_after_ms) == (
            "quota_exceeded",
            "budget_day",
            True,
            None,
        )
        tasks.cancel_scope.cancel()


async def test_a_chat_that_has_ended_makes_room_for_the_next(path: str | None) -> None:
    async with anyio.create_task_group() as tasks:
        book = Ledger(path, tasks, never)
        first, *_ = admitted(await admit_many(DAY, book, ["p"] * 20))
        assert not admitted(await admit_many(DAY, book, ["p"]))
        first.reservation.release()
        first.reservation.release()
        assert len(admitted(await admit_many(DAY, book, ["p"] * 20))) == 1
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("usd", [None, Decimal(0)])
async def test_chats_of_an_unknown_price_reserve_nothing(path: str | None, usd: Decimal | None) -> None:
    async with anyio.create_task_group() as tasks:
        book = Ledger(path, tasks, never)
        assert len(admitted(await admit_many(DAY, book, ["p"] * 20, usd))) == 20
        assert book.sum_reserved(None) == 0
        tasks.cancel_scope.cancel()


async def test_a_chat_alone_is_not_refused_for_what_it_may_cost(path: str | None) -> None:
    async with anyio.create_task_group() as tasks:
        book = Ledger(path, tasks, never)
        spend(book, Decimal("0.99"))
        assert len(admitted(await admit_many(DAY, book, ["p", "p"], Decimal(5)))) == 1
        tasks.cancel_scope.cancel()


async def test_a_providers_budget_is_reserved_from_by_its_own_chats_alone(path: str | None) -> None:
    table = {"providers": {"p": {"month_usd": Decimal("0.2")}}}
    async with anyio.create_task_group() as tasks:
        book = Ledger(path, tasks, never)
        found = await admit_many(table, book, [*("p", "q") * 5])
        assert len(admitted(found)) == 2 + 5
        assert {each.reason for each in found if isinstance(each, ErrorBody)} == {"budget_month"}
        tasks.cancel_scope.cancel()


async def test_without_a_budget_nothing_is_reserved_nor_read(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    async with anyio.create_task_group() as tasks:
        book = Ledger(str(file), tasks, never)
        assert len(admitted(await admit_many({}, book, ["p"] * 3, None))) == 3
        await book.flush()
        tasks.cancel_scope.cancel()
    assert not file.exists()


# --- what is expected ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "usd"),
    [
        ({}, "20.01"),
        ({"max_tokens": 100_000}, "20.01"),
        ({"max_tokens": 500}, "5.01"),
        ({"token_limit": 700}, "7.01"),
        ({"budget_usd": "0.5"}, "0.5"),
        ({"budget_usd": 500}, "20.01"),
    ],
)
def test_a_chat_is_expected_to_cost_its_prompt_and_a_usual_answer_within_its_limits(
    options: dict[str, Any], usd: str
) -> None:
    chat = Chat(model="m", messages=[Message(role="user", content="Hi")], options=Options(**options))
    prompt = prompts.estimate_prompt_tokens(chat)

    def price(usage: Usage) -> Decimal:
        assert usage.input_tokens == prompt
        return Decimal("0.01") + Decimal(usage.output_tokens or 0) / 100

    assert request_limits.estimate_usd(chat, price) == Decimal(usd)
    assert request_limits.estimate_usd(chat, lambda _: None) is None


def test_the_document_names_these_limits() -> None:
    text = " ".join(documents.read("protocol/PROTOCOL.md").split())
    assert f"{prompts.EXPECTED_OUTPUT_TOKENS} tokens of output" in text
    # Sums of that age, and a write that has waited for others.
    assert ledger.REFRESH_SECONDS + ledger.LINGER_SECONDS < 3
    assert "other processes within 3 seconds" in text
    assert ledger_file.RESERVED_SECONDS == 60 > 2 * ledger.RENEW_SECONDS
    assert "counts for another minute" in text


# --- two processes ---------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


def others(file: Path) -> dict[str, int]:
    return ledger_file.read_spending(file, "2026-11-01", "somebody else")[1]


async def test_two_processes_agree_within_two_seconds_and_a_write(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, later = anyio.current_time, 0.0
    monkeypatch.setattr(anyio, "current_time", lambda: now() + later)
    async with anyio.create_task_group() as tasks:
        first, second = (Ledger(str(file), tasks, never) for _ in range(2))
        assert len(admitted(await admit_many(DAY, second, ["p"], None))) == 1
        mine = admitted(await admit_many(DAY, first, ["p"] * 20))
        spend(first, Decimal("0.05"))
        await first.flush()
        later = ledger.REFRESH_SECONDS
        assert not admitted(await admit_many(DAY, second, ["p"]))
        assert second.sum_reserved("p") == first.sum_reserved("p") == PICO
        assert second.sum_reserved("q") == 0
        for each in mine:
            each.reservation.release()
        await first.flush()
        assert others(file) == {}
        later += ledger.REFRESH_SECONDS
        assert len(admitted(await admit_many(DAY, second, ["p"] * 20))) == 10
        tasks.cancel_scope.cancel()


async def until(happened: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not happened():  # noqa: ASYNC110 - nobody tells when the file has changed
            await anyio.sleep(0.01)


@pytest.mark.long
async def test_a_reservation_is_written_without_being_asked_for(file: Path) -> None:
    async with anyio.create_task_group() as tasks:
        book = Ledger(str(file), tasks, never)
        with book.reserve("p", 7):
            await until(lambda: others(file) == {"p": 7})
        await until(lambda: others(file) == {})
        tasks.cancel_scope.cancel()


async def test_a_reservation_is_renewed_while_it_lasts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "RENEW_SECONDS", 0.05)
    async with anyio.create_task_group() as tasks:
        book = Ledger(str(file), tasks, never)
        with book.reserve("p", 7):
            await until(lambda: others(file) == {"p": 7})
            # As if that had been long ago.
            monkeypatch.setattr(ledger_file, "_format_time", partial(_format_later, ledger_file.RESERVED_SECONDS + 1))
            await until(lambda: others(file) == {"p": 7})
        tasks.cancel_scope.cancel()


def _format_later(by: float, *, after_seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=after_seconds + by)).isoformat(timespec="milliseconds")


def write_as(process: str, file: Path, amounts: dict[str, int]) -> None:
    ledger_file.write(file, [], Reserved(process, amounts))


def test_what_a_killed_process_has_reserved_counts_for_a_minute(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_as("killed", file, {"p": 7, "q": 2})
    write_as("alive", file, {"p": 1})
    assert others(file) == {"p": 8, "q": 2}
    assert ledger_file.read_spending(file, "", "alive")[1] == {"p": 7, "q": 2}
    monkeypatch.setattr(ledger_file, "_format_time", partial(_format_later, 59))
    assert others(file) == {"p": 8, "q": 2}
    monkeypatch.setattr(ledger_file, "_format_time", partial(_format_later, 60.1))
    assert others(file) == {}
    write_as("alive", file, {"p": 1})
    assert others(file) == {"p": 1}


@pytest.mark.long
async def test_a_file_that_is_held_delays_a_chat_for_no_more_than_a_second(file: Path) -> None:
    write(file, row())
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    async with anyio.create_task_group() as tasks:
        book = Ledger(str(file), tasks, never)
        with anyio.fail_after(ledger.READ_SECONDS + 1):
            assert len(admitted(await admit_many(DAY, book, ["p"] * 20))) == 10
        tasks.cancel_scope.cancel()
    other.close()
