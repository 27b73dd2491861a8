"""The catalogue of models.dev: what is read of it, what is not believed, and how it is kept."""

import time
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.catalogue import modelsdev, provider_rows
from sidecar.catalogue.models import Capabilities, ModelRow, Rates

AT = "2026-11-21T10:00:00+00:00"

ENTRY: dict[str, Any] = {
    "id": "m",
    "name": "Model",
    "attachment": True,
    "reasoning": True,
    "reasoning_options": [{"type": "toggle"}, {"type": "effort", "values": ["high", "low", "strange"]}],
    "tool_call": True,
    "structured_output": False,
    "temperature": True,
    "status": "deprecated",
    "modalities": {"input": ["text", "image", "pdf"], "output": ["text"]},
    "limit": {"context": 200_000, "input": 150_000, "output": 300_000},
    "cost": {
        "input": 0.1,
        "output": 3,
        "cache_read": 0.01,
        "cache_write": 0.125,
        "reasoning": 4.5,
        "input_audio": 1,
        "output_audio": 2,
        "tiers": [{"tier": {"type": "context", "size": 128_000}, "input": 0.2, "output": 6}],
        "context_over_200k": {"input": 0.2, "output": 6},
    },
}


def rows(document: object, *ids: str) -> dict[str, ModelRow]:
    """Return what is kept of *document* for a provider that is called *ids* there."""
    raw = document if isinstance(document, bytes) else msgspec.json.encode(document)
    kept = modelsdev.read(modelsdev.convert(raw, AT, {"ours": ids or ("theirs",)}))
    assert kept.fetched_at == AT
    return {name: msgspec.json.decode(row, type=ModelRow) for name, row in kept.models["ours"].items()}


def row(**changes: Any) -> ModelRow:
    """Return the row of an entry with *changes*; None takes a field away."""
    entry = {name: value for name, value in (ENTRY | changes).items() if value is not None}
    return rows({"theirs": {"models": {"m": entry}}})["m"]


def priced(**changes: Any) -> ModelRow:
    return row(cost={name: value for name, value in (ENTRY["cost"] | changes).items() if value is not None})


def test_an_entry_becomes_a_row() -> None:
    found = row()
    assert (found.name, found.status, found.efforts) == ("Model", "deprecated", ("low", "high"))
    assert (found.context_length, found.max_input, found.max_output) == (200_000, 150_000, 200_000)
    assert found.caps == Capabilities(
        tools=True,
        reasoning=True,
        structured=False,
        sampling=True,
        images=True,
        pdf=True,
        audio=False,
        video=False,
    )
    assert found.price == Rates(
        input=Decimal("0.1"),
        output=Decimal(3),
        cache_read=Decimal("0.01"),
        cache_write=Decimal("0.125"),
        audio_input=Decimal(1),
        audio_output=Decimal(2),
        reasoning=Decimal("4.5"),
    )
    assert [(tier.over_tokens, tier.price.input) for tier in found.tiers] == [(128_000, Decimal("0.2"))]
    assert (found.price_source, found.price_date) == ("models.dev", date(2026, 11, 21))


def test_what_is_absent_is_unknown() -> None:
    assert rows({"theirs": {"models": {"m": {}}}}) == {"m": ModelRow(name="m")}


@pytest.mark.parametrize(
    "cost",
    [
        {"input": 0},
        {"output": 0},
        {"input": 0, "output": 0},
        {"input": -1},
        {"input": "1"},
        {"input": True},
        {"input": 1e9},
        {"output": 1e-300},
        {"output": None},
        {"cache_read": 0.11},
        {"tiers": None},
        {"tiers": [{"tier": {"type": "time", "size": 5}, "input": 1, "output": 2}]},
        {"tiers": [{"tier": {"type": "context"}, "input": 1, "output": 2}]},
        {"tiers": [{"tier": {"type": "context", "size": 5}, "input": 0, "output": 2}]},
        {"tiers": ["strange"]},
        {"tiers": "strange"},
    ],
)
def test_a_price_that_is_nothing_or_not_understood_whole_is_unknown(cost: dict[str, Any]) -> None:
    found = priced(**cost)
    assert (found.price, found.tiers, found.price_source, found.price_date) == (None, (), None, None)
    assert found.context_length == 200_000


def test_a_rate_of_nothing_beside_a_price_is_not_known() -> None:
    found = priced(cache_read=0, cache_write=0, reasoning=0)
    assert found.price
    assert (found.price.cache_read, found.price.cache_write, found.price.reasoning) == (None, None, None)


@pytest.mark.parametrize(
    "strange",
    [
        {"name": 5},
        {"name": "two\nlines"},
        {"limit": "much"},
        {"limit": {"context": -1, "output": 0, "input": 1e30}},
        {"limit": {"context": True, "output": "5"}},
        {"modalities": []},
        {"reasoning_options": {"type": "effort"}},
        {"tool_call": "yes"},
        {"status": ["beta"]},
        {"cost": 5},
    ],
)
def test_what_is_strange_costs_itself_alone(strange: dict[str, Any]) -> None:
    found = row(**strange)
    usual = row()
    differ = [name for name in ModelRow.__struct_fields__ if getattr(found, name) != getattr(usual, name)]
    assert differ
    assert len(differ) <= 4
    assert "\n" not in found.name
    assert all(limit is None or limit > 0 for limit in (found.context_length, found.max_input, found.max_output))


def test_what_does_not_answer_in_text_and_what_is_no_name_is_left_out() -> None:
    image = ENTRY | {"modalities": {"input": ["text"], "output": ["image"]}}
    huge = ENTRY | {"notes": "x" * modelsdev.MAX_ENTRY_BYTES}
    models = {
        "huge": huge,
        "": ENTRY,
        "a\nb": ENTRY,
        "x" * 257: ENTRY,
        "list": [],
        "image": image,
        "good/id:1@2": ENTRY,
    }
    assert list(rows({"theirs": {"models": models}})) == ["good/id:1@2"]


def test_of_two_names_of_a_provider_the_first_that_has_a_model_counts() -> None:
    document = {
        "one": {"models": {"a": {"name": "A of one"}}},
        "two": {"models": {"a": {"name": "A of two"}, "b": {"name": "B of two"}}},
        "three": {"models": {"c": {}}},
    }
    found = rows(document, "one", "two", "absent")
    assert {name: row.name for name, row in found.items()} == {"a": "A of one", "b": "B of two"}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"theirs": []}',
        b'{"theirs": {"models": 5}}',
        b'{"theirs": {"models": {}}}',
        b'{"other": {"models": {"a": {}}}}',
        b'{"theirs": {"models": {"a": {}}',
        b'{"theirs": {"models": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}}",
        b'{"theirs": {"models": {"\xff": {}}}}',
    ],
)
def test_what_is_no_catalogue_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        rows(document)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tier", "size", "type", "input", "output", "context"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(ENTRY, _JSON)))
def test_no_entry_whatever_breaks_it(entry: dict[str, Any]) -> None:
    found = rows({"theirs": {"models": {"m": entry, "other": ENTRY}}})
    assert found["other"] == row()
    for known in found.values():
        assert known.price is None or known.price.input > 0


def test_a_huge_provider_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelsdev, "MAX_MODELS", 3)
    assert len(rows({"theirs": {"models": {str(number): {} for number in range(9)}}})) == 3


def _kept(**changes: Any) -> bytes:
    raw = modelsdev.convert(msgspec.json.encode({"theirs": {"models": {"m": ENTRY}}}), AT, {"ours": ("theirs",)})
    return msgspec.json.encode(msgspec.json.decode(raw) | changes)


def test_the_same_document_is_kept_in_the_same_bytes() -> None:
    models = {"a": ENTRY, "b": {}}
    both = [{"theirs": {"models": order}} for order in (models, dict(reversed(models.items())))]
    first, second = (modelsdev.convert(msgspec.json.encode(each), AT, {"ours": ("theirs",)}) for each in both)
    assert first == second


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        _kept()[:-1],
        _kept(version=99),
        _kept(fetched_at="some day"),
        _kept(models={"ours": {"m": {"name": 5}}}),
        _kept(models={"ours": {"m": {"name": "M", "price": {"input": "NaN", "output": "1"}}}}),
        _kept(models={"ours": {"m": {"name": "M", "price": {"input": "1E+999999", "output": "1"}}}}),
        _kept(models={"ours": {"m": {"name": "M", "price": {"input": "0", "output": "0"}}}}),
        _kept(models=[]),
    ],
)
def test_what_was_kept_and_makes_no_sense_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        modelsdev.read(data)


def test_each_name_there_belongs_to_one_provider_of_ours() -> None:
    named = [each for row in provider_rows.read_providers().values() for each in row.models.models_dev_ids]
    assert len(named) > 10
    assert len(set(named)) == len(named)


def test_a_table_that_is_too_large_is_left_out_and_the_others_stay() -> None:
    small = b'{"models":{"m":{"limit":{"context":5}}}}'
    large = b'{"models":{' + b",".join(b'"m%d":{}' % at for at in range(modelsdev.MAX_TABLE_BYTES // 8)) + b"}}"
    assert len(large) > modelsdev.MAX_TABLE_BYTES
    document = b'{"openai":' + large + b',"groq":' + small + b"}"
    stored = modelsdev.read(modelsdev.convert(document, "2026-11-20T00:00:00+00:00", {"a": ["openai"], "b": ["groq"]}))
    assert {name: list(rows) for name, rows in stored.models.items()} == {"a": [], "b": ["m"]}


def test_providers_that_nobody_asked_for_cost_next_to_nothing() -> None:
    others = b",".join(b'"p%d":{"models":{}}' % at for at in range(500_000))
    document = b"{" + others + b',"openai":{"models":{"m":{}}}}'
    began = time.thread_time()
    modelsdev.convert(document, "2026-11-20T00:00:00+00:00", {"openai": ["openai"]})
    # A dictionary of them takes ten times as long, in one step.
    assert time.thread_time() - began < 0.1


@pytest.mark.parametrize(("name", "kind"), [("x-embed-1", "embedding"), ("x-rerank-1", "rerank"), ("x-1", "chat")])
def test_a_name_tells_what_a_model_is_for(name: str, kind: str) -> None:
    assert rows({"theirs": {"models": {name: ENTRY}}})[name].kind == kind
