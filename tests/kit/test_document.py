"""`protocol/KIT.md`: its operations and reports are those of the kit, and its table of options is complete."""

import re
from typing import Any

import msgspec
import pytest

from sidecar.kit.__main__ import _make_parser
from sidecar.kit.contract import Operation, Report
from sidecar.kit.patterns import expand
from sidecar.kit.scenario import Expectation
from tests.support import documents

DOCUMENT = "protocol/KIT.md"
BLOCKS = {block.info: block for block in documents.blocks(DOCUMENT)}


@pytest.mark.parametrize(("info", "kind"), [("json operation", Operation), ("json report", Report)])
def test_the_examples_are_what_the_kit_takes(info: str, kind: Any) -> None:
    for line in BLOCKS[info].lines:
        value = msgspec.json.decode(line)
        # Nothing that a struct leaves out.
        known = msgspec.to_builtins(msgspec.convert(value, kind))
        assert value.keys() == known.keys() & value.keys()


def test_each_operation_and_each_report_has_its_row() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", documents.prose(DOCUMENT), re.MULTILINE))
    tags = [line["op"] for line in map(msgspec.json.decode, BLOCKS["json operation"].lines)]
    tags += [line["event"] for line in map(msgspec.json.decode, BLOCKS["json report"].lines)]
    assert set(tags) <= rows


def test_every_option_is_described() -> None:
    options = set(re.findall(r"(--\w+)", _make_parser().format_usage()))
    assert set(re.findall(r"`(--\w+)", documents.prose(DOCUMENT))) == options


def test_the_example_of_a_scenario_is_one() -> None:
    host, script, expect = [block for block in documents.blocks(DOCUMENT) if block.info == "text"]
    assert [msgspec.json.decode(line)["op"] for line in host.lines] == ["start", "await", "request", "await"]
    steps = [expand(msgspec.json.decode(line), {"a": 1}) for line in script.lines]
    assert [next(iter(step)) for step in steps] == ["expect", "send", "send"]
    assert msgspec.json.decode(expect.text, type=Expectation).requests[0].id == "a"
