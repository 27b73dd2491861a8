"""The tables of the configuration and what they configure have the same keys."""

from protocol.settings import Settings
from sidecar.catalogue.models import Capabilities, ModelRow, Rates
from sidecar.catalogue.provider_rows import read_providers
from sidecar.config import catalogue_table, tables
from sidecar.config.values import LIMITS, Config


def test_every_setting_of_a_provider_and_of_a_request_can_be_configured() -> None:
    settings = {name for row in read_providers().values() for name in row.settings}
    assert settings | {*Settings.__struct_fields__} <= tables.ProviderTable.model_fields.keys()


def test_every_limit_can_be_configured_for_all_providers_and_for_one() -> None:
    assert tables.LimitTable.model_fields.keys() == LIMITS.keys()
    assert tables.LimitsTable.model_fields.keys() == LIMITS.keys() | {"providers"}


def test_every_table_has_its_place_in_the_configuration() -> None:
    elsewhere = {"catalogue", "ledger", "log", "replay", "reuse"}
    assert tables.File.model_fields.keys() - elsewhere <= {*Config.__struct_fields__}


def test_a_correction_sets_columns_of_a_models_row() -> None:
    corrected = catalogue_table.CorrectionTable.model_fields.keys()
    assert corrected - {"capabilities"} <= {*ModelRow.__struct_fields__}
    assert catalogue_table.CapabilityTable.model_fields.keys() == {*Capabilities.__struct_fields__}
    assert catalogue_table.PriceTable.model_fields.keys() == {*Rates.__struct_fields__}
