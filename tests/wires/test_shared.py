"""What encoders and decoders of all wires share: options, provider state, and costs beside the usage."""

from typing import Any

import pytest

from protocol.messages import State
from protocol.options import Options, ResponseFormat
from protocol.replies import Warn
from sidecar.wires.shared.costs import convert_to_usd, read_cost_usd
from sidecar.wires.shared.options import drop_refused_options, get_json_format, list_stops, write_json_instruction
from sidecar.wires.shared.state import make_state, read_own_fields, read_own_state
from sidecar.wires.shared.types import ModelFacts, Quirks, Route

ROUTE = Route(provider="p", wire="w", model="m", base_url="https://provider.test")


# --- options ---------------------------------------------------------------------------------


def test_refused_sampling_options_are_dropped_with_a_warning_each() -> None:
    route = Route(
        provider="p", wire="w", model="m", base_url="", facts=ModelFacts(refuses=frozenset({"seed", "stop", "tools"}))
    )
    warnings: list[Warn] = []
    options = drop_refused_options(Options(temperature=0.5, seed=7), route, warnings)
    assert (options.temperature, options.seed) == (0.5, None)
    assert [(warning.code, warning.param) for warning in warnings] == [("option_left_out", "params.options.seed")]


def test_options_that_nobody_refuses_stay_as_they_are() -> None:
    options, warnings = Options(temperature=0.5, stop="x"), list[Warn]()
    assert drop_refused_options(options, ROUTE, warnings) is options
    assert not warnings


@pytest.mark.parametrize(("stop", "stops"), [(None, []), ("x", ["x"]), (["x", "y"], ["x", "y"])])
def test_stops_are_a_list(stop: Any, stops: list[str]) -> None:
    assert list_stops(Options(stop=stop)) == stops


def test_a_schema_that_is_missing_makes_the_format_plain_json() -> None:
    schema = {"type": "object"}
    assert get_json_format(Options()) is None
    assert get_json_format(Options(response_format=ResponseFormat(type="text"))) is None
    assert get_json_format(Options(response_format=ResponseFormat(type="json_schema"))) == ResponseFormat(type="json")
    given = ResponseFormat(type="json_schema", schema=schema)
    assert get_json_format(Options(response_format=given)) == given


def test_an_instruction_for_json_holds_the_schema_and_is_warned_about() -> None:
    warnings: list[Warn] = []
    text = write_json_instruction(ResponseFormat(type="json_schema", schema={"type": "object"}), ROUTE, warnings)
    assert text.endswith('{"type":"object"}')
    assert [(warning.code, warning.param) for warning in warnings] == [("emulated", "params.options.response_format")]


# --- provider state --------------------------------------------------------------------------


def test_a_state_is_read_only_by_its_own_provider_on_its_own_wire() -> None:
    state = make_state(ROUTE, {"id": 1})
    assert state == State(provider="p", wire="w", model="m", data={"id": 1})
    assert make_state(ROUTE, {}, "other").model == "other"
    assert read_own_state(state, ROUTE) == {"id": 1}
    for provider, wire in (("other", "w"), ("p", "other")):
        stranger = Route(provider=provider, wire=wire, model="m", base_url="")
        assert read_own_state(state, stranger) is None
        assert read_own_fields(state, stranger) == {}


def test_a_state_that_is_not_an_object_has_no_fields() -> None:
    assert read_own_fields(None, ROUTE) == {}
    assert read_own_fields(State(provider="p", wire="w", data=[1]), ROUTE) == {}


# --- costs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit_usd", "usd"),
    [
        (2, "1", "2"),
        ("0.10", "1", "0.1"),
        (1.13e-05, "1", "0.0000113"),
        (250, "0.01", "2.5"),
        (0, "1", "0"),
        (True, "1", None),
        (-1, "1", None),
        ("nan", "1", None),
        ("inf", "1", None),
        ("much", "1", None),
        (None, "1", None),
        (10**60, "1", None),
    ],
)
def test_an_amount_becomes_a_decimal_in_us_dollars(value: object, unit_usd: str, usd: str | None) -> None:
    assert convert_to_usd(value, unit_usd) == usd


@pytest.mark.parametrize(
    ("event", "usd"),
    [
        ({"billing": {"total": 5}}, "0.05"),
        ({"response": {"billing": {"total": 5}}}, "0.05"),
        ({"message": {"billing": {"total": "7"}}}, "0.07"),
        ({"billing": {"total": 0}, "message": {"billing": {"total": 5}}}, "0.05"),
        ({"billing": {"total": 0}}, None),
        ({"billing": 5}, None),
        ({"other": {"total": 5}}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_cost_beside_the_usage_is_found_in_its_places(event: object, usd: str | None) -> None:
    assert read_cost_usd(event, Quirks(cost_field="billing.total", cost_unit_usd="0.01")) == usd
