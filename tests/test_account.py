"""Budgets and the ledger as the configuration has them, and when a budget begins anew."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar import config
from sidecar.account import Window, _reset
from sidecar.config import Config, ConfigError


def load(tmp_path: Path, text: str, **env: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    return config.load(path=str(file), env=env)


@pytest.mark.parametrize(
    ("now", "window", "reset"),
    [
        ("2026-11-20T12:34:56.789+00:00", "day", "2026-11-21"),
        ("2026-12-31T23:59:59.999+00:00", "day", "2027-01-01"),
        ("2026-12-31T23:59:59.999+00:00", "month", "2027-01-01"),
        ("2027-01-31T00:00:00+00:00", "month", "2027-02-01"),
        ("2028-02-29T08:00:00+00:00", "month", "2028-03-01"),
    ],
)
def test_a_budget_begins_anew_at_midnight_in_utc(now: str, window: Window, reset: str) -> None:
    assert _reset(window, datetime.fromisoformat(now)) == datetime.fromisoformat(reset).replace(tzinfo=UTC)


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
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *_, **__: str(tmp_path / "data"))
    here, elsewhere = str(tmp_path / "data" / "ledger.sqlite3"), str(tmp_path / "mine")
    off = "[ledger]\nenabled = false\n"
    assert load(tmp_path, "").ledger_path == here
    assert load(tmp_path, "", SIDECAR_LEDGER="off").ledger_path is None
    assert load(tmp_path, off).ledger_path is None
    assert load(tmp_path, off, SIDECAR_LEDGER=elsewhere).ledger_path == elsewhere
    with pytest.raises(ConfigError, match="SIDECAR_LEDGER"):
        load(tmp_path, "", SIDECAR_LEDGER="ledger.sqlite3")
    # Without a home the user's directory would be the working directory.
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *_, **__: "data")
    assert load(tmp_path, "").ledger_path is None
