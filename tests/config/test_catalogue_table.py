"""The table `[catalogue]` of the configuration: what it becomes, and what a mistake in it is told."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sidecar.catalogue import overlay
from sidecar.catalogue.corrections import Overlay
from sidecar.catalogue.models import ModelRow
from sidecar.config import loader
from sidecar.config.values import ConfigError


def row(tmp_path: Path, text: str, provider: str = "openai", model: str = "gpt-4o") -> ModelRow:
    """Return what is known of a model with *text* as the configuration."""
    file = tmp_path / "config.toml"
    file.write_text(text)
    found = overlay.find_row(Overlay(loader.load(path=str(file), env={}).corrections), provider, model)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("written", "price"),
    [
        ("0.1", "0.1"),
        ('"0.10"', "0.1"),
        ("2", "2"),
        ("1e-6", "0.000001"),
        ('"0.123456789012"', "0.123456789012"),
        ("0", "0"),
        ("1_000", "1000"),
    ],
)
def test_a_price_is_exact_to_the_last_digit(tmp_path: Path, written: str, price: str) -> None:
    found = row(tmp_path, f'[catalogue.openai."gpt-4o"]\nprice = {{ input = {written}, output = 1 }}\n')
    assert found.price
    assert found.price.input == Decimal(price)


@pytest.mark.parametrize("written", ["2027-03-01", '"2027-03-01"'])
def test_a_day_may_be_a_date_or_a_text(tmp_path: Path, written: str) -> None:
    assert row(tmp_path, f"[catalogue.openai.gpt-4o]\nretires = {written}\n").retires == date(2027, 3, 1)


def test_a_model_may_be_named_in_any_way_of_the_file(tmp_path: Path) -> None:
    for text in (
        '[catalogue.openai."gpt-4o"]\nmax_output = 5\n',
        "[catalogue.openai]\ngpt-4o.max_output = 5\n",
        "[catalogue]\nopenai.gpt-4o = { max_output = 5 }\n",
        "catalogue.openai.gpt-4o.max_output = 5\n",
    ):
        assert row(tmp_path, text).max_output == 5


def test_without_the_table_there_is_nothing_beside_our_own(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[catalogue]\n")
    loaded = loader.load(path=str(file), env={})
    assert (loaded.corrections, loaded.refresh_url) == ({}, "https://models.dev/api.json")


def test_where_a_refresh_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert loader.load(env={}).cache_dir
    assert loader.load(env={"SIDECAR_CACHE_DIR": "/elsewhere"}).cache_dir == "/elsewhere"
    with pytest.raises(ConfigError, match="SIDECAR_CACHE_DIR must be an absolute path"):
        loader.load(env={"SIDECAR_CACHE_DIR": "here"})


MISTAKES: dict[str, str] = {
    "[catalogue.nobody.m]\nname = 'M'": "1: catalogue.nobody.m: there is no such provider",
    "[catalogue.google.m]\nname = 'M'": "1: catalogue.google.m: use the provider's id, which is gemini",
    "[catalogue]\nopenai = 5": "2: catalogue.openai: must be a table",
    "[catalogue]\nrefresh_url = 'ftp://x'": "2: catalogue.refresh_url: `refresh_url` must be an",
    "[catalogue]\nrefresh_url = 'http://mirror.example/'": "2: catalogue.refresh_url: `refresh_url` must be https",
    "[catalogue]\nrefresh_url = 'https://169.254.1.1/'": "2: catalogue.refresh_url: `refresh_url` must not be a link",
    '[catalogue.openai."gpt.5"]\ncolour = 1': "2: catalogue.openai.gpt.5.colour: there is no such key",
    "[catalogue.openai.m]\nmax_output = 0": "2: catalogue.openai.m.max_output: must be greater than or equal to 1",
    "[catalogue.openai.m]\nmax_output = '5'": "2: catalogue.openai.m.max_output: must be a whole number",
    "[catalogue.openai.m]\nwire = 'fax'": "2: catalogue.openai.m.wire: must be one of anthropic_messages, ",
    "[catalogue.openai.m]\nstatus = 'dead'": "2: catalogue.openai.m.status: must be 'active', 'preview', ",
    "[catalogue.openai.m]\nretires = 'CANARY'": "2: catalogue.openai.m.retires: must be a date, YYYY-MM-DD",
    "[catalogue.openai.m]\nretires = 20270301": "2: catalogue.openai.m.retires: must be a valid date",
    "[catalogue.openai.m]\nrefuses = ['mood']": "2: catalogue.openai.m.refuses.0: must be 'temperature', ",
    "[catalogue.openai.m]\nefforts = ['much']": "2: catalogue.openai.m.efforts.0: must be 'none', 'default', ",
    "[catalogue.openai.m]\ncapabilities = { smell = true }": (
        "2: catalogue.openai.m.capabilities.smell: there is no such key"
    ),
    "[catalogue.openai.m]\nprice = 5": "2: catalogue.openai.m.price: must be a table",
    "[catalogue.openai.m]\nprice.input = 5": "1: catalogue.openai.m.price.output: is required",
    "[catalogue.openai.m.price]\ninput = 5\noutput = -1": (
        "3: catalogue.openai.m.price.output: must be greater than or equal to 0"
    ),
    "[catalogue.openai.m.price]\ninput = nan\noutput = 1": "2: catalogue.openai.m.price.input: must be a number",
    "[catalogue.openai.m.price]\ninput = 1e-300\noutput = 1": (
        "2: catalogue.openai.m.price.input: must have no more than 12 decimal places"
    ),
    "[catalogue.openai.m.price]\ninput = '1e400000'\noutput = 1": (
        "2: catalogue.openai.m.price.input: must be less than or equal to 1000000"
    ),
    "[catalogue.openai.m.price]\ninput = true\noutput = 1": "2: catalogue.openai.m.price.input: must be a number",
    "[catalogue.openai.m]\ntiers = [{ over_tokens = 5, price = { input = 1, output = 1 } }]": (
        "1: catalogue.openai.m: `tiers` need a `price`"
    ),
    "[catalogue.openai.m]\nmax_output = 5\ncontext_length = 4": (
        "1: catalogue.openai.m: `max_output` is greater than `context_length`"
    ),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str) -> None:
    [told] = mistakes(tmp_path, text)
    assert told.startswith(MISTAKES[text])
    assert "CANARY" not in told


def mistakes(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        loader.load(path=str(file), env={})
    return [line.removeprefix(f"{file}:") for line in str(caught.value).splitlines()]


TIERS = """
[catalogue.openai."vendor/m.1"]
price = { input = 1, output = 1 }
[[catalogue.openai."vendor/m.1".tiers]]
over_tokens = 5
price = { input = 1, output = 1 }
[[catalogue.openai."vendor/m.1".tiers]]
over_tokens = 6
price = { input = "much", output = 1 }
"""


def test_a_mistake_in_an_entry_of_a_list_has_the_line_of_that_entry(tmp_path: Path) -> None:
    [told] = mistakes(tmp_path, TIERS)
    assert told.startswith("9: catalogue.openai.vendor/m.1.tiers.1.price.input: must be a number")
    same = TIERS.replace("= 6", "= 5").replace('"much"', "1")
    [told] = mistakes(tmp_path, same)
    assert told.startswith("2: catalogue.openai.vendor/m.1: two `tiers` have the same")


@pytest.mark.parametrize("name", ["capabilities", "efforts", "refuses", "tiers"])
def test_an_empty_value_is_fine(tmp_path: Path, name: str) -> None:
    empty: Any = "{}" if name == "capabilities" else "[]"
    found = row(tmp_path, f"[catalogue.openai.gpt-4o]\n{name} = {empty}\n")
    assert found.name == "GPT-4o"
