"""The table of providers: what its rows promise each other, and how a row is read."""

from typing import Any

import msgspec
import pytest

from sidecar.catalogue.provider_columns import AddressColumns
from sidecar.catalogue.provider_rows import (
    ProviderRow,
    choose_wire,
    find_key_owners,
    find_variant,
    list_price_factors,
    read_aliases,
    read_gateways,
    read_providers,
)

ROWS = read_providers()


def row(**columns: Any) -> ProviderRow:
    usual = {"name": "Lab", "wire": "openai_chat", "address": {"base_url": "https://lab.test"}}
    return msgspec.convert(usual | columns, ProviderRow)


def test_a_compatible_provider_is_a_name_a_wire_and_an_address() -> None:
    lab = row()
    assert (lab.auth.scheme, lab.auth.header, lab.models.lists[0].path) == ("bearer", "authorization", "/models")
    assert lab.rate_limit_headers["requests"] == "x-ratelimit-{}-requests"
    assert lab.pricing.billed_models == "*"


@pytest.mark.parametrize("columns", [{"colour": 1}, {"auth": {"colour": 1}}, {"address": {"base_url": 1}}])
def test_a_column_that_does_not_exist_is_a_mistake(columns: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        row(**columns)


def test_an_alias_is_no_id_and_has_one_owner() -> None:
    aliases = [alias for each in ROWS.values() for alias in each.aliases]
    assert len(aliases) == len(read_aliases())
    assert not read_aliases().keys() & ROWS.keys()


def test_a_provider_with_a_place_behind_a_gateway_has_one_for_every_kind() -> None:
    assert read_gateways().keys() == {"cloudflare"}
    assert ROWS["openai"].address.gateway_path == "/openai"


@pytest.mark.parametrize(
    ("key", "owners"),
    [("sk-ant-1", ["anthropic"]), ("AIza1", ["vertex", "gemini"]), ("sk-1", []), ("", [])],
)
def test_a_key_belongs_to_the_providers_whose_keys_begin_as_it_does(key: str, owners: list[str]) -> None:
    assert find_key_owners(key) == owners


@pytest.mark.parametrize(("model", "wire"), [("claude-9", "b"), ("claude-x", "b"), ("vendor/m", "c"), ("m", "a")])
def test_the_first_rule_that_matches_chooses_the_wire(model: str, wire: str) -> None:
    rules = [{"models": ["claude-*"], "wire": "b"}, {"models": ["*/*", "claude-9"], "wire": "c"}]
    assert choose_wire(row(wire="a", models={"wire_rules": rules}), model) == wire


@pytest.mark.parametrize(
    ("settings", "base_url"),
    [
        ({"region": "cn-north"}, "https://cn.test"),
        ({"region": "eu", "api_key": "set"}, "https://key.test"),
        ({"region": "eu"}, None),
        ({}, None),
    ],
)
def test_the_first_variant_whose_conditions_all_hold_is_used(settings: dict[str, str], base_url: str | None) -> None:
    variants = [
        {"when": {"region": "cn-*"}, "base_url": "https://cn.test"},
        {"when": {"region": "*", "api_key": "*"}, "base_url": "https://key.test"},
    ]
    found = find_variant(row(address={"base_url": "https://lab.test", "variants": variants}), settings)
    assert (found and found.base_url) == base_url


@pytest.mark.parametrize(
    ("settings", "options", "factors"),
    [
        ({"location": "eu"}, {}, ["regional"]),
        ({"location": "global"}, {}, []),
        ({}, {"geo": "us"}, ["us"]),
        ({}, {"geo": "eu"}, []),
        ({"location": "eu"}, {"geo": "us"}, ["regional", "us"]),
    ],
)
def test_a_price_factor_applies_to_a_setting_or_an_option(
    settings: dict[str, str], options: dict[str, str], factors: list[str]
) -> None:
    priced = row(
        pricing={
            "factors": [
                {"name": "regional", "setting": "location", "unless": "global"},
                {"name": "us", "option": "geo", "equals": "us"},
            ]
        }
    )
    assert list_price_factors(priced, settings, options) == factors


@pytest.mark.parametrize("name", ROWS)
def test_a_row_uses_only_settings_that_it_has(name: str) -> None:
    address, known = ROWS[name].address, {*ROWS[name].settings, "model", "api_key"}
    templates = [address.base_url, address.list_base_url or "", *address.paths.values(), address.gateway_path or ""]
    for variant in address.variants:
        assert variant.when.keys() <= known
        templates += [variant.base_url or "", *variant.paths.values()]
    for template in [*templates, *ROWS[name].setting_headers.values()]:
        assert {field.partition("}")[0] for field in template.split("{")[1:]} <= known


def test_the_address_is_the_one_column_without_a_default() -> None:
    with pytest.raises(TypeError):
        AddressColumns()  # type: ignore[call-arg]
