"""The catalogue of models: every row is sane, and a find_row finds its row and nothing more."""

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import pytest

from protocol.replies import ModelInfo
from sidecar.catalogue import build, build_rules, models
from sidecar.catalogue.corrections import Overlay
from sidecar.catalogue.models import ModelRow, Rates, find_row, read_rows
from sidecar.catalogue.overlay import complete

FILE: dict[str, dict[str, dict[str, Any]]] = msgspec.json.decode(models.PATH.read_bytes())
ROWS = [(provider, model, row) for provider in FILE for model, row in read_rows(provider).items()]

WIRES = {"openai_chat", "openai_responses", "anthropic_messages", "gemini", "bedrock_converse", "ollama", "cloudflare"}
EFFORTS = {"none", "default", "minimal", "low", "medium", "high", "xhigh", "max"}


def rates(row: ModelRow) -> list[Rates]:
    """Return all rates of *row*."""
    peak = [row.price] if row.price else []
    off_peak = [row.off_peak.price] if row.off_peak else []
    return [
        *peak,
        *off_peak,
        *(tier.price for tier in row.tiers),
        *(change.price for change in row.changes),
        *row.modes.values(),
    ]


# --- every row -------------------------------------------------------------------------------


def test_every_provider_that_has_a_table_of_models_is_there() -> None:
    assert set(FILE) == {*build_rules.PROVIDERS.values(), *build.read_other_models()}
    assert all(FILE.values())


def test_prices_in_the_file_are_plain_decimal_strings() -> None:
    plain = re.compile(r"\d+(\.\d+)?")
    found = 0
    for table in FILE.values():
        for row in table.values():
            groups = [row.get("price"), row.get("multipliers"), (row.get("off_peak") or {}).get("price")]
            groups += [each["price"] for each in (*row.get("tiers", ()), *row.get("changes", ()))]
            groups += row.get("modes", {}).values()
            for value in (value for group in groups if group for value in group.values()):
                assert isinstance(value, str)
                assert plain.fullmatch(value)
                found += 1
    assert found > 5000


def test_prices_are_finite_and_not_negative() -> None:
    for provider, model, row in ROWS:
        for each in rates(row):
            for name in Rates.__struct_fields__:
                value = getattr(each, name)
                assert value is None or (isinstance(value, Decimal) and 0 <= value < 10_000), (provider, model, name)
        assert all(Decimal("0.5") < factor <= 10 for factor in row.multipliers.values()), (provider, model)


def test_a_price_says_where_it_is_from_and_what_goes_with_a_price_does_not_stand_alone() -> None:
    for provider, model, row in ROWS:
        where = (provider, model)
        assert (row.price is None) == (row.price_source is None), where
        assert row.price_date is not None or row.price is None or row.price_source == "local", where
        if row.price is None:
            assert not rates(row), where


def test_reading_a_cache_never_costs_more_than_not_having_one() -> None:
    for provider, model, row in ROWS:
        for each in rates(row):
            assert each.cache_read is None or each.cache_read <= each.input, (provider, model)


def test_nothing_is_free_but_what_runs_at_the_users_place_and_what_is_called_so() -> None:
    free = {
        (provider, model)
        for provider, model, row in ROWS
        for each in rates(row)
        if not each.input + each.output + (each.search or 0)
    }
    assert len(free) > 50
    for provider, model in free:
        local = provider == "ollama" and not model.endswith("cloud")
        assert local or model.endswith("free"), (provider, model)


def test_the_day_of_the_table_is_that_of_its_newest_price() -> None:
    assert max(row.price_date for _, _, row in ROWS if row.price_date) == models.MADE_ON


def test_tiers_and_changes_ascend() -> None:
    for provider, model, row in ROWS:
        thresholds = [tier.over_tokens for tier in row.tiers]
        assert thresholds == sorted(set(thresholds)), (provider, model)
        assert all(threshold > 0 for threshold in thresholds), (provider, model)
        days = [change.since for change in row.changes]
        assert days == sorted(set(days)), (provider, model)


def test_dates_are_dates() -> None:
    for provider, model, row in ROWS:
        for text in (row.released, row.cutoff):
            if text is not None:
                assert re.fullmatch(r"\d{4}-\d\d(-\d\d)?", text), (provider, model)
                assert date.fromisoformat(text if len(text) == 10 else f"{text}-01") > date(2015, 1, 1)
        if row.retires is not None:
            assert date(2023, 1, 1) < row.retires < date(2040, 1, 1), (provider, model)


def test_peak_hours_are_hours() -> None:
    spans = [span for _, _, row in ROWS if row.off_peak for span in row.off_peak.peak_utc]
    assert spans
    for span in spans:
        begin, end = span.split("-")
        assert re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", begin)
        assert re.fullmatch(r"([01]\d|2[0-4]):[0-5]\d", end)
        assert begin < end


def test_limits_are_positive_and_within_the_window() -> None:
    for provider, model, row in ROWS:
        where = (provider, model)
        for limit in (row.context_length, row.max_input, row.max_output, row.cache_min_tokens):
            assert limit is None or limit > 0, where
        if row.context_length and row.max_input:
            assert row.max_input <= row.context_length, where
        if row.context_length and row.max_output:
            assert row.max_output <= row.context_length, where


def test_words_are_of_their_sets() -> None:
    for provider, model, row in ROWS:
        where = (provider, model)
        assert row.name.strip(), where
        assert model == model.strip(), where
        assert row.wire is None or row.wire in WIRES, where
        assert set(row.efforts) <= EFFORTS, where
        assert len(set(row.efforts)) == len(row.efforts), where


def test_only_models_that_reason_are_told_how_to() -> None:
    for provider, model, row in ROWS:
        if row.thinking is not None:
            assert row.caps.reasoning, (provider, model)


# --- the file --------------------------------------------------------------------------------


def test_the_file_is_small_and_has_one_model_a_line_in_order() -> None:
    lines = models.PATH.read_text().splitlines()
    assert models.PATH.stat().st_size < 1_000_000
    assert len(lines) == 2 + 2 * len(FILE) + len(ROWS)
    assert list(FILE) == sorted(FILE)
    assert all(list(table) == sorted(table) for table in FILE.values())


# --- find_row ----------------------------------------------------------------------------------


def test_an_exact_id_is_found() -> None:
    row = find_row("anthropic", "claude-opus-5-5")
    assert row is not None
    assert row.name == "Claude Opus 5.5"
    assert row.price == Rates(
        input=Decimal(4),
        output=Decimal(20),
        cache_read=Decimal("0.2"),
        cache_write=Decimal(5),
        cache_write_1h=Decimal(8),
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a catalogue of a few rows, of which some are broken."""
    path = tmp_path / "models.json"
    path.write_text(
        '{"lab":{"one":{"name":"One"},"one-20260101":{"name":"One of January"},'
        '"two-latest":{"name":"Two"},"broken":{"name":5}},"other":[1,2],"odd":{"x":7}}'
    )
    return path


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("one", "One"),
        ("one-20260101", "One of January"),
        ("one-20260202", "One"),
        ("one-2026-02-02", "One"),
        ("one@20260202", "One"),
        ("one@2026-02-02", "One"),
        ("one-latest", "One"),
        ("two-latest", "Two"),
        ("two", None),
        ("one-0202", None),
        ("one-12345678", None),
        ("one-20260202-latest", None),
        ("one-20260202x", None),
        ("one-20260202\n", None),
        ("One", None),
        ("on", None),
        ("one-mini", None),
        ("", None),
    ],
)
def test_a_date_or_latest_is_stripped_and_nothing_else(small: Path, model: str, name: str | None) -> None:
    row = find_row("lab", model, small)
    assert (row.name if row else None) == name


def test_an_unknown_provider_has_no_models() -> None:
    assert find_row("nobody", "one") is None
    assert read_rows("nobody") == {}
    assert models.list_names("nobody") == []


def test_the_rows_of_a_provider_are_those_that_lookup_finds() -> None:
    rows = read_rows("openai")
    assert list(rows) == list(FILE["openai"]) == models.list_names("openai")
    assert all(find_row("openai", model) == row for model, row in rows.items())


def test_only_what_is_asked_for_is_decoded(small: Path) -> None:
    assert find_row("lab", "one", small) == ModelRow(name="One")
    with pytest.raises(msgspec.ValidationError):
        find_row("lab", "broken", small)
    with pytest.raises(msgspec.ValidationError):
        read_rows("lab", small)
    with pytest.raises(msgspec.ValidationError):
        find_row("other", "one", small)


def test_a_first_lookup_is_quicker_than_decoding_the_file(tmp_path: Path) -> None:
    data = models.PATH.read_bytes()
    cold, whole = [], []
    for attempt in range(5):
        path = tmp_path / f"{attempt}.json"
        path.write_bytes(data)
        begin = perf_counter()
        assert find_row("anthropic", "claude-opus-5-5", path) is not None
        cold.append(perf_counter() - begin)
        begin = perf_counter()
        msgspec.json.decode(data)
        whole.append(perf_counter() - begin)
    # It takes about a sixth, reading the file included.
    assert min(cold) < min(whole)


# --- facts for wires -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "wire", "sampling", "thinking", "refuses"),
    [
        ("anthropic", "claude-opus-5-5", None, False, "adaptive", {"temperature", "top_p"}),
        ("anthropic", "claude-sonnet-4-5", None, True, "budget", set()),
        ("anthropic", "claude-opus-4-6", None, True, "adaptive", set()),
        ("openai", "gpt-4o", "openai_chat", True, None, set()),
        ("openai", "gpt-6-sol", "openai_responses", False, None, {"temperature", "top_p", "stop"}),
        ("openai", "o3-mini", "openai_responses", False, None, {"temperature", "top_p", "stop", "images"}),
        ("xai", "grok-4.7", None, None, None, {"stop"}),
        ("deepseek", "deepseek-v4-pro", None, True, None, {"images"}),
    ],
)
def test_facts_of_known_models(
    provider: str, model: str, wire: str | None, sampling: bool | None, thinking: str | None, refuses: set[str]
) -> None:
    row = find_row(provider, model)
    assert row is not None
    facts = models.make_facts(row)
    assert (row.wire, facts.sampling, facts.thinking) == (wire, sampling, thinking)
    assert facts.refuses == refuses
    assert (facts.context_length, facts.max_output) == (row.context_length, row.max_output)
    assert facts.efforts == row.efforts


def test_a_model_of_which_nothing_is_known_refuses_nothing() -> None:
    facts = models.make_facts(ModelRow(name="M"))
    assert facts.refuses == frozenset()
    assert (facts.sampling, facts.reasoning, facts.thinking, facts.max_output) == (None, None, None, None)


# --- a provider's list, completed ------------------------------------------------------------


def test_what_the_provider_left_out_is_filled_in() -> None:
    info = complete(ModelInfo(id="gpt-4o-2024-11-20", provider="openai"), Overlay())
    assert info == ModelInfo(
        id="gpt-4o-2024-11-20",
        provider="openai",
        name=info.name,
        kind="chat",
        context_length=128_000,
        max_output=16_384,
        cost={"input": "2.5", "output": "10", "cache_read": "1.25"},
        pricing=info.pricing,
        capabilities=info.capabilities,
        status="deprecated",
        retires_on="2027-01-14",
        wire="openai_chat",
    )
    assert info.name
    assert info.pricing
    assert set(info.pricing) == {"source", "date", "modes"}
    assert info.capabilities
    assert (info.capabilities["tools"], info.capabilities["reasoning"]) == (True, False)


def test_what_the_provider_has_said_stands() -> None:
    said = ModelInfo(
        id="claude-opus-5-5",
        provider="anthropic",
        name="Opus",
        max_output=5,
        capabilities={"tools": False, "batch": True},
        status="active",
    )
    info = complete(said, Overlay())
    assert (info.name, info.max_output, info.status, info.context_length) == ("Opus", 5, "active", 1_000_000)
    assert info.capabilities == said.capabilities | {  # type: ignore[operator]  # it has some
        "images": True,
        "pdf": True,
        "reasoning": True,
        "structured": True,
        "sampling": False,
    }


def test_a_model_without_a_row_is_left_as_it_is() -> None:
    info = ModelInfo(id="nothing", provider="openai")
    assert complete(info, Overlay()) is info


@pytest.mark.parametrize(
    ("day", "price"), [(date(2026, 11, 30), "2"), (date(2026, 12, 1), "4"), (date(2030, 1, 1), "4")]
)
def test_an_announced_price_holds_from_its_day(day: date, price: str) -> None:
    info = complete(ModelInfo(id="gemini-4-argon", provider="gemini"), Overlay(), day)
    assert info.cost is not None
    assert info.cost["input"] == price
    row = find_row("gemini", "gemini-4-argon")
    assert row is not None
    assert models.find_price(row, day) == msgspec.convert(info.cost, Rates)


def test_an_unknown_price_is_not_a_price_of_nothing() -> None:
    free = [info for _, info in completed() if info.cost and Decimal(info.cost["input"]) == 0]
    unpriced = [row for row, info in completed() if info.cost is None]
    assert free
    assert unpriced
    assert all(row.price is None for row in unpriced)


def completed() -> list[tuple[ModelRow, ModelInfo]]:
    """Return every row beside what it makes of a bare id."""
    return [(row, complete(ModelInfo(id=model, provider=provider), Overlay())) for provider, model, row in ROWS]


def test_the_word_for_a_status_is_one_of_the_protocol() -> None:
    assert {info.status for _, info in completed()} == {"active", "preview", "deprecated", "retired", None}
