"""What is known of a model in all: which of table, refresh and user counts for which column."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from protocol.messages import Usage
from protocol.replies import ModelInfo
from protocol.requests import CalculateCost
from protocol.settings import Settings
from sidecar.catalogue import models, overlay
from sidecar.catalogue.corrections import Correction, Overlay, Refreshed
from sidecar.catalogue.models import Capabilities, ModelRow, Rates, Tier
from sidecar.config.values import Config
from sidecar.providers.resolve import resolve_provider
from sidecar.providers.setup import Setup
from sidecar.providers.values import TargetSpec
from sidecar.usage import pricing
from sidecar.usage.cost import calculate

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

PRICE = {"input": Decimal(7), "output": Decimal("70.5")}
"""Of the user's."""

FRESH = ModelRow(
    name="Fresh",
    context_length=5_000_000,
    max_output=77_000,
    caps=Capabilities(tools=False, video=True),
    efforts=("low",),
    status="deprecated",
    price=Rates(input=Decimal(1), output=Decimal(2)),
    tiers=(Tier(over_tokens=100, price=Rates(input=Decimal(3), output=Decimal(4))),),
    price_source=overlay.REFRESHED,
    price_date=DAY,
)


def corrected(provider: str, model: str, **table: Any) -> Overlay:
    return Overlay(corrections={provider: {model: overlay.make_correction(table)}})


def refreshed(provider: str, model: str, row: ModelRow = FRESH) -> Overlay:
    return Overlay({}, Refreshed({provider: {model: msgspec.Raw(msgspec.json.encode(row))}}, "2026-11-20"))


def found(known: Overlay, provider: str, model: str) -> ModelRow:
    row = overlay.find_row(known, provider, model)
    assert row is not None
    return row


# --- the user's word -------------------------------------------------------------------------


def test_nothing_beside_the_table_changes_nothing() -> None:
    for provider, model in (("openai", "gpt-6-sol"), ("nobody", "gpt-6-sol"), ("openai", "no-such-model")):
        assert overlay.find_row(Overlay(), provider, model) == models.find_row(provider, model)
        assert overlay.find_row(corrected("other", model, name="X"), provider, model) == models.find_row(
            provider, model
        )


def test_a_column_takes_the_place_of_the_tables_and_the_others_stay() -> None:
    before = found(Overlay(), "openai", "gpt-6-sol")
    known = corrected("openai", "gpt-6-sol", max_output=9, capabilities={"images": False}, refuses=["seed"])
    row = found(known, "openai", "gpt-6-sol")
    assert (row.max_output, row.caps.images, row.refuses) == (9, False, ("seed",))
    own = {"max_output": before.max_output, "refuses": before.refuses, "caps": before.caps}
    assert msgspec.structs.replace(row, **own) == before
    assert row.caps.tools == before.caps.tools is True
    assert "images" in models.make_facts(row).refuses


def test_a_model_that_nobody_knew_is_added_and_its_dates_are_its_own() -> None:
    known = corrected("mylab", "big", context_length=1000, price=PRICE)
    row = found(known, "mylab", "big")
    assert (row.name, row.context_length, row.price) == ("big", 1000, Rates(**PRICE))
    assert found(known, "mylab", "big-20261101").price == row.price
    assert overlay.find_row(known, "mylab", "bigger") is None
    assert overlay.list_names(known, "mylab") == overlay.list_added(known, "mylab") == ["big"]
    # One that the catalogue has is corrected, and not added.
    assert overlay.list_added(corrected("openai", "gpt-6-sol", name="X"), "openai") == []


def test_a_users_price_is_the_whole_price() -> None:
    plain = found(Overlay(), "gemini", "gemini-4-argon")
    assert plain.changes
    row = found(corrected("gemini", "gemini-4-argon", price=PRICE), "gemini", "gemini-4-argon")
    assert (row.changes, row.tiers, row.off_peak, row.modes) == ((), (), None, {})
    assert (row.price_source, row.price_date) == ("configuration", None)
    # Neither a region nor a service mode changes it.
    assert found(Overlay(), "vertex", "claude-opus-5-5").multipliers
    corrections = corrected("vertex", "claude-opus-5-5", price=PRICE).corrections
    spec = TargetSpec(provider="vertex", model="claude-opus-5-5", settings=Settings(location="europe-west1"))
    resolved = resolve_provider(Setup(Config(path="", corrections=corrections)), spec)
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    priced = pricing.calculate(resolved, CalculateCost(model="claude-opus-5-5", usage=usage, mode="batch"))
    assert (priced["usd"], priced["source"]) == ("7", "configuration")


def test_a_users_tiers_are_put_in_order() -> None:
    tiers = [{"over_tokens": 20, "price": PRICE}, {"over_tokens": 10, "price": PRICE | {"input": Decimal(8)}}]
    row = found(corrected("openai", "gpt-6-sol", price=PRICE, tiers=tiers), "openai", "gpt-6-sol")
    assert [tier.over_tokens for tier in row.tiers] == [10, 20]
    assert calculate(Usage(input_tokens=15, output_tokens=0), row, NOON)["parts"]["input"] == "0.00012"


def test_a_status_is_told_in_the_words_of_the_protocol() -> None:
    for word, ours in (("active", None), ("preview", "beta"), ("deprecated", "deprecated"), ("retired", "retired")):
        assert found(corrected("openai", "gpt-4o", status=word), "openai", "gpt-4o").status == ours


# --- a refresh -------------------------------------------------------------------------------


def test_a_refresh_adds_models() -> None:
    assert found(refreshed("openai", "gpt-9"), "openai", "gpt-9") == FRESH
    assert overlay.list_names(refreshed("openai", "gpt-9"), "openai")[-1] == "gpt-9"


def test_a_refresh_knows_limits_better_and_leaves_prices_and_capabilities_alone() -> None:
    before = found(Overlay(), "anthropic", "claude-opus-5-5")
    row = found(refreshed("anthropic", "claude-opus-5-5"), "anthropic", "claude-opus-5-5")
    assert (row.context_length, row.max_output, row.status) == (5_000_000, 77_000, "deprecated")
    # What it says against us of a capability is not believed; what we do not know is.
    assert (row.caps.tools, before.caps.video, row.caps.video) == (True, None, True)
    for column in ("name", "price", "tiers", "modes", "multipliers", "price_source", "price_date"):
        assert getattr(row, column) == getattr(before, column), column


def test_a_refresh_fills_in_what_is_not_known() -> None:
    bare = "meta/llama3-8b-instruct-maas"
    before = found(Overlay(), "vertex", bare)
    assert (before.price, before.caps.video, before.efforts) == (None, None, ())
    row = found(refreshed("vertex", bare), "vertex", bare)
    assert (row.price, row.tiers, row.price_source, row.price_date) == (FRESH.price, FRESH.tiers, "models.dev", DAY)
    assert (row.caps.video, row.efforts) == (True, ("low",))
    assert calculate(Usage(input_tokens=10, output_tokens=0), row, NOON)["source"] == "models.dev"


def test_a_refresh_never_takes_a_price_or_a_limit_away() -> None:
    for model, before in models.read_rows("deepseek").items():
        row = found(refreshed("deepseek", model, ModelRow(name="Empty")), "deepseek", model)
        status = None if before.status == "unlisted" else before.status
        assert msgspec.structs.replace(row, status=before.status) == before
        assert row.status == status


def test_a_smaller_window_bounds_the_other_limits() -> None:
    row = found(refreshed("openai", "gpt-4o", ModelRow(name="Small", context_length=100)), "openai", "gpt-4o")
    assert (row.context_length, row.max_output) == (100, 100)


def test_the_user_knows_better_than_a_refresh() -> None:
    both = msgspec.structs.replace(
        refreshed("openai", "gpt-9"), corrections={"openai": {"gpt-9": Correction({"max_output": 5})}}
    )
    row = found(both, "openai", "gpt-9")
    assert (row.max_output, row.context_length) == (5, 5_000_000)
    assert overlay.list_added(both, "openai") == []


# --- a provider's list -----------------------------------------------------------------------


def test_the_users_word_goes_before_the_providers() -> None:
    said = ModelInfo(
        id="gpt-4o",
        provider="openai",
        name="Theirs",
        max_output=5,
        cost={"input": "1", "output": "2"},
        capabilities={"tools": True, "picker": True},
        status="active",
    )
    known = corrected(
        "openai", "gpt-4o", max_output=9, capabilities={"tools": False}, retires=date(2027, 1, 2), price=PRICE
    )
    info = overlay.complete(said, known, DAY)
    assert (info.name, info.max_output, info.retires_on, info.status) == ("Theirs", 9, "2027-01-02", "active")
    assert info.capabilities
    assert (info.capabilities["tools"], info.capabilities["picker"]) == (False, True)
    assert (info.cost, info.pricing) == ({"input": "7", "output": "70.5"}, {"source": "configuration"})


def test_a_price_says_where_it_is_from_how_old_it_is_and_what_it_depends_on() -> None:
    def pricing(provider: str, model: str, **said: Any) -> dict[str, Any]:
        info = overlay.complete(ModelInfo(id=model, provider=provider, **said), Overlay(), DAY)
        assert info.pricing is not None
        return info.pricing

    argon = pricing("gemini", "gemini-4-argon")
    assert argon["source"].startswith("genai-prices")
    assert argon["date"] == "2026-11-10"
    assert [(change["since"], change["price"]["input"]) for change in argon["changes"]] == [("2026-12-01", "4")]
    assert pricing("vertex", "claude-opus-5-5")["factors"] == {"regional_endpoint": "1.1"}
    assert pricing("deepseek", "deepseek-v4-pro")["off_peak"]["peak_utc"]
    sol = pricing("openai", "gpt-6-sol")
    assert sol["tiers"][0]["over_tokens"] > 0
    assert "input" in sol["tiers"][0]["price"]
    assert "batch" in sol["modes"]
    # What the provider says itself needs no date; what the catalogue knows beside it is still told.
    told = pricing("openai", "gpt-6-sol", cost={"input": "1", "output": "1"})
    assert (told["source"], "date" in told, told["tiers"]) == ("provider", False, sol["tiers"])
    assert pricing("openai", "no-such-model", cost={"input": "1"}) == {"source": "provider"}


def test_a_change_that_has_come_is_the_price_and_no_change_any_more() -> None:
    info = overlay.complete(ModelInfo(id="gemini-4-argon", provider="gemini"), Overlay(), date(2026, 12, 1))
    assert info.cost
    assert info.pricing
    assert (info.cost["input"], "changes" in info.pricing) == ("4", False)
