"""The table, the trace and JUnit's XML."""

from xml.etree import ElementTree as ET

from sidecar.kit.output import describe, list_names, summarize, trace, write_junit
from sidecar.kit.rules import Problem
from tests.kit.runs import make_drive, make_result, make_scenario, make_start, wrote

SCENARIO = make_scenario()
DRIVE = make_drive({"op": "start"}, {"event": "ready", "protocol_version": 1}, {"bad": "no \x1b[31mJSON"})
DRIVE.stderr = b"Traceback\n  \x1b[31mred\n"
START = make_start({"event": "start"}, *wrote({"id": 1, "action": "initialize"}))
PASSED = make_result(SCENARIO, DRIVE, START)
FAILED = make_result(SCENARIO, DRIVE, START, problems=[Problem(f"<{n}> & \x00", f"came {n}") for n in range(6)])


def test_a_scenario_that_passed_is_one_row() -> None:
    assert describe(PASSED, colours=False) == "ok    001_made_up                          0.25 s"
    assert describe(PASSED, colours=True).startswith("\x1b[32mok  \x1b[0m  001")


def test_one_that_failed_says_what_was_expected_what_came_and_a_hint() -> None:
    shown = describe(FAILED, colours=False).splitlines()
    assert shown[0] == "FAIL  001_made_up                          0.25 s"
    text = "\n".join(shown)
    assert "A host does it." in text
    assert "came:     came 3" in text
    assert "came 4" not in text
    assert "and 2 more" in text
    assert "hint:     Do it." in text
    assert "stderr:     \\x1b[31mred" in text
    assert "\x1b" not in text


def test_the_last_line_counts() -> None:
    assert summarize([PASSED, FAILED, PASSED], 1.26) == "2 passed, 1 failed, in 1.3 s"


def test_the_list_marks_what_is_slow() -> None:
    assert list_names([SCENARIO]) == "001_made_up                             A host does it."
    assert "slow  A host" in list_names([make_scenario(slow=True)])


def test_the_trace_has_both_sides_in_the_order_of_time() -> None:
    lines = trace(FAILED).splitlines()
    assert lines[0].split() == ["0", "kit", "->", "driver", '{"op":"start"}']
    assert [line.split()[1] for line in lines] == ["kit", "sidecar", "driver", "sidecar", "driver", "sidecar"]
    assert "\x1b" not in "".join(lines)


def test_the_xml_is_what_build_servers_read() -> None:
    suite = ET.fromstring(write_junit([PASSED, FAILED], 0.5))  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    passed, failed = suite
    assert [passed.get("name"), len(passed)] == ["001_made_up", 0]
    failure = failed.find("failure")
    assert failure is not None
    assert failure.get("message") == "A host does it."
    assert "expected: <0> & " in str(failure.text)
