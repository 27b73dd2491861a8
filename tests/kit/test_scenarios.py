"""The shape of the scenarios: each can be read, says what it wants, and plays what the protocol allows."""

from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from protocol import schema
from sidecar.kit.contract import Close, Request, Start
from sidecar.kit.patterns import expand
from sidecar.kit.scenario import FOLDER, Scenario, list_scenarios
from sidecar.kit.script import AUTOMATIC, KINDS, choose_section

DEFS: dict[str, Any] = msgspec.json.decode(schema.PATH.read_bytes())["$defs"]
SCENARIOS = list_scenarios()

NOT_OF_THE_PROTOCOL = {
    "unknown_fields": "fields that later versions may add",
    "unknown_chunk_type": "a type that later versions may add",
    "unknown_error_code": "a code of another major version",
    "big_integers": "a field that later versions may add",
    "lines_for_unknown_ids": "chunks that nobody has asked for",
}
"""Scenarios that play lines which the schema has not."""


def of(scenario: Scenario) -> str:
    return scenario.name[4:]


def test_scenarios_are_numbered_and_each_has_three_files() -> None:
    folders = sorted(path for path in FOLDER.iterdir() if path.is_dir())
    assert [path.name[:3] for path in folders] == [f"{number:03d}" for number in range(1, len(folders) + 1)]
    assert len(folders) > 40
    files = {file.name for path in folders for file in path.iterdir()}
    assert files == {"expect.json", "host.ndjson", "script.ndjson"}
    assert all(len([*path.iterdir()]) == 3 for path in folders)
    assert set(map(of, SCENARIOS)) >= set(NOT_OF_THE_PROTOCOL)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=of)
def test_a_scenario_says_what_the_host_must_do_and_what_hosts_do_wrong(scenario: Scenario) -> None:
    expect = scenario.expect
    assert expect.title.endswith(".")
    assert expect.hint.endswith(".")
    assert 20 < len(expect.title) < 110
    # It would pass whatever happens.
    assert expect.requests or expect.events or expect.slower_restarts


@pytest.mark.parametrize("scenario", SCENARIOS, ids=of)
def test_a_host_is_told_to_start_and_to_close(scenario: Scenario) -> None:
    assert isinstance(scenario.host[0], Start)
    assert isinstance(scenario.host[-1], Close)
    asked = {(type(step.id), step.id) for step in scenario.host if isinstance(step, Request)}
    assert {(type(each.id), each.id) for each in scenario.expect.requests} == asked


@pytest.mark.parametrize("scenario", SCENARIOS, ids=of)
def test_a_step_is_of_one_kind_and_its_names_are_bound(scenario: Scenario) -> None:
    for start in range(1, 5):
        names: dict[str, Any] = {"n": 0}
        for step in choose_section(scenario.script, start):
            assert len(KINDS & step.keys()) == 1
            expand({key: value for key, value in step.items() if key != "as"}, names)
            names |= {step["as"]: "id"} if "as" in step else {}


@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if of(each) not in NOT_OF_THE_PROTOCOL], ids=of)
def test_what_is_played_is_of_the_protocol(scenario: Scenario) -> None:
    validator = Draft202012Validator({"$ref": "#/$defs/Line", "$defs": DEFS})
    names = {"n": 0} | {step["as"]: "id" for step in scenario.script if "as" in step}
    short = {"$repeat": ["x", 3]}
    for step in scenario.script:
        for line in [step["send"]] if "send" in step else step.get("send_all", []):
            validator.validate(expand(_shorten(line, short), names))


def _shorten(value: Any, short: Any) -> Any:
    if isinstance(value, dict):
        return short if "$repeat" in value else {key: _shorten(each, short) for key, each in value.items()}
    return [_shorten(each, short) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("action", AUTOMATIC)
def test_what_is_answered_by_itself_is_of_the_protocol(action: str) -> None:
    line = {"id": 1, "success": True, "data": AUTOMATIC[action]}
    Draft202012Validator({"$ref": f"#/$defs/{action.capitalize()}Reply", "$defs": DEFS}).validate(line)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=of)
def test_what_a_host_is_told_to_send_is_a_request(scenario: Scenario) -> None:
    validator = Draft202012Validator({"$ref": "#/$defs/Request", "$defs": DEFS})
    for step in scenario.host:
        if isinstance(step, Request):
            line = msgspec.to_builtins(step)
            wire = {key: line[key] for key in ("id", "action", "provider", "params") if key in line}
            validator.validate(_shorten(wire, "x"))
