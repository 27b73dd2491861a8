"""Budgets and the ledger as the configuration has them, and when a budget begins anew."""

from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import anyio
import pytest

from sidecar.config import loader
from sidecar.config.values import Config, ConfigError
from sidecar.core.errors import SidecarError
from sidecar.usage import budgets
from sidecar.usage.amounts import PICO
from sidecar.usage.budgets import Window, _find_end
from sidecar.usage.ledger import Ledger
from tests.usage.test_ledger import never, row


def load(tmp_path: Path, text: str, **env: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    return loader.load(path=str(file), env=env)


@pytest.mark.parametrize(
    ("now", "window", "end"),
    [
        ("2026-11-20T12:34:56.789+00:00", "day", "2026-11-21"),
        ("2026-12-31T23:59:59.999+00:00", "day", "2027-01-01"),
        ("2026-12-31T23:59:59.999+00:00", "month", "2027-01-01"),
        ("2027-01-31T00:00:00+00:00", "month", "2027-02-01"),
        ("2028-02-29T08:00:00+00:00", "month", "2028-03-01"),
    ],
)
def test_a_budget_begins_anew_at_midnight_in_utc(now: str, window: Window, end: str) -> None:
    assert _find_end(window, datetime.fromisoformat(now)) == datetime.fromisoformat(end).replace(tzinfo=UTC)


BEFORE, AFTER = "2026-11-30T23:59:59.999+00:00", "2026-12-01T00:00:00+00:00"
EVENING = "2026-12-05T20:00:00+00:00"

TABLE: dict[str, Any] = {"day_usd": Decimal(2), "month_usd": Decimal(10), "providers": {"p": {"day_usd": Decimal(1)}}}


class Clock(datetime):
    """The time that a test says it is."""

    says = BEFORE

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        assert tz is UTC
        return cls.fromisoformat(cls.says)


async def test_budgets_are_of_their_day_and_month_and_a_refusal_hides_no_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budgets, "datetime", Clock)
    async with anyio.create_task_group() as tasks:
        book = Ledger(None, tasks, never)

        async def said(now: str, provider: str) -> str | list[str]:
            monkeypatch.setattr(Clock, "says", now)
            try:
                return [warning.message for warning in (await budgets.admit(TABLE, book, provider, None)).warnings]
            except SidecarError as error:
                return error.body.reason or ""

        def spend(at: str, usd: int) -> None:
            book.add(row(at.replace("+00:00", "Z"), cost_picousd=usd * PICO))

        spend(BEFORE, 2)
        assert (await said(BEFORE, "p"), await said(BEFORE, "q")) == ("budget_day", "budget_day")
        assert (await said(AFTER, "p"), await said(AFTER, "q")) == ([], [])
        for day in range(1, 5):
            spend(AFTER.replace("01T", f"0{day}T"), 2)
        spend(EVENING, 1)
        assert await said(EVENING, "p") == "budget_day"
        assert (await said(EVENING, "q"), await said(EVENING, "q")) == (
            ["9 USD of the month's budget, 10 USD, is spent."],
            [],
        )
        spend(EVENING, 1)
        assert await said(EVENING.replace("05T", "31T"), "q") == "budget_month"


def test_amounts_are_what_the_file_says(tmp_path: Path) -> None:
    text = '[budgets]\nday_usd = 0.1\nmonth_usd = "60.10"\nwarn_at = 0.75\nproviders.p = { day_usd = 2 }\n'
    assert load(tmp_path, text).budgets == {
        "day_usd": Decimal("0.1"),
        "month_usd": Decimal("60.10"),
        "warn_at": Decimal("0.75"),
        "providers": {"p": {"day_usd": Decimal(2)}},
    }


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("day_usd = -1", "budgets.day_usd"),
        ("day_usd = true", "budgets.day_usd"),
        ("day_usd = nan", "budgets.day_usd"),
        ('month_usd = "much"', "budgets.month_usd"),
        ("warn_at = 1.5", "budgets.warn_at"),
        ("year_usd = 1", "budgets.year_usd"),
        ("providers.p.warn_at = 0.5", "budgets.providers.p.warn_at"),
    ],
)
def test_an_amount_that_is_none_is_told_with_its_place(tmp_path: Path, line: str, place: str) -> None:
    with pytest.raises(ConfigError, match=rf"config.toml:2: {place}: "):
        load(tmp_path, f"[budgets]\n{line}\n")


def test_the_ledger_is_on_unless_it_is_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_find_folder", lambda _: str(tmp_path / "data"))
    here, elsewhere = str(tmp_path / "data" / "ledger.sqlite3"), str(tmp_path / "mine")
    off = "[ledger]\nenabled = false\n"
    assert load(tmp_path, "").ledger_path == here
    assert load(tmp_path, "", SIDECAR_LEDGER="off").ledger_path is None
    assert load(tmp_path, off).ledger_path is None
    assert load(tmp_path, off, SIDECAR_LEDGER=elsewhere).ledger_path == elsewhere
    with pytest.raises(ConfigError, match="SIDECAR_LEDGER"):
        load(tmp_path, "", SIDECAR_LEDGER="ledger.sqlite3")
    # Without a home the user's directory would be the working directory.
    monkeypatch.setattr(loader, "_find_folder", lambda _: "data")
    assert load(tmp_path, "").ledger_path is None
